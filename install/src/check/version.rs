//! Versions, and which of two is the older one (Semantic Versioning 2.0.0 §11, with any number of parts).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Characters of a version at most.
const LONGEST: usize = 64;

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no version; one is numbers with dots between, as in `1.4.0`, or `1.4.0-rc.1`", .0.escape_debug())]
pub struct VersionError(String);

/// A version: `1.4.0`, `1.4.0-rc.1`, `1.4.0+build7`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    numbers: Vec<u64>,
    /// What is behind `-`: such a version comes before the one without it.
    early: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bad = || VersionError(text.chars().take(LONGEST).collect());
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        if text.len() > LONGEST || !text.chars().all(allowed) {
            return Err(bad());
        }
        // What is behind `+` says how it was built, and makes it neither older nor newer.
        let bare = text.split('+').next().unwrap_or_default();
        let (numbers, early) = bare.split_once('-').map_or((bare, None), |(n, e)| (n, Some(e)));
        let numbers: Result<Vec<u64>, _> = numbers.split('.').map(str::parse).collect();
        let part = |part: &str| {
            part.parse()
                .map_or_else(|_| Part::Text(part.to_owned()), Part::Number)
        };
        Ok(Self {
            numbers: numbers.map_err(|_| bad())?,
            early: early
                .map(|early| early.split('.').map(part).collect())
                .unwrap_or_default(),
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let padded = |numbers: &[u64]| {
            let zeros = std::iter::repeat(0);
            numbers
                .iter()
                .copied()
                .chain(zeros)
                .take(length)
                .collect::<Vec<u64>>()
        };
        padded(&self.numbers)
            .cmp(&padded(&other.numbers))
            .then_with(|| self.early.is_empty().cmp(&other.early.is_empty()))
            .then_with(|| self.early.cmp(&other.early))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests;

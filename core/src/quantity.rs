//! Byte sizes and durations as operators write them: a whole number and a unit, never a bare number.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is no whole number followed by a unit.
    #[error("`{0}` is not {1}")]
    Malformed(String, &'static str),
    /// The value does not fit in 64 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const SPAN_FORM: &str = "a duration: a whole number and one of ms, s, min, h, d, as in `30s`";
const SIZE_FORM: &str = "a size: a whole number and one of B, KiB, MiB, GiB, TiB, as in `2GiB`";

/// A duration, whole milliseconds, written as `250ms`, `30s`, `5min`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A number of bytes, written as `512B`, `4KiB`, `128MiB`, `2GiB`, `1TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const SPAN_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

fn parse(text: &str, units: &[(&str, u64)], form: &'static str) -> Result<u64, QuantityError> {
    let malformed = || QuantityError::Malformed(text.to_owned(), form);
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, f)| *f)
        .ok_or_else(malformed)?;
    if number.is_empty() {
        return Err(malformed());
    }
    let too_large = || QuantityError::TooLarge(text.to_owned());
    number
        .parse::<u64>()
        .map_err(|_| too_large())?
        .checked_mul(factor)
        .ok_or_else(too_large)
}

fn format(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match fits.or(units.last()) {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        None => write!(f, "{value}"),
    }
}

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, &SPAN_UNITS, SPAN_FORM).map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format(
            u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX),
            &SPAN_UNITS,
            f,
        )
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, &SIZE_UNITS, SIZE_FORM).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format(self.0, &SIZE_UNITS, f)
    }
}

/// Makes a type that is text (`FromStr`, `Display`) the same text in TOML and JSON.
macro_rules! as_text {
    ($t:ty, $form:expr) => {
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $t;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($form)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$t, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $t {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                <String as utoipa::PartialSchema>::schema()
            }
        }
        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $t {}
    };
}
pub(crate) use as_text;
as_text!(Span, SPAN_FORM);
as_text!(ByteSize, SIZE_FORM);

#[cfg(test)]
mod tests;

//! One document by itself: syntax, then shape (keys and types), then meaning.
//!
//! There are two ways to read one. Whoever writes a config is told of every mistake ([`check`], [`check_all`]). A node that starts
//! takes what it knows ([`read`]): a document of a later version must not cost it its tokens and pools. Keys that it does not know
//! are left out one by one and told; a word that a known key does not know, as in `profile.mode = "turbo"`, takes its entry of an
//! array, or its section, with it, as nobody can tell what it would have changed in the rest. So does a key that would have
//! narrowed down which interface or disk is meant. Everything else that is wrong refuses the document whole.
//!
//! The types refuse what they do not know; what they refuse is taken out of the document, and the rest is read again.

use std::mem;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::place::{self, Place};
use super::validate::{self, Violation};
use super::{ConfigError, ConfigErrors, MachineConfig};

/// Tables that say which thing is meant: with a key less they may mean another one.
const SELECTORS: [&str; 3] = ["match", "disk", "mirror"];

/// Reads and validates one document; `name` is what an operator would call it.
///
/// # Errors
/// The first thing that is wrong, with its line and what is allowed.
pub fn check(text: &str, name: &str) -> Result<MachineConfig, ConfigError> {
    check_all(text, name).map_err(|ConfigErrors(errors)| {
        let first = errors.into_iter().next();
        first.unwrap_or_else(|| ConfigError::without_line(name, "it cannot be used"))
    })
}

/// As [`check`].
///
/// # Errors
/// Everything that is wrong, line by line.
pub fn check_all(text: &str, name: &str) -> Result<MachineConfig, ConfigErrors> {
    let alone = |error: ConfigError| ConfigErrors(vec![error]);
    let mut document = Document::parse(text, name).map_err(alone)?;
    let mut errors = Vec::new();
    let config = loop {
        match document.read::<MachineConfig>() {
            Ok(config) => break config,
            Err(error) => {
                let found = document.found(&error);
                // Of what is left of an entry without its mistakes, nothing is said that its author could mend.
                let follows = !errors.is_empty() && error.message().starts_with("missing field");
                if !follows {
                    errors.push(document.told(&error));
                }
                let removed = found.is_some_and(|place| document.remove(&place));
                if !removed {
                    return Err(ConfigErrors(errors));
                }
            }
        }
    };
    if errors.is_empty() {
        let mut violations = document.violations(&config);
        errors.extend(
            violations
                .drain(..)
                .map(|(offset, violation)| document.violated(offset, &violation)),
        );
    }
    if errors.is_empty() {
        return Ok(config);
    }
    errors.sort_by_key(|error| error.line);
    Err(ConfigErrors(errors))
}

/// What a document says, as far as this version knows it.
pub(super) struct Known {
    /// The document without what is left out.
    pub table: toml::Table,
    /// What is left out, and why.
    pub left_out: Vec<ConfigError>,
}

/// Reads a document as a node does that starts.
///
/// # Errors
/// It cannot be used: the first thing that is wrong with what this version knows.
pub(super) fn read(text: &str, name: &str) -> Result<Known, ConfigError> {
    let mut document = Document::parse(text, name)?;
    let mut left_out: Vec<ConfigError> = Vec::new();
    // Where it was, in the document as it came.
    let mut unknown: Vec<Place> = Vec::new();
    loop {
        let config = match document.read::<MachineConfig>() {
            Ok(config) => config,
            Err(error) => {
                let told = document.told(&error);
                let Some((found, goes)) = document.found(&error).and_then(|found| {
                    let goes = victim(error.message(), &found)?;
                    Some((found, goes))
                }) else {
                    return Err(told);
                };
                unknown.extend(document.original(&error));
                left_out.push(with(told, &document, &found, &goes));
                if !document.remove(&goes) {
                    return Err(ConfigError::without_line(name, error.message()));
                }
                continue;
            }
        };
        let violations = document.violations(&config);
        let Some((offset, violation)) = violations.into_iter().next() else {
            break;
        };
        // What is wrong without a key that was left out may be right with it.
        let told = document.violated(offset, &violation);
        let goes = violation.place.entry();
        let was = offset.and_then(|offset| place::at(&document.whole, offset));
        let was = was.map_or_else(|| goes.clone(), |(place, _)| place.entry());
        if !unknown.iter().any(|unknown| unknown.is_in(&was)) || !document.remove(&goes) {
            return Err(told);
        }
        left_out.push(ConfigError {
            message: format!(
                "{}; `{was}` is left out, as it has keys that this version does not know",
                told.message
            ),
            ..told
        });
    }
    left_out.sort_by_key(|error| error.line);
    let table = document.read::<toml::Table>();
    let table = table.map_err(|e| ConfigError::without_line(name, e.message()))?;
    Ok(Known { table, left_out })
}

/// What is left out because of what serde says of `found`; `None`: nothing would make it better.
fn victim(message: &str, found: &Place) -> Option<Place> {
    if message.starts_with("unknown field ") {
        let narrows = found.above().is_some_and(|above| SELECTORS.contains(&above));
        return Some(if narrows { found.entry() } else { found.clone() });
    }
    message.starts_with("unknown variant ").then(|| found.entry())
}

/// Says what else goes.
fn with(told: ConfigError, document: &Document<'_>, found: &Place, goes: &Place) -> ConfigError {
    if found == goes {
        return told;
    }
    // Its number in an array was another one before others went.
    let was = place::span(&document.document, goes).and_then(|span| place::at(&document.whole, span.start));
    let name = was.map_or_else(|| goes.clone(), |(place, _)| place.entry());
    ConfigError {
        message: format!("{}; `{name}` is left out", told.message),
        ..told
    }
}

/// A document that gets smaller.
struct Document<'t> {
    text: &'t str,
    name: &'t str,
    /// As it came.
    whole: DeTable<'t>,
    /// What is left of it.
    document: DeTable<'t>,
}

impl<'t> Document<'t> {
    fn parse(text: &'t str, name: &'t str) -> Result<Self, ConfigError> {
        let whole = DeTable::parse(text).map_err(|e| ConfigError {
            source_name: name.to_owned(),
            line: e.span().map(|span| place::line(text, span.start)),
            message: format!("not TOML: {}", e.message()),
        })?;
        let whole = whole.into_inner();
        Ok(Self {
            text,
            name,
            document: whole.clone(),
            whole,
        })
    }

    fn read<T: Deserialize<'t>>(&self) -> Result<T, Error> {
        T::deserialize(Deserializer::from(Spanned::new(
            0..self.text.len(),
            self.document.clone(),
        )))
    }

    /// Where an error is, in what is left.
    fn found(&self, error: &Error) -> Option<Place> {
        let offset = error.span()?.start;
        place::at(&self.document, offset).map(|(place, _)| place)
    }

    /// The same in the document as it came.
    fn original(&self, error: &Error) -> Option<Place> {
        let offset = error.span()?.start;
        place::at(&self.whole, offset).map(|(place, _)| place)
    }

    /// An error for people.
    fn told(&self, error: &Error) -> ConfigError {
        let offset = error.span().map(|span| span.start);
        let found = offset.and_then(|offset| place::at(&self.whole, offset));
        self.refuse(offset, explain(error.message(), found))
    }

    fn refuse(&self, offset: Option<usize>, message: String) -> ConfigError {
        ConfigError {
            source_name: self.name.to_owned(),
            line: offset.map(|offset| place::line(self.text, offset)),
            message,
        }
    }

    /// What is wrong with its meaning, in order.
    fn violations(&self, config: &MachineConfig) -> Vec<(Option<usize>, Violation)> {
        let violations = validate::violations(config).into_iter();
        let mut placed: Vec<_> = violations
            .map(|violation| {
                let span = place::span(&self.document, &violation.place);
                (span.map(|span| span.start), violation)
            })
            .collect();
        placed.sort_by_key(|(offset, _)| *offset);
        placed
    }

    fn violated(&self, offset: Option<usize>, violation: &Violation) -> ConfigError {
        let message = format!("`{}`: {}", violation.place, violation.message);
        self.refuse(offset, message)
    }

    /// Takes a value out; whether it was there.
    fn remove(&mut self, place: &Place) -> bool {
        let document = mem::take(&mut self.document);
        let (document, removed) = place::without(document, place);
        self.document = document;
        removed
    }
}

/// Says in an operator's words what serde says in a programmer's.
fn explain(message: &str, found: Option<(Place, &DeValue<'_>)>) -> String {
    let Some((place, value)) = found else {
        return message.to_owned();
    };
    if let Some((_, allowed)) = message
        .strip_prefix("unknown field `")
        .and_then(|m| m.split_once("`, "))
    {
        return format!("unknown field `{place}`, {allowed}");
    }
    let mismatch = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = mismatch.and_then(|m| m.rsplit_once(", expected ")) {
        return format!("`{place}`: expected {}, found {found}", plain(expected));
    }
    let text = value.as_str().unwrap_or_default();
    match message {
        "invalid IP address syntax" => {
            format!("`{place}`: `{text}` is not an IP address, as in `10.0.0.1` or `2001:db8::1`")
        }
        "invalid socket address syntax" => {
            format!("`{place}`: `{text}` is not an address and a port, as in `0.0.0.0:8443` or `[::]:8443`")
        }
        _ => format!("`{place}`: {message}"),
    }
}

fn plain(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "a sequence" => "an array",
        "a map" => "a table",
        "IP address" => "an IP address in quotes, as in `\"10.0.0.1\"`",
        "socket address" => "an address and a port in quotes, as in `\"0.0.0.0:8443\"`",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

//! Documents that are shown: without their secrets, and with them again when they come back.
//!
//! A secret is whatever is at its place, of whatever type: a document that is refused for it must not show it either.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::{self, Place};
use super::{SECRET_KEY, SECRETS_KEY, Secret};

/// A value that is nobody's to see.
struct Found {
    place: Place,
    /// Where it is in the document, its quotes too.
    span: Range<usize>,
    /// What it is; `None`: no text.
    text: Option<String>,
}

/// The secrets of a document, in the order of its text; `None`: it cannot be read.
fn secrets(text: &str) -> Option<Vec<Found>> {
    let document = DeTable::parse(text).ok()?.into_inner();
    let mut found = Vec::new();
    for key in [SECRET_KEY, SECRETS_KEY] {
        let place = Place::of(key);
        if let Some(value) = place::value(&document, &place) {
            gather(value, place, &mut found);
        }
    }
    found.sort_by_key(|secret| secret.span.start);
    Some(found)
}

fn gather(value: &Spanned<DeValue<'_>>, place: Place, found: &mut Vec<Found>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                gather(value, place.key(key.get_ref()), found);
            }
        }
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                gather(value, place.index(index), found);
            }
        }
        other => found.push(Found {
            place,
            span: value.span(),
            text: other.as_str().map(str::to_owned),
        }),
    }
}

/// The document with other texts at these places, which are in order.
fn with(text: &str, others: &[(Range<usize>, &str)]) -> Option<String> {
    let mut whole = String::with_capacity(text.len());
    let mut at = 0;
    for (span, other) in others {
        whole.push_str(text.get(at..span.start)?);
        whole.push_str(&toml::Value::String((*other).to_owned()).to_string());
        at = span.end;
    }
    whole.push_str(text.get(at..)?);
    Some(whole)
}

/// The document with its secrets hidden. Of one that cannot be read nothing is known, so nothing of it is shown.
pub fn hide(text: &str) -> Option<String> {
    let found = secrets(text)?;
    let others: Vec<_> = found
        .iter()
        .map(|secret| (secret.span.clone(), Secret::HIDDEN))
        .collect();
    with(text, &others)
}

/// A document that was shown by [`hide`], with the secrets of `kept` where it has the sign of one that is hidden.
///
/// # Errors
/// `kept` has no secret there, in words.
pub fn restore(text: &str, kept: Option<&str>) -> Result<String, String> {
    // What cannot be read is told where the document is checked.
    let mut found = secrets(text).unwrap_or_default();
    found.retain(|secret| secret.text.as_deref() == Some(Secret::HIDDEN));
    let kept = kept.and_then(secrets).unwrap_or_default();
    let mut others = Vec::with_capacity(found.len());
    for secret in &found {
        let same = kept.iter().find(|kept| kept.place == secret.place);
        let same = same.and_then(|kept| kept.text.as_deref()).ok_or_else(|| {
            format!(
                "`{}`: `{}` stands for the secret that is there, and there is none; give it, or leave the key out",
                secret.place,
                Secret::HIDDEN
            )
        })?;
        others.push((secret.span.clone(), same));
    }
    with(text, &others).ok_or_else(|| "the document cannot be given its secrets again".to_owned())
}

#[cfg(test)]
mod tests;

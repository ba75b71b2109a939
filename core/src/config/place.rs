//! Places in a document: from a dotted key to its line, and from an offset to the key there.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A key's full place: `network.interfaces[0].mtu`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Place {
    /// A place of plain keys, with dots between them.
    pub(super) fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    /// The key below.
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// The element below, from 0.
    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The key that the value's table or array has, where it has one.
    pub(super) fn above(&self) -> Option<&str> {
        let (_, above) = self.0.split_last()?;
        match above.last()? {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        }
    }

    /// What it belongs to: the entry of the innermost array, or else the section.
    pub(super) fn entry(&self) -> Self {
        let index = self.0.iter().rposition(|step| matches!(step, Step::Index(_)));
        Self(self.0.iter().take(index.unwrap_or(0) + 1).cloned().collect())
    }

    /// Whether it is the value at `place`, or within it.
    pub(super) fn is_in(&self, place: &Self) -> bool {
        self.0.starts_with(&place.0)
    }

    /// Plain first key, for decisions by section.
    pub(super) fn section(&self) -> &str {
        match self.0.first() {
            Some(Step::Key(key)) => key,
            _ => "",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let separator = if at == 0 { "" } else { "." };
                    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
                    if !key.is_empty() && key.bytes().all(bare) {
                        write!(f, "{separator}{key}")?;
                    } else {
                        write!(f, "{separator}{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The line, from 1, that the byte at `offset` is in.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// Where the value at `place` is in the document, or what of the way to it is there.
pub(super) fn span(document: &DeTable<'_>, place: &Place) -> Option<Range<usize>> {
    let mut steps = place.0.iter();
    let Some(Step::Key(key)) = steps.next() else {
        return None;
    };
    let mut here = document.get(key.as_str())?;
    for step in steps {
        let below = match (step, here.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str()),
            (Step::Index(index), DeValue::Array(array)) => array.get(*index),
            _ => None,
        };
        let Some(below) = below else { break };
        here = below;
    }
    Some(here.span())
}

/// The value at `place`, exactly.
pub(super) fn value<'d>(document: &'d DeTable<'d>, place: &Place) -> Option<&'d Spanned<DeValue<'d>>> {
    let mut here: Option<&Spanned<DeValue<'_>>> = None;
    for step in &place.0 {
        here = Some(match (step, here.map(|value| value.get_ref())) {
            (Step::Key(key), None) => document.get(key.as_str())?,
            (Step::Key(key), Some(DeValue::Table(table))) => table.get(key.as_str())?,
            (Step::Index(index), Some(DeValue::Array(array))) => array.get(*index)?,
            _ => return None,
        });
    }
    here
}

/// The document without the value at `place`; whether it was there.
pub(super) fn without<'d>(document: DeTable<'d>, place: &Place) -> (DeTable<'d>, bool) {
    table_without(document, &place.0)
}

fn table_without<'d>(mut table: DeTable<'d>, steps: &[Step]) -> (DeTable<'d>, bool) {
    let Some((Step::Key(key), rest)) = steps.split_first() else {
        return (table, false);
    };
    let mut removed = false;
    if rest.is_empty() {
        removed = table.remove(key.as_str()).is_some();
    } else if let Some(value) = table.get_mut(key.as_str()) {
        removed = cut(value.get_mut(), rest);
    }
    (table, removed)
}

fn cut(value: &mut DeValue<'_>, steps: &[Step]) -> bool {
    match value {
        DeValue::Table(table) => {
            let (left, removed) = table_without(std::mem::take(table), steps);
            *table = left;
            removed
        }
        DeValue::Array(array) => {
            let Some((Step::Index(index), rest)) = steps.split_first() else {
                return false;
            };
            if !rest.is_empty() {
                return array
                    .get_mut(*index)
                    .is_some_and(|below| cut(below.get_mut(), rest));
            }
            let mut left = DeArray::new();
            let all = std::mem::replace(array, DeArray::new());
            let count = all.len();
            let kept = all.into_iter().enumerate().filter(|(at, _)| at != index);
            kept.for_each(|(_, below)| left.push(below));
            *array = left;
            array.len() < count
        }
        _ => false,
    }
}

/// The key at `offset` and its value.
pub(super) fn at<'d>(document: &'d DeTable<'_>, offset: usize) -> Option<(Place, &'d DeValue<'d>)> {
    in_table(document, offset, &Place::default())
}

fn in_table<'d>(table: &'d DeTable<'_>, offset: usize, above: &Place) -> Option<(Place, &'d DeValue<'d>)> {
    table.iter().find_map(|(key, value)| {
        let place = above.key(key.get_ref());
        let here = key.span().contains(&offset).then_some(value.get_ref());
        here.map(|value| (place.clone(), value))
            .or_else(|| in_value(value.get_ref(), value.span(), offset, &place))
    })
}

fn in_value<'d>(
    value: &'d DeValue<'_>,
    span: Range<usize>,
    offset: usize,
    place: &Place,
) -> Option<(Place, &'d DeValue<'d>)> {
    // What is in a table with a `[header]` of its own lies outside the header's span: look inside first.
    let inside = match value {
        DeValue::Table(table) => in_table(table, offset, place),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(index, value)| in_value(value.get_ref(), value.span(), offset, &place.index(index))),
        _ => None,
    };
    inside.or_else(|| span.contains(&offset).then(|| (place.clone(), value)))
}

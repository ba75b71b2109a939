//! Places in a document: from a dotted key to its line, and from an offset to the key there.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

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

//! What a writer requires of the present revision (RFC 9110 §13.1).

use axion_api::problem::{Kind, Problem};

/// What a writer requires of the present revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// `If-None-Match: *`: there is no such thing.
    Absent,
    /// `If-Match: *`: there is one.
    Present,
    /// `If-Match: "REVISION"`.
    Revision(u64),
}

impl Precondition {
    /// Checks the revision of a thing (`VM`) of that name; `None`: there is no such thing.
    pub fn check(&self, thing: &str, name: &str, found: Option<u64>) -> Result<(), Problem> {
        let holds = match self {
            Self::None => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Revision(revision) => found == Some(*revision),
        };
        if holds {
            return Ok(());
        }
        let there = match found {
            Some(revision) => format!("{thing} `{name}` has revision {revision}"),
            None => format!("there is no {thing} `{name}`"),
        };
        let wanted = match self {
            Self::Absent => "the request wants it absent (If-None-Match: *)".to_owned(),
            Self::Revision(revision) => format!("the request is for revision {revision} (If-Match)"),
            _ => "the request wants it present (If-Match: *)".to_owned(),
        };
        Err(Problem::new(
            Kind::PreconditionFailed,
            format!("{there}; {wanted}"),
        ))
    }
}

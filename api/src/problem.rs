//! Errors of the REST API: RFC 9457 problem details.

use axion_core::profile::{Refusal, Refusals};
use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[error("{title}: {detail}")]
pub struct Problem {
    /// Identifies the kind of problem, for programs: `urn:axion:problem:` and a [`Kind`] in kebab case.
    pub r#type: String,
    /// The kind of problem, for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong here, where, and what is allowed.
    pub detail: String,
    /// The field of the request that is at fault, as a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pointer: Option<String>,
    /// Each wish that cannot be granted, where several were looked at.
    #[serde(skip_serializing_if = "<[_]>::is_empty", default)]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<Refusal>))]
    pub refusals: Box<[Refusal]>,
}

/// The kinds of problem that the API reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A field's value is not allowed (422).
    Invalid,
    /// The body or the query cannot be read (400).
    Malformed,
    /// No or a wrong token (401).
    Unauthorized,
    /// The caller may not do that (403).
    Forbidden,
    /// No such thing (404).
    NotFound,
    /// The method is not for this path (405).
    MethodNotAllowed,
    /// The thing exists already, or is in a state that does not allow the request (409).
    Conflict,
    /// `If-Match` names another revision than the current one (412).
    PreconditionFailed,
    /// The body is larger than allowed (413).
    TooLarge,
    /// Too many failed attempts to log in from one address (429).
    TooManyRequests,
    /// The node has not enough of something (507).
    InsufficientCapacity,
    /// A part of the node that is needed did not answer (503).
    Unavailable,
    /// A fault of the node itself (500).
    Internal,
}

impl Kind {
    /// Name for programs, HTTP status, title.
    const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Invalid => ("invalid", 422, "Invalid value"),
            Self::Malformed => ("malformed", 400, "Malformed request"),
            Self::Unauthorized => ("unauthorized", 401, "Authentication required"),
            Self::Forbidden => ("forbidden", 403, "Not allowed"),
            Self::NotFound => ("not-found", 404, "Not found"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "Method not allowed"),
            Self::Conflict => ("conflict", 409, "Conflict"),
            Self::PreconditionFailed => ("precondition-failed", 412, "Changed in the meantime"),
            Self::TooLarge => ("too-large", 413, "Too large"),
            Self::TooManyRequests => ("too-many-requests", 429, "Too many requests"),
            Self::InsufficientCapacity => ("insufficient-capacity", 507, "Not enough capacity"),
            Self::Unavailable => ("unavailable", 503, "Unavailable"),
            Self::Internal => ("internal", 500, "Internal error"),
        }
    }

    /// HTTP status.
    pub const fn status(self) -> u16 {
        self.parts().1
    }
}

impl Problem {
    /// A problem of `kind`; `detail` says what was wrong, where, and what is allowed.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (name, status, title) = kind.parts();
        Self {
            r#type: format!("urn:axion:problem:{name}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            pointer: None,
            refusals: Box::default(),
        }
    }

    /// A declaration that this machine cannot grant.
    pub fn refused(Refusals(refusals): Refusals) -> Self {
        let detail = match refusals.as_slice() {
            [one] => one.to_string(),
            several => format!("this machine cannot grant {} of the wishes", several.len()),
        };
        Self {
            refusals: refusals.into(),
            ..Self::new(Kind::Invalid, detail)
        }
    }

    /// The same, at a field of the request.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

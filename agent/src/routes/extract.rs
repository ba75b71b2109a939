//! What handlers read from a request.

use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::problem::Fault;
use crate::store::Precondition;

/// Longest body that is read into memory, bytes: a VM's with what its cloud-init is told, every character escaped.
const LONGEST: usize = 256 << 10;
/// How long such a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How long a body that is not read into memory may bring nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// What arrives of a body that is not read into memory. A client that is gone, or sends nothing any more, is its end, so that it
/// keeps nobody's place.
pub fn arriving(body: Body) -> impl Stream<Item = Result<Bytes, String>> + Send + Unpin {
    let parts = stream::unfold(Some(body.into_data_stream()), |body| async {
        let mut body = body?;
        let failed = match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(part))) => return Some((Ok(part), Some(body))),
            Ok(Some(Err(error))) => error.to_string(),
            Ok(None) => return None,
            Err(_) => format!("nothing arrived for {} s", SILENCE.as_secs()),
        };
        Some((Err(failed), None))
    });
    // It may be asked on after its end.
    Box::pin(parts.fuse())
}

/// A JSON body; an empty one reads as `{}`.
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        let body = read(request).await?;
        parse(if body.is_empty() { b"{}" } else { &body })
            .map(Self)
            .map_err(Fault)
    }
}

/// A body of text.
pub struct Text(pub String);

impl<S: Sync> FromRequest<S> for Text {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        let body = read(request).await?;
        match String::from_utf8(body.into()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Problem::new(Kind::Malformed, "the body is no UTF-8 text").into()),
        }
    }
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let body = tokio::time::timeout(ARRIVAL, to_bytes(request.into_body(), LONGEST)).await;
    let body = body.map_err(|_| {
        Problem::new(
            Kind::Malformed,
            format!("the body did not arrive within {} s", ARRIVAL.as_secs()),
        )
    })?;
    body.map_err(|error| {
        let too_large = std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>());
        if too_large {
            Problem::new(Kind::TooLarge, format!("the body is larger than {LONGEST} bytes"))
        } else {
            Problem::new(Kind::Malformed, format!("the body cannot be read: {error}"))
        }
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            Problem::new(Kind::Invalid, error.to_string()).at(pointer)
        } else {
            Problem::new(Kind::Malformed, format!("the body is no JSON: {error}"))
        }
    })?;
    json.end()
        .map_err(|error| Problem::new(Kind::Malformed, format!("the body is no JSON: {error}")))?;
    Ok(value)
}

/// RFC 6901.
fn pointer(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        text.push('/');
        match segment {
            Segment::Seq { index } => text.push_str(&index.to_string()),
            Segment::Map { key } => text.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => text.push_str(variant),
            Segment::Unknown => text.push('?'),
        }
    }
    text
}

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let header = |name: HeaderName| match parts.headers.get(&name) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(Problem::new(Kind::Malformed, format!("{name} is no text"))),
            },
        };
        let condition = match (header(IF_MATCH)?, header(IF_NONE_MATCH)?) {
            (None, None) => Self::None,
            (Some("*"), None) => Self::Present,
            (None, Some("*")) => Self::Absent,
            (Some(tag), None) => {
                let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                let revision = revision.and_then(|revision| revision.parse().ok());
                Self::Revision(revision.ok_or_else(|| {
                    let detail = "If-Match takes `*` or one revision in quotes, as in ETag: `\"12\"`";
                    Problem::new(Kind::Malformed, detail)
                })?)
            }
            (None, Some(_)) => {
                return Err(Problem::new(Kind::Malformed, "If-None-Match takes `*` alone").into());
            }
            (Some(_), Some(_)) => {
                let detail = "If-Match and If-None-Match exclude each other";
                return Err(Problem::new(Kind::Malformed, detail).into());
            }
        };
        Ok(condition)
    }
}

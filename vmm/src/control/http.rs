//! Just enough HTTP/1.1 for the control socket (RFC 9112): requests and answers in one piece.
//!
//! The parser is `httparse`; a runtime and a full server would cost each VM a megabyte and milliseconds of its start.

use axion_api::problem::{Kind, MEDIA_TYPE, Problem};
use serde::Serialize;

/// Longest head of a request, bytes.
pub const MAX_HEAD: usize = 8 << 10;
/// Longest body of a request, bytes.
const MAX_BODY: usize = 64 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Body.
    pub body: Vec<u8>,
    /// The connection ends with the answer.
    pub close: bool,
}

/// A part of a stream of requests.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Partial,
    /// A request, which with its body took this many bytes.
    Request(Request, usize),
    /// No sense can be made of it; the connection ends with this answer.
    Malformed(Problem),
}

/// Reads the first request of `buffer`.
pub fn parse(buffer: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Parsed::Partial,
        Ok(httparse::Status::Partial) => {
            let detail = format!("the head of the request is longer than {MAX_HEAD} bytes");
            return Parsed::Malformed(Problem::new(Kind::TooLarge, detail));
        }
        Err(error) => return malformed(format!("not an HTTP/1.1 request: {error}")),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return malformed("not an HTTP/1.1 request");
    };
    let header = |name: &str| {
        let found = request
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    if header("transfer-encoding").is_some() {
        return malformed("a body with transfer-encoding is not taken; send content-length");
    }
    let body = match header("content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(length)) if length <= MAX_BODY => length,
        Some(Ok(length)) => {
            let detail = format!("a body of {length} bytes; at most {MAX_BODY} are taken");
            return Parsed::Malformed(Problem::new(Kind::TooLarge, detail));
        }
        Some(Err(_)) => return malformed("content-length is not a number"),
    };
    let total = head + body;
    if buffer.len() < total {
        return Parsed::Partial;
    }
    let asks =
        |what: &str| header("connection").is_some_and(|value| value.to_ascii_lowercase().contains(what));
    let close = asks("close") || (version == 0 && !asks("keep-alive"));
    let body = buffer.get(head..total).unwrap_or_default().to_vec();
    let path = target.split('?').next().unwrap_or(target).to_owned();
    Parsed::Request(
        Request {
            method: method.to_owned(),
            path,
            body,
            close,
        },
        total,
    )
}

fn malformed(detail: impl Into<String>) -> Parsed {
    Parsed::Malformed(Problem::new(Kind::Malformed, detail))
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    media_type: &'static str,
    allow: Option<&'static str>,
    body: Vec<u8>,
}

impl Answer {
    /// 204.
    pub fn done() -> Self {
        Self {
            status: 204,
            media_type: "",
            allow: None,
            body: Vec::new(),
        }
    }

    /// 200 with `value` as JSON.
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self {
                status: 200,
                media_type: "application/json",
                allow: None,
                body,
            },
            Err(error) => Self::problem(&Problem::new(Kind::Internal, error.to_string())),
        }
    }

    /// The problem, with its status.
    pub fn problem(problem: &Problem) -> Self {
        let body = serde_json::to_vec(problem).unwrap_or_default();
        Self {
            status: problem.status,
            media_type: MEDIA_TYPE,
            allow: None,
            body,
        }
    }

    /// 405: `path` knows the method `allowed` only.
    pub fn not_allowed(path: &str, allowed: &'static str) -> Self {
        let problem = Problem::new(Kind::MethodNotAllowed, format!("{path} takes {allowed}"));
        Self {
            allow: Some(allowed),
            ..Self::problem(&problem)
        }
    }

    /// The answer on the wire.
    pub fn bytes(&self, close: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        if !self.media_type.is_empty() {
            text.push_str(&format!(
                "content-type: {}\r\ncontent-length: {}\r\n",
                self.media_type,
                self.body.len()
            ));
        }
        if let Some(method) = self.allow {
            text.push_str(&format!("allow: {method}\r\n"));
        }
        if close {
            text.push_str("connection: close\r\n");
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => "Unprocessable Content",
        413 => "Content Too Large",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests;

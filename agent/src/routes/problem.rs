//! Every error answer is a problem (RFC 9457), whoever made it: a handler, or axum.

use axion_api::problem::{Kind, MEDIA_TYPE, Problem};
use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Longest text of axum that is taken over, bytes.
const LONGEST: usize = 4096;

/// A problem as an answer.
#[derive(Debug)]
pub struct Fault(pub Problem);

impl<E: Into<Problem>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&problem)).into_response();
        response.extensions_mut().insert(problem);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

/// Turns error answers that are no problems yet (axum's own: 404, 405, rejections) into problems.
pub async fn as_problem(request: Request, next: Next) -> Response {
    let target = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error
        || response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == MEDIA_TYPE)
    {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, LONGEST).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let allow = parts.headers.get(ALLOW).cloned();
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(
            Kind::NotFound,
            format!("{target}: there is no such route; see /openapi.json"),
        ),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = allow
                .as_ref()
                .and_then(|allow| allow.to_str().ok())
                .unwrap_or("others");
            Problem::new(Kind::MethodNotAllowed, format!("{target}: allowed are {allowed}"))
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Kind::TooLarge, text),
        _ if status.is_server_error() => Problem::new(Kind::Internal, text),
        _ => Problem::new(Kind::Malformed, text),
    };
    let mut response = Fault(problem).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

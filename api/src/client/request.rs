//! One HTTP exchange: a connection, a request, an answer that is either a success or an [`Error`].

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Client, Error, connection};
use crate::problem::{self, Problem};

/// Largest answer that is read into memory: many times an inventory of the largest machine.
const MAX_ANSWER: usize = 64 << 20;

/// A request's body.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What may stand in a path segment as it is (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@');

/// A name as a path segment.
pub(super) fn segment(name: &str) -> Cow<'_, str> {
    utf8_percent_encode(name, SEGMENT).into()
}

/// A request to be.
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Body,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body,
        }
    }

    /// The same with `value` as its JSON body.
    pub fn json(self, value: &impl Serialize) -> Self {
        // The request types of this crate have no maps with keys that JSON lacks, so they always serialize.
        self.body("application/json", serde_json::to_vec(value).unwrap_or_default())
    }

    /// The same with a body of `media_type`.
    pub fn body(mut self, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        self.headers
            .push((header::CONTENT_TYPE, HeaderValue::from_static(media_type)));
        self.body = Full::new(bytes.into())
            .map_err(|never| match never {})
            .boxed_unsync();
        self
    }

    /// How errors name it.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Runs `exchange` under a deadline.
async fn within<T>(
    call: &str,
    after: Duration,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(after, exchange).await.unwrap_or_else(|_| {
        Err(Error::Timeout {
            call: call.to_owned(),
            after,
        })
    })
}

/// The whole exchange under the client's deadline: the body of a success.
pub(super) async fn bytes(client: &Client, call: Call) -> Result<Bytes, Error> {
    let name = call.name();
    within(&name, client.timeout, async {
        let response = exchange(client, call).await?;
        collect(&name, response.into_body()).await
    })
    .await
}

/// A success whose body goes on as long as it goes on; only its beginning has a deadline.
pub(super) async fn open(client: &Client, call: Call) -> Result<Response<Incoming>, Error> {
    let name = call.name();
    within(&name, client.timeout, exchange(client, call)).await
}

/// The body of a success, with no deadline: the request's body takes as long as it takes.
pub(super) async fn upload(client: &Client, call: Call) -> Result<Bytes, Error> {
    let name = call.name();
    let response = exchange(client, call).await?;
    within(&name, client.timeout, collect(&name, response.into_body())).await
}

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(call: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Protocol {
        call: call.to_owned(),
        detail: format!("the answer is not what this version expects: {error}"),
    })
}

/// Connects, sends, and reads the head of the answer; a refusal becomes an error here.
async fn exchange(client: &Client, call: Call) -> Result<Response<Incoming>, Error> {
    let name = call.name();
    let broken = |error: hyper::Error| Error::Broken {
        call: name.clone(),
        source: error.into(),
    };
    let target = &*client.target;

    let mut request = Request::new(call.body);
    *request.method_mut() = call.method;
    *request.uri_mut() = call.path.parse().map_err(|_| Error::Protocol {
        call: name.clone(),
        detail: "the path is not a URI path".to_owned(),
    })?;
    let headers = request.headers_mut();
    headers.insert(
        header::HOST,
        HeaderValue::try_from(target.host()).map_err(|_| Error::Address(target.host()))?,
    );
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("axion/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = target.authorization() {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    headers.extend(call.headers);

    let stream = connection::connect(target).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the answer's body (or, for a console, hands the stream over); its error shows in what is read.
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    if status.is_success() || status == http::StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    Err(refusal(&name, response, client.timeout).await)
}

/// The problem that an answer with an error status carries.
async fn refusal(call: &str, response: Response<Incoming>, after: Duration) -> Error {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(problem::MEDIA_TYPE.as_bytes()));
    let body = match within(call, after, collect(call, response.into_body())).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if is_problem => Error::Problem(Box::new(problem)),
        _ => Error::Protocol {
            call: call.to_owned(),
            detail: format!("HTTP status {status} without a reason; this may be no Axion node"),
        },
    }
}

async fn collect(call: &str, body: Incoming) -> Result<Bytes, Error> {
    match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(source) => Err(Error::Broken {
            call: call.to_owned(),
            source,
        }),
    }
}

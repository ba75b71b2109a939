//! An image from a URL. Who made it is in its signature, so `http` is as good as `https`, whose servers are checked against the
//! public roots.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::update::SIGNATURE_SUFFIX;
use axum::http::header::LOCATION;
use axum::http::{Request, Response, StatusCode, Uri};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hickory_resolver::TokioResolver;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For each step: a name, a connection, the beginning of an answer, each further part of it.
const STEP: Duration = Duration::from_secs(30);
/// Times that a server may send elsewhere.
const REDIRECTS: usize = 5;

/// Something cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Bad URL.
    #[error("`{0}` is no URL; allowed are `http://HOST/PATH` and `https://HOST/PATH`, without a password")]
    Url(String),
    /// No answer in time.
    #[error("{0}: no answer within {limit} s", limit = STEP.as_secs())]
    Late(String),
    /// Not found, and the like.
    #[error("{0}: the server answers {1}")]
    Status(String, StatusCode),
    /// In a circle.
    #[error("{0}: the server sends elsewhere more than {REDIRECTS} times")]
    Redirects(String),
    /// Too long.
    #[error("{0} is longer than {1} bytes, or no text")]
    NoText(String, usize),
    /// The rest.
    #[error("{what}: cannot {action}: {source}")]
    Failed {
        /// URL.
        what: String,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        let kind = match error {
            FetchError::Url(_) => Kind::Invalid,
            FetchError::Late(_)
            | FetchError::Status(..)
            | FetchError::Redirects(_)
            | FetchError::NoText(..)
            | FetchError::Failed { .. } => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

type Result<T> = std::result::Result<T, FetchError>;

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        // A query may hold a secret.
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

impl Url {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || FetchError::Url(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(bad());
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Where the signature of what is there is.
    pub fn signature(&self) -> Self {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.path.as_str(), String::new()),
        };
        Self {
            path: format!("{path}{SIGNATURE_SUFFIX}{query}"),
            ..self.clone()
        }
    }

    /// Where a server sends one who asks for this.
    fn elsewhere(&self, location: &str) -> Result<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(Self {
                path: location.to_owned(),
                ..self.clone()
            });
        }
        Self::parse(location)
    }

    fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        action: &'static str,
    ) -> impl FnOnce(E) -> FetchError {
        let what = self.to_string();
        move |error| FetchError::Failed {
            what,
            action,
            source: error.into(),
        }
    }

    async fn within<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::time::timeout(STEP, step).await;
        done.unwrap_or_else(|_| Err(FetchError::Late(self.to_string())))
    }
}

/// What is at a URL, in parts.
pub async fn get(url: &Url) -> Result<impl Stream<Item = Result<Bytes>> + Unpin + use<>> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        let answer = ask(&url).await?;
        if !answer.status().is_redirection() {
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(url.to_string(), answer.status()));
            }
            return Ok(parts(url, answer.into_body()));
        }
        let location = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        url = url.elsewhere(location.unwrap_or_default())?;
    }
    Err(FetchError::Redirects(url.to_string()))
}

fn parts(url: Url, body: Incoming) -> impl Stream<Item = Result<Bytes>> + Unpin {
    let next = |(url, mut body): (Url, Incoming)| async move {
        loop {
            let frame = url.within(async { Ok(body.frame().await) }).await;
            let part = match frame {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => Err(url.failed("go on")(error)),
                Err(late) => Err(late),
            };
            return Some((part, (url, body)));
        }
    };
    Box::pin(futures_util::stream::unfold((url, body), next))
}

/// A short text at a URL.
pub async fn text(url: &Url, longest: usize) -> Result<String> {
    let mut body = get(url).await?;
    let mut text = Vec::new();
    let bad = || FetchError::NoText(url.to_string(), longest);
    while let Some(part) = body.next().await {
        text.extend_from_slice(&part?);
        if text.len() > longest {
            return Err(bad());
        }
    }
    String::from_utf8(text).map_err(|_| bad())
}

async fn ask(url: &Url) -> Result<Response<Incoming>> {
    let stream = connect(url).await?;
    if !url.tls {
        return url.within(exchange(url, stream)).await;
    }
    let name = ServerName::try_from(url.host.clone()).map_err(url.failed("use the server's name"))?;
    let connector = TlsConnector::from(Arc::new(tls_config().map_err(url.failed("set TLS up"))?));
    let stream = async {
        let stream = connector.connect(name, stream).await;
        stream.map_err(url.failed("trust the server"))
    };
    let stream = url.within(stream).await?;
    url.within(exchange(url, stream)).await
}

async fn connect(url: &Url) -> Result<TcpStream> {
    let mut last = FetchError::Late(url.to_string());
    for ip in resolve(url).await? {
        match tokio::time::timeout(STEP, TcpStream::connect((ip, url.port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = url.failed("connect")(error),
            Err(_) => {}
        }
    }
    Err(last)
}

/// The addresses of a host. Not by the C library: a static binary has none of its resolver's plug-ins.
async fn resolve(url: &Url) -> Result<Vec<IpAddr>> {
    if let Ok(ip) = url.host.parse() {
        return Ok(vec![ip]);
    }
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let resolver = resolver.map_err(url.failed("set up name resolution"))?;
    let found = url
        .within(async {
            let found = resolver.lookup_ip(url.host.as_str()).await;
            Ok(found
                .map_err(url.failed("resolve the name"))?
                .iter()
                .collect::<Vec<_>>())
        })
        .await?;
    if found.is_empty() {
        let none = io::Error::from(io::ErrorKind::NotFound);
        return Err(url.failed("resolve the name")(none));
    }
    Ok(found)
}

async fn exchange(
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(url.failed("talk to the server"))?;
    tokio::spawn(connection);
    let request = Request::get(&url.path)
        .header("host", url.authority())
        .header("user-agent", concat!("axion-agent/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(url.failed("ask for it"))?;
    sender
        .send_request(request)
        .await
        .map_err(url.failed("get an answer"))
}

fn tls_config() -> std::result::Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;

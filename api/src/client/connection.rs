//! From an address to a byte stream that is known to end at the node.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use http::HeaderValue;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, OtherError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::{self, PinMismatch};
use super::{Endpoint, Error};
use crate::DEFAULT_PORT;

/// Deadline of each step: resolving, connecting to one address, the TLS handshake.
const STEP: Duration = Duration::from_secs(10);

/// Where a node's API listens: `https://HOST`, `https://HOST:PORT`, or the same without the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: ServerName<'static>,
    port: u16,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::Address(text.to_owned());
        let authority = text.strip_prefix("https://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let authority: http::uri::Authority = authority.parse().map_err(|_| bad())?;
        if authority.as_str().contains('@') {
            return Err(bad());
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let rest = authority
            .as_str()
            .trim_end_matches(']')
            .rsplit_once(':')
            .map(|(_, port)| port);
        let port = match (authority.port_u16(), rest) {
            (Some(port), _) => port,
            (None, Some(_)) if !authority.as_str().ends_with(']') => return Err(bad()),
            (None, _) => DEFAULT_PORT,
        };
        let host = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
        Ok(Self { host, port })
    }
}

impl Address {
    /// The form that `host:port` takes in a URL and in the `Host` header.
    fn authority(&self) -> String {
        match &self.host {
            ServerName::IpAddress(ip) => SocketAddr::new(IpAddr::from(*ip), self.port).to_string(),
            name => format!("{}:{}", name.to_str(), self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

/// Whom a client talks to.
pub(super) enum Target {
    /// The node's own socket.
    Unix(PathBuf),
    /// A node over the network.
    Tls {
        /// Where.
        address: Address,
        /// `Bearer …`, marked sensitive.
        authorization: HeaderValue,
        /// What a server must prove.
        config: Arc<ClientConfig>,
    },
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tls { address, .. } => write!(f, "{address}"),
        }
    }
}

impl Target {
    pub(super) fn tls(endpoint: &Endpoint) -> Result<Self, Error> {
        if endpoint.token.is_empty() || endpoint.token.contains(char::is_whitespace) {
            return Err(Error::Token);
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", endpoint.token)).map_err(|_| Error::Token)?;
        authorization.set_sensitive(true);
        let config = Arc::new(trust::client_config(&endpoint.trust)?);
        Ok(Self::Tls {
            address: endpoint.address.clone(),
            authorization,
            config,
        })
    }

    /// The `Host` header (RFC 9112 §3.2).
    pub(super) fn host(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tls { address, .. } => address.authority(),
        }
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        match self {
            Self::Unix(_) => None,
            Self::Tls { authorization, .. } => Some(authorization),
        }
    }
}

/// A byte stream to the node.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects, and proves who is there.
pub(super) async fn connect(target: &Target) -> Result<Box<dyn Io>, Error> {
    match target {
        Target::Unix(path) => match UnixStream::connect(path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(source) => Err(Error::Connect {
                address: path.display().to_string(),
                source,
            }),
        },
        Target::Tls { address, config, .. } => Ok(Box::new(handshake(address, config.clone()).await?)),
    }
}

/// Connects to `address` and does the TLS handshake.
pub(super) async fn handshake(
    address: &Address,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Error> {
    let tcp = dial(address).await?;
    let handshake = TlsConnector::from(config).connect(address.host.clone(), tcp);
    match timeout(STEP, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(refusal(address, source)),
        Err(_) => Err(Error::Timeout {
            call: format!("TLS handshake with {address}"),
            after: STEP,
        }),
    }
}

/// Connects to the first of the host's addresses that answers.
async fn dial(address: &Address) -> Result<TcpStream, Error> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for ip in resolve(&address.host).await? {
        match timeout(STEP, TcpStream::connect((ip, address.port))).await {
            Ok(Ok(stream)) => {
                // A console's keystrokes must not wait for a full segment.
                stream.set_nodelay(true).map_err(|source| Error::Connect {
                    address: address.to_string(),
                    source,
                })?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Error::Connect {
        address: address.to_string(),
        source: last,
    })
}

/// The addresses of a host. Not by the C library: a static binary has none of its resolver's plug-ins.
async fn resolve(host: &ServerName<'_>) -> Result<Vec<IpAddr>, Error> {
    if let ServerName::IpAddress(ip) = host {
        return Ok(vec![IpAddr::from(*ip)]);
    }
    let name = host.to_str();
    let failed = |source| Error::Resolve {
        host: name.to_string(),
        source,
    };
    let resolver = TokioResolver::builder_tokio()
        .and_then(|b| b.build())
        .map_err(|e| failed(e.into()))?;
    match timeout(STEP, resolver.lookup_ip(&*name)).await {
        Ok(Ok(found)) => Ok(found.iter().collect()),
        Ok(Err(error)) => Err(failed(error.into())),
        Err(_) => Err(Error::Timeout {
            call: format!("resolving {name}"),
            after: STEP,
        }),
    }
}

/// Tells a wrong pin from the other ways in which a TLS handshake fails.
fn refusal(address: &Address, source: io::Error) -> Error {
    let pin = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .and_then(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                other.downcast_ref::<PinMismatch>()
            }
            _ => None,
        })
        .map(|mismatch| (mismatch.expected, mismatch.presented));
    match pin {
        Some((expected, presented)) => Error::PinMismatch {
            address: address.to_string(),
            expected,
            presented,
        },
        None => Error::Tls {
            address: address.to_string(),
            source,
        },
    }
}

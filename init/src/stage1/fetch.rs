//! A config document from a URL: the network by DHCP, and a GET that is repeated while the server is not there, both with a deadline.
//!
//! After a power failure the server may be up later than its nodes, and a switch that runs the spanning tree protocol forwards nothing
//! in the first 30 seconds of a link.
//!
//! `https` is checked against the public roots, or, with `#sha256=HEX`, against that digest of the server's certificate
//! (DER) alone: a provisioning server rarely has a public name.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_core::identity::{Facts, MachineId, SubstituteError, substitute};
use base64::Engine;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::sources::MAX_DOCUMENT;
use crate::failure::chain;
use crate::log::Log;
use crate::names::{NameError, Names};
use crate::network::{self, NetworkError, Settings, State};

/// For an address.
const ADDRESS: Duration = Duration::from_secs(45);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// For the document, from the address on.
const DOCUMENT: Duration = Duration::from_secs(60);
/// Between two attempts: the first pause, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];

/// A document that cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Bad URL.
    #[error("`{0}` is no URL")]
    Url(String),
    /// Bad fragment.
    #[error("`#{0}` is not `#sha256=` and 64 hex digits, or the URL is not https")]
    Pin(String),
    /// Bad variable.
    #[error(transparent)]
    Substitute(#[from] SubstituteError),
    /// No address in time.
    #[error("no network interface got an address within {limit} s: {0}", limit = ADDRESS.as_secs())]
    NoNetwork(String),
    /// No answer in time.
    #[error("{0} did not answer within {limit} s", limit = ANSWER.as_secs())]
    Late(String),
    /// Not found, and the like.
    #[error("{0} answered {1}; only 200 is taken")]
    Status(String, StatusCode),
    /// The server is not the one that is meant.
    #[error("cannot trust {0}")]
    Trust(String, #[source] std::io::Error),
    /// The rest.
    #[error("cannot {action}")]
    Failed {
        /// What was being done.
        action: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No thread.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No address of the server.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FetchError {
    /// Whether another attempt may end otherwise.
    fn may_pass(&self) -> bool {
        match self {
            Self::Late(_) | Self::Failed { .. } | Self::Name(_) => true,
            Self::Status(_, status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Url(_)
            | Self::Pin(_)
            | Self::Substitute(_)
            | Self::NoNetwork(_)
            | Self::Trust(..)
            | Self::Network(_) => false,
        }
    }
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    action: impl Into<String>,
) -> impl FnOnce(E) -> FetchError {
    let action = action.into();
    move |e| FetchError::Failed {
        action,
        source: e.into(),
    }
}

/// A URL with what belongs to it.
#[derive(Debug)]
pub struct Url {
    uri: Uri,
    host: String,
    tls: bool,
    port: u16,
    credentials: Option<String>,
    pin: Option<[u8; 32]>,
}

/// A URL without credentials, query and fragment.
pub fn public_name(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => bare.to_owned(),
    }
}

impl Url {
    /// Reads a URL; the facts of the machine, read below `root`, are filled in.
    ///
    /// # Errors
    /// It is no http(s) URL, or names a fact that the machine does not have.
    pub fn parse(text: &str, root: &Path) -> Result<Self, FetchError> {
        let filled = if text.contains("${") {
            fill(text, root)?
        } else {
            text.to_owned()
        };
        let (bare, fragment) = filled
            .split_once('#')
            .map_or((filled.as_str(), None), |(b, f)| (b, Some(f)));
        let malformed = || FetchError::Url(public_name(text));
        let uri: Uri = bare.parse().map_err(|_| malformed())?;
        let tls = uri.scheme_str() == Some("https");
        let pin = fragment.map(|f| {
            parse_pin(f)
                .filter(|_| tls)
                .ok_or_else(|| FetchError::Pin(f.to_owned()))
        });
        let authority = uri.authority().ok_or_else(malformed)?;
        let credentials = authority
            .as_str()
            .rsplit_once('@')
            .map(|(user, _)| user.to_owned());
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(malformed());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            host,
            tls,
            port,
            credentials,
            pin: pin.transpose()?,
            uri,
        })
    }

    fn name(&self) -> String {
        public_name(&self.uri.to_string())
    }
}

fn fill(text: &str, root: &Path) -> Result<String, FetchError> {
    let mut facts = Facts::read(root);
    let boot_id = std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).unwrap_or_default();
    facts.hostname = Some(MachineId::decide(None, &facts, &boot_id).default_hostname());
    Ok(substitute(text, &facts)?)
}

fn parse_pin(fragment: &str) -> Option<[u8; 32]> {
    let mut pin = [0; 32];
    hex::decode_to_slice(fragment.strip_prefix("sha256=")?, &mut pin).ok()?;
    Some(pin)
}

/// Fetches the document at `url`.
///
/// # Errors
/// There is no network, or the server does not give the document, within [`ADDRESS`] and [`DOCUMENT`].
pub fn fetch(url: &Url, log: &Log) -> Result<Vec<u8>, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start an event loop"))?;
    runtime.block_on(async {
        let (state, mut network) = watch::channel(State::default());
        let settings = Settings {
            config: axion_core::config::Network::default(),
            hostname: String::new(),
            resolv_conf: Path::new("/run/axion/resolv.conf").to_owned(),
        };
        let _ = crate::files::directory(
            Path::new(axion_core::paths::RUN),
            crate::files::Access {
                mode: 0o755,
                ..crate::files::PUBLIC
            },
        );
        network::start(settings, state, log.clone())?;
        if !network::wait_until_up(&mut network, ADDRESS).await {
            let links: Vec<String> = network
                .borrow()
                .links()
                .iter()
                .map(|(n, s)| format!("{n}: {s}"))
                .collect();
            let links = if links.is_empty() {
                "there is none".to_owned()
            } else {
                links.join("; ")
            };
            return Err(FetchError::NoNetwork(links));
        }
        let names = Names::new(network);
        ask(url, &names, DOCUMENT, log).await
    })
}

/// Asks for the document until it is there, it is known that it will not be, or the time is over.
async fn ask(url: &Url, names: &Names, limit: Duration, log: &Log) -> Result<Vec<u8>, FetchError> {
    let end = Instant::now() + limit;
    let [mut pause, longest] = PAUSES;
    loop {
        let got = tokio::time::timeout(ANSWER, get(url, names)).await;
        match got.unwrap_or_else(|_| Err(FetchError::Late(url.name()))) {
            Err(e) if e.may_pass() && Instant::now() + pause < end => {
                log.warning(&format!(
                    "machine config: {}; asking again in {} s",
                    chain(&e),
                    pause.as_secs()
                ));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            got => return got,
        }
    }
}

async fn get(url: &Url, names: &Names) -> Result<Vec<u8>, FetchError> {
    let address: IpAddr = names.first(&url.host).await?;
    let stream = TcpStream::connect((address, url.port))
        .await
        .map_err(failed(format!(
            "connect to {} ({address}) port {}",
            url.host, url.port
        )))?;
    if !url.tls {
        return exchange(url, stream).await;
    }
    let server =
        ServerName::try_from(url.host.clone()).map_err(failed(format!("use the name {}", url.host)))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls_config(url.pin)?));
    let stream = connector
        .connect(server, stream)
        .await
        .map_err(|e| FetchError::Trust(url.host.clone(), e))?;
    exchange(url, stream).await
}

fn talking<E: Into<Box<dyn std::error::Error + Send + Sync>>>(url: &Url) -> impl FnOnce(E) -> FetchError {
    failed(format!("fetch {}", url.name()))
}

async fn exchange(
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Vec<u8>, FetchError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(talking(url))?;
    tokio::spawn(connection);
    let path = url.uri.path_and_query().map_or("/", |p| p.as_str());
    let host = if url.host.contains(':') {
        format!("[{}]", url.host)
    } else {
        url.host.clone()
    };
    let mut request = Request::get(path)
        .header("host", format!("{host}:{}", url.port))
        .header("user-agent", concat!("axion-init/", env!("CARGO_PKG_VERSION")))
        .header("accept", "application/toml, text/plain");
    if let Some(credentials) = &url.credentials {
        let token = base64::engine::general_purpose::STANDARD.encode(credentials);
        request = request.header("authorization", format!("Basic {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(talking(url))?;
    let response = sender.send_request(request).await.map_err(talking(url))?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(url.name(), response.status()));
    }
    let limit = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX);
    Ok(Limited::new(response.into_body(), limit)
        .collect()
        .await
        .map_err(talking(url))?
        .to_bytes()
        .into())
}

fn tls_config(pin: Option<[u8; 32]>) -> Result<ClientConfig, FetchError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(failed("set TLS up"))?;
    Ok(match pin {
        None => {
            let roots = RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            };
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Some(sha256) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { sha256, provider }))
            .with_no_client_auth(),
    })
}

/// Trusts one certificate, by its digest.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let got = Sha256::digest(certificate);
        if got.as_slice() == self.sha256 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!(
            "its certificate has the digest sha256={}",
            hex::encode(got)
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;

//! HTTPS: the operator's certificate, checked before anybody is served, and a listener whose handshakes do not wait for each other.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Error;
use crate::event::Event;
use crate::server::Shared;

/// How long a handshake may take: firmware computes slowly.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Handshakes at once: a rack that is switched on, and a bound for whoever connects in bulk.
const HANDSHAKES: usize = 256;
/// Pause when descriptors are short; they come back.
const PAUSE: Duration = Duration::from_millis(200);

/// What the operator gives for HTTPS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate of this server, then those that lead to the CA, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// Host name in URLs; `None`: the address.
    pub name: Option<String>,
}

/// A certificate that can be served with.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// Host in URLs.
    pub host: String,
    /// SHA-256 of the certificate, 64 hex digits.
    pub pin: String,
    /// Its key is RSA, which every client takes.
    pub rsa: bool,
}

impl Tls {
    /// Reads and checks them, for a server at `address`.
    ///
    /// # Errors
    /// A file cannot be used, the key is another certificate's, or the certificate is not for the host.
    pub fn open(files: &TlsFiles, address: Ipv4Addr) -> Result<Self, Error> {
        let refuse = |path: &Path, detail: String| Error::Tls {
            path: path.to_owned(),
            detail,
        };
        let read = |path: &Path| std::fs::read(path).map_err(Error::file("read", path));
        let (certificate, key) = (files.certificate.as_path(), files.key.as_path());
        let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| refuse(certificate, format!("no certificates as PEM: {error}")))?;
        let own = chain
            .first()
            .ok_or_else(|| refuse(certificate, "it holds no certificate as PEM".to_owned()))?;
        let pin = hex::encode(Sha256::digest(own));
        let host = files.name.clone().unwrap_or_else(|| address.to_string());
        let name = ServerName::try_from(host.clone())
            .map_err(|_| refuse(certificate, format!("`{host}` is no host name")))?;
        let parsed = ParsedCertificate::try_from(own);
        let fits = parsed.and_then(|parsed| verify_server_name(&parsed, &name));
        fits.map_err(|error| refuse(certificate, format!("not a certificate for {host}: {error}")))?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| refuse(key, format!("no private key as PEM: {error}")))?;
        let signing = ring::sign::any_supported_type(&private)
            .map_err(|error| refuse(key, format!("a key that cannot be used: {error}")))?;
        let rsa = signing.algorithm() == SignatureAlgorithm::RSA;
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|_| refuse(key, format!("not the key of {}", certificate.display())))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(certificate, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        Ok(Self {
            config: Arc::new(config),
            host,
            pin,
            rsa,
        })
    }
}

/// Connections whose handshake is done.
pub struct Secured {
    done: Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Secured {
    /// Takes connections of `listener`; what fails is told to `shared`.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn new(listener: TcpListener, tls: &Tls, shared: Arc<Shared>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, done) = channel(1);
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let turns = Arc::new(Semaphore::new(HANDSHAKES));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                    return;
                };
                let Ok((stream, peer)) = listener.accept().await else {
                    sleep(PAUSE).await;
                    continue;
                };
                let (acceptor, sender, shared) = (acceptor.clone(), sender.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let reason = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            drop(turn);
                            // Nobody serves any more.
                            let _ = sender.send((stream, peer)).await;
                            return;
                        }
                        Ok(Err(error)) => format!("TLS: {error}"),
                        Err(_) => format!("TLS: no handshake within {} s", HANDSHAKE.as_secs()),
                    };
                    let who = shared.who(peer.ip());
                    shared.say(Event::Refused { who, reason });
                });
            }
        });
        Ok(Self {
            done,
            address,
            accepting,
        })
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests;

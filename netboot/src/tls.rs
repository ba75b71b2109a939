//! HTTPS: the operator's certificate, checked before anybody is served, and the handshake.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{Acceptor, ParsedCertificate};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Error;

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

    /// The server's side of a handshake, which begins within `hello` and takes no longer than `whole` from then on.
    ///
    /// # Errors
    /// The client refuses, or does not speak TLS, or not in time.
    pub async fn accept(
        &self,
        stream: TcpStream,
        hello: Duration,
        whole: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let begun = timeout(hello, begun).await.map_err(late(hello))??;
        let config = Arc::clone(&self.config);
        timeout(whole, begun.into_stream(config))
            .await
            .map_err(late(whole))?
    }
}

fn late(limit: Duration) -> impl FnOnce(Elapsed) -> io::Error {
    move |_| io::Error::other(format!("no handshake within {} s", limit.as_secs()))
}

#[cfg(test)]
mod tests;

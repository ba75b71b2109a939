//! What proves that a server is the node it should be.
//!
//! Each node makes a CA of its own at its first boot and shows that CA's fingerprint on its console. A client that pins
//! it accepts any certificate which that CA signed, **whatever name it carries**: the CA signs for one node only, so its
//! signature is the proof of identity, and a node must stay reachable under an address that DHCP gave it a minute ago.
//! With a CA file (a site's own CA, which signs for many) names are checked as usual.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::connection::{Address, handshake};
use super::error::Error;

/// What proves that a server is the node it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The node's CA has this fingerprint; the certificate's names are not checked.
    Pin(Fingerprint),
    /// The certificate is signed by a CA of this PEM file and carries the address's name.
    CaFile(PathBuf),
}

/// SHA-256 of a certificate (DER), written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint; expected `sha256:` and 64 hex digits, as the node's console shows it")]
pub struct FingerprintError(String);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        text.strip_prefix("sha256:")
            .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
            .map(|()| Self(bytes))
            .ok_or_else(|| FingerprintError(text.to_owned()))
    }
}

/// The chain that was presented holds no certificate with the pinned fingerprint.
#[derive(Debug)]
pub(super) struct PinMismatch {
    pub expected: Fingerprint,
    pub presented: Fingerprint,
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no certificate of the chain has fingerprint {}", self.expected)
    }
}

impl std::error::Error for PinMismatch {}

/// The TLS configuration that demands `trust`.
pub(super) fn client_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match trust {
        Trust::Pin(expected) => {
            let verifier = PinnedCa {
                expected: *expected,
                provider: provider.clone(),
            };
            config(provider, Arc::new(verifier))
        }
        Trust::CaFile(path) => {
            let verifier = file_verifier(path, provider.clone()).map_err(|source| Error::CaFile {
                path: path.clone(),
                source,
            })?;
            config(provider, verifier)
        }
    }
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn file_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

/// Accepts a chain that ends in the CA with one fingerprint.
#[derive(Debug)]
struct PinnedCa {
    expected: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.expected)
        else {
            let presented = Fingerprint::of(intermediates.last().unwrap_or(end_entity));
            let mismatch = PinMismatch {
                expected: self.expected,
                presented,
            };
            return Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Asks the server at `address` for its chain and returns the fingerprint of the last certificate in it, **unverified**:
/// for an operator to compare with what the node's console shows. Nothing but the handshake is sent, and it is broken off.
///
/// # Errors
/// Nothing answers there, or not with TLS.
pub async fn presented_ca(address: &Address) -> Result<Fingerprint, Error> {
    // No certificate has this SHA-256, so the handshake ends with the fingerprint that was presented instead.
    let config = client_config(&Trust::Pin(Fingerprint([0; 32])))?;
    match handshake(address, Arc::new(config)).await {
        Err(Error::PinMismatch { presented, .. }) => Ok(presented),
        Err(error) => Err(error),
        Ok(_) => Err(Error::Protocol {
            call: "TLS handshake".to_owned(),
            detail: "the server presented no certificate".to_owned(),
        }),
    }
}

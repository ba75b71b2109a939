//! The node's identity on the network: a CA made at first start, and a leaf that it signs.
//!
//! Operators pin the CA by its fingerprint, which the console shows; the leaf may therefore change whenever the host's
//! names and addresses do, and lives in memory only. The node's clock may be wrong at boot, so nothing begins at
//! "now": certificates begin in the far past, and end a term after now or after [`EPOCH`], whichever is later.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::files::{FileError, ensure_directory, read_optional, replace};

/// Key and certificate of the CA, one PEM file, so that one is never without the other.
const CA_FILE: &str = "ca.pem";
/// A clock before this is wrong.
const EPOCH: (i32, u8, u8) = (2026, 1, 1);
const BEGIN: (i32, u8, u8) = (2020, 1, 1);
const CA_TERM: Duration = Duration::days(3650);
const LEAF_TERM: Duration = Duration::days(365);
/// A leaf is replaced this long before its end.
const LEAF_MARGIN: Duration = Duration::days(30);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The node's certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// Names and addresses that a leaf is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Subjects {
    /// The host's name and addresses, and what it is called from itself.
    pub fn new(hostname: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let names = [hostname, "localhost"]
            .into_iter()
            .filter(|name| !name.is_empty());
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self {
            names: names.map(str::to_owned).collect(),
            addresses: addresses.into_iter().chain(local).collect(),
        }
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().max(rcgen::date_time_ymd(EPOCH.0, EPOCH.1, EPOCH.2))
}

fn params(term: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(BEGIN.0, BEGIN.1, BEGIN.2);
    params.not_after = now() + term;
    params
}

impl Ca {
    /// Reads the CA kept in `directory`, or makes one there. A CA that cannot be read is replaced, loudly: a node with a
    /// new identity can be reached, one without cannot.
    pub fn load_or_create(directory: &Path, hostname: &str) -> Result<Self, TlsError> {
        ensure_directory(directory, 0o700)?;
        let path = directory.join(CA_FILE);
        if let Some(text) = read_optional(&path)? {
            match Self::read(&text) {
                Some(ca) => return Ok(ca),
                None => tracing::error!(
                    "{} cannot be read; the node gets a new identity, compare its fingerprint on the console",
                    path.display()
                ),
            }
        }
        let (ca, text) = Self::create(hostname)?;
        replace(&path, text.as_bytes(), 0o600)?;
        Ok(ca)
    }

    fn read(text: &str) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = KeyPair::from_pem(text).ok()?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        Some(Self { issuer, certificate })
    }

    fn create(hostname: &str) -> Result<(Self, String), TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(CA_TERM);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Axion node {hostname}").trim_end());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let text = format!("{}{}", key.serialize_pem(), certificate.pem());
        Ok((
            Self {
                certificate: certificate.der().clone(),
                issuer: Issuer::new(params, key),
            },
            text,
        ))
    }

    /// `sha256:` and the SHA-256 of the certificate (DER) in hex.
    pub fn fingerprint(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(&self.certificate)))
    }

    fn issue(&self, subjects: &Subjects, provider: &CryptoProvider) -> Result<Leaf, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(LEAF_TERM);
        params
            .distinguished_name
            .push(DnType::CommonName, "Axion node API");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in &subjects.names {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into()?));
        }
        params
            .subject_alt_names
            .extend(subjects.addresses.iter().copied().map(SanType::IpAddress));
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Leaf {
            certified: Arc::new(CertifiedKey::from_der(chain, key, provider)?),
            subjects: subjects.clone(),
            not_after: params.not_after,
        })
    }
}

struct Leaf {
    certified: Arc<CertifiedKey>,
    subjects: Subjects,
    not_after: OffsetDateTime,
}

/// What the server shows: a leaf of the CA for the host's present names and addresses.
pub struct Identity {
    ca: Ca,
    provider: Arc<CryptoProvider>,
    leaf: RwLock<Leaf>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// An identity of `ca` for `subjects`.
    pub fn new(ca: Ca, subjects: &Subjects) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let leaf = RwLock::new(ca.issue(subjects, &provider)?);
        Ok(Self { ca, provider, leaf })
    }

    /// Fingerprint of the CA.
    pub fn fingerprint(&self) -> String {
        self.ca.fingerprint()
    }

    /// Issues another leaf where the present one is not for `subjects`, or ends soon.
    pub fn update(&self, subjects: &Subjects) -> Result<(), TlsError> {
        let current = {
            let leaf = self.leaf.read().unwrap_or_else(PoisonError::into_inner);
            leaf.subjects == *subjects && now() < leaf.not_after - LEAF_MARGIN
        };
        if !current {
            let leaf = self.ca.issue(subjects, &self.provider)?;
            *self.leaf.write().unwrap_or_else(PoisonError::into_inner) = leaf;
            tracing::info!("issued a TLS certificate for the host's present names and addresses");
        }
        Ok(())
    }

    /// Configuration of a server with this identity.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.leaf
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .certified
                .clone(),
        )
    }
}

#[cfg(test)]
mod tests;

//! Policies that somebody signs: registers may hold whatever the owner of a key vouches for, this image's measurement and the next one's.
//!
//! The form is systemd's, so that its tools make and check it as well (systemd-measure(1), systemd-stub(7)): the public key as PEM
//! (`.pcrpkey` in a UKI), and signatures as JSON (`.pcrsig`). The stub leaves both in the initramfs, [`KEY`] and [`SIGNATURES`].
//!
//! ```text
//!   {"sha256": [{"pcrs": [11], "pkfp": SHA-256 of the key, "pol": digest of PolicyPCR, "sig": RSASSA of that}]}
//! ```
//! What is sealed to such a policy names the key and not the values ([`Signer::policy`]); whoever opens it brings the signature
//! of the values that the registers have (Part 3, 23.16: PolicyAuthorize).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypt::{Digest, sha256};
use crate::pcr::{Pcrs, SHA256};
use crate::tpm::name;
use crate::wire::Writer;

/// Where systemd-stub leaves the key.
pub const KEY: &str = "/.extra/tpm2-pcr-public-key.pem";
/// Where systemd-stub leaves the signatures.
pub const SIGNATURES: &str = "/.extra/tpm2-pcr-signature.json";

/// TPM_CC_PolicyAuthorize, which is part of the policy itself.
pub(crate) const POLICY_AUTHORIZE: u32 = 0x16a;
/// TPM_ALG_RSA.
const RSA: u16 = 0x0001;
/// SubjectPublicKeyInfo (RFC 5280, 4.1) of an RSA key of 2048 bits, up to its modulus.
const BEFORE_MODULUS: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
];
/// And behind it: the exponent, 65537.
const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
/// Bytes of a modulus.
const MODULUS: usize = 256;
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// A policy that is none.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The key.
    #[error(
        "the key of the image's PCR policy is no public RSA key of 2048 bits with the exponent 65537, as PEM"
    )]
    Key,
    /// The signatures.
    #[error("the signatures of the image's PCR policy are not what systemd-measure writes")]
    Signatures(#[from] serde_json::Error),
}

/// Whoever vouches for values of registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

impl Signer {
    /// The one whose public key this PEM is.
    ///
    /// # Errors
    /// It is no RSA key of 2048 bits, the one kind that every TPM knows.
    pub fn from_pem(pem: &str) -> Result<Self, PolicyError> {
        let (_, text) = pem.split_once(BEGIN).ok_or(PolicyError::Key)?;
        let (text, _) = text.split_once(END).ok_or(PolicyError::Key)?;
        let text: String = text.split_ascii_whitespace().collect();
        let spki = BASE64_STANDARD.decode(text).map_err(|_| PolicyError::Key)?;
        Self::from_spki(spki)
    }

    /// The one whose SubjectPublicKeyInfo this is.
    pub(crate) fn from_spki(spki: Vec<u8>) -> Result<Self, PolicyError> {
        let fits = spki.len() == BEFORE_MODULUS.len() + MODULUS + EXPONENT.len()
            && spki.starts_with(&BEFORE_MODULUS)
            && spki.ends_with(&EXPONENT);
        if fits {
            Ok(Self { spki })
        } else {
            Err(PolicyError::Key)
        }
    }

    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the key, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex::encode(sha256(&[&self.spki]))
    }

    /// TPMT_PUBLIC of the key. Its name depends on every bit of this.
    pub(crate) fn public(&self) -> Zeroizing<Vec<u8>> {
        const USER_WITH_AUTH: u32 = 1 << 6;
        const SIGN: u32 = 1 << 18;
        let modulus = self.spki.get(BEFORE_MODULUS.len()..).unwrap_or_default();
        let modulus = modulus.get(..MODULUS).unwrap_or_default();
        Writer::new()
            .u16(RSA)
            .u16(SHA256)
            .u32(USER_WITH_AUTH | SIGN)
            // No policy; it protects nothing; no scheme of its own.
            .sized(&[])
            .u16(0x0010)
            .u16(0x0010)
            // Bits; 0 is the exponent 65537.
            .u16(2048)
            .u32(0)
            .sized(modulus)
            .done()
    }

    pub(crate) fn name(&self) -> Vec<u8> {
        name(&self.public())
    }

    /// The digest of a policy that takes what this one signs (Part 3, 23.16): what `PolicyAuthorize` makes of any.
    pub(crate) fn policy(&self) -> Digest {
        let named = sha256(&[&[0; 32], &POLICY_AUTHORIZE.to_be_bytes(), &self.name()]);
        // No policyRef.
        sha256(&[&named])
    }
}

/// What systemd calls signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    sha256: Vec<Entry>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    pcrs: Pcrs,
    pkfp: String,
    pol: String,
    sig: String,
}

/// What an image brings: a key, and its signatures of what the registers hold once that image is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicy {
    signer: Signer,
    entries: Vec<Entry>,
}

/// A signature for registers as they are.
pub(crate) struct Approval<'p> {
    pub(crate) pcrs: Pcrs,
    /// Of `PolicyPCR`.
    pub(crate) policy: Digest,
    pub(crate) signer: &'p Signer,
    pub(crate) signature: Vec<u8>,
}

impl SignedPolicy {
    /// Of the key as PEM, and the signatures as JSON. Those by other keys are left out.
    ///
    /// # Errors
    /// One of them is not what it should be.
    pub fn parse(key: &str, signatures: &str) -> Result<Self, PolicyError> {
        let signer = Signer::from_pem(key)?;
        let file: File = serde_json::from_str(signatures)?;
        let fingerprint = signer.fingerprint();
        let by_signer = |entry: &Entry| entry.pkfp.eq_ignore_ascii_case(&fingerprint);
        let entries = file.sha256.into_iter().filter(by_signer).collect();
        Ok(Self { signer, entries })
    }

    /// Whose it is.
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The signature that fits, among registers of `wanted`, what `value` says they hold. Whether it is true is for the TPM to say.
    pub(crate) fn approval(
        &self,
        wanted: Pcrs,
        value: impl Fn(u8) -> Option<Digest>,
    ) -> Option<Approval<'_>> {
        self.entries.iter().find_map(|entry| {
            let pcrs = entry.pcrs;
            let covered = !pcrs.is_empty() && pcrs.minus(wanted).is_empty();
            let values: Vec<Digest> = pcrs.iter().map_while(&value).collect();
            if !covered || values.len() != pcrs.iter().count() {
                return None;
            }
            let policy = pcrs.policy(&values);
            let signature = BASE64_STANDARD.decode(&entry.sig).ok()?;
            entry
                .pol
                .eq_ignore_ascii_case(&hex::encode(policy))
                .then_some(Approval {
                    pcrs,
                    policy,
                    signer: &self.signer,
                    signature,
                })
        })
    }
}

/// The text of signatures that stands for one of them: of `policy`, the digest that `PolicyPCR` makes of `pcrs`.
///
/// `signature` is RSASSA (PKCS #1 v1.5) with SHA-256 over the 32 bytes of `policy`.
pub fn signatures(signer: &Signer, pcrs: Pcrs, policy: &[u8; 32], signature: &[u8]) -> String {
    let entry = Entry {
        pcrs,
        pkfp: signer.fingerprint(),
        pol: hex::encode(policy),
        sig: BASE64_STANDARD.encode(signature),
    };
    // It holds nothing that JSON cannot.
    serde_json::to_string(&File { sha256: vec![entry] }).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;

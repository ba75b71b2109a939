//! Hashes and key derivation (Part 1, 11.4.10) with SHA-256, the only hash that is used here.

use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::error::TpmError;

/// Bytes of a digest.
pub(crate) const DIGEST: usize = 32;
/// A digest, or a key as long as one.
pub(crate) type Digest = [u8; DIGEST];

pub(crate) fn sha256(parts: &[&[u8]]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    array(context.finish().as_ref())
}

pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

/// The bytes of a digest; SHA-256 gives no other number of them.
fn array(bytes: &[u8]) -> Digest {
    let mut digest = [0; DIGEST];
    digest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    digest
}

/// KDFa (Part 1, 11.4.10.2): `bytes` of key.
pub(crate) fn kdfa(key: &[u8], label: &str, u: &[u8], v: &[u8], bytes: usize) -> Zeroizing<Vec<u8>> {
    let bits = u32::try_from(bytes * 8).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Zeroizing::new(Vec::with_capacity(bytes + DIGEST));
    for counter in 1_u32.. {
        if out.len() >= bytes {
            break;
        }
        let parts = [&counter.to_be_bytes()[..], label.as_bytes(), &[0], u, v, &bits];
        out.extend_from_slice(&hmac(key, &parts));
    }
    out.truncate(bytes);
    out
}

/// KDFe (Part 1, 11.4.10.3): a key of 256 bits of the shared `z` and the x coordinates of both parties.
pub(crate) fn kdfe(z: &[u8], label: &str, u: &[u8], v: &[u8]) -> Zeroizing<Digest> {
    let parts = [&1_u32.to_be_bytes()[..], z, label.as_bytes(), &[0], u, v];
    Zeroizing::new(sha256(&parts))
}

/// A point on P-256 (SEC 1, 2.3.3): both coordinates, 32 bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) x: Digest,
    pub(crate) y: Digest,
}

impl Point {
    /// Of coordinates that may lack leading zeros.
    pub(crate) fn new(x: &[u8], y: &[u8]) -> Option<Self> {
        let padded = |bytes: &[u8]| {
            let mut whole = [0; DIGEST];
            let start = DIGEST.checked_sub(bytes.len())?;
            whole.get_mut(start..)?.copy_from_slice(bytes);
            Some(whole)
        };
        Some(Self {
            x: padded(x)?,
            y: padded(y)?,
        })
    }

    fn uncompressed(&self) -> Vec<u8> {
        [&[4][..], &self.x, &self.y].concat()
    }
}

/// A salt that only the owner of `theirs` can derive (Part 1, C.6.1), and the point that is sent for it.
pub(crate) fn salt(theirs: &Point) -> Result<(Zeroizing<Digest>, Point), TpmError> {
    let random = |_| TpmError::Random;
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(random)?;
    let public = ours.compute_public_key().map_err(random)?;
    let malformed = TpmError::Malformed {
        command: "CreatePrimary",
    };
    let sent = public
        .as_ref()
        .get(1..)
        .and_then(|both| both.split_at_checked(DIGEST))
        .and_then(|(x, y)| Point::new(x, y))
        .ok_or(TpmError::Random)?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, theirs.uncompressed());
    let derive = |z: &[u8]| kdfe(z, "SECRET", &sent.x, &theirs.x);
    let salt = agree_ephemeral(ours, &peer, derive).map_err(|_| malformed)?;
    Ok((salt, sent))
}

/// Masks or unmasks `data` (Part 1, 11.4.7.3).
pub(crate) fn mask(key: &[u8], newer: &[u8], older: &[u8], data: &mut [u8]) {
    let mask = kdfa(key, "XOR", newer, older, data.len());
    data.iter_mut()
        .zip(mask.iter())
        .for_each(|(byte, mask)| *byte ^= mask);
}

/// A nonce.
pub(crate) fn nonce() -> Result<Digest, TpmError> {
    let mut nonce = [0; DIGEST];
    getrandom::fill(&mut nonce).map_err(|_| TpmError::Random)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests;

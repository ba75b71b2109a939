//! Secrets that the TPM gives back only while registers are as they were.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::command::{Auth, Call};
use crate::error::TpmError;
use crate::pcr::{POLICY_PCR, Pcrs, SHA256};
use crate::session::{DECRYPT, ENCRYPT};
use crate::tpm::{Kind, Primary, Tpm, name};
use crate::wire::{Reader, Writer};

/// Longest secret that a TPM seals, bytes: MAX_SYM_DATA (Part 2, A.4).
pub const LONGEST_SECRET: usize = 128;
/// TPM_RC_POLICY_FAIL.
const POLICY_FAIL: u32 = 0x09d;

/// A secret that is sealed. It is no secret itself: only the TPM that made it can open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Registers that it is bound to.
    pub pcrs: Pcrs,
    /// The values that they had, in their order; what changed can be said by them.
    values: Vec<Bytes>,
    /// TPMT_PUBLIC.
    public: Bytes,
    /// TPM2B_PRIVATE, without its length.
    private: Bytes,
}

/// Bytes, as text in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl Sealed {
    /// Registers that are not as they were when these are their values, in their order.
    pub fn changed(&self, now: &[[u8; 32]]) -> Vec<u8> {
        let differs = |index: usize| {
            let then = self.values.get(index).map(|value| value.0.as_slice());
            then != now.get(index).map(|value| &value[..])
        };
        let pcrs = self.pcrs.iter().enumerate();
        pcrs.filter(|(index, _)| differs(*index))
            .map(|(_, pcr)| pcr)
            .collect()
    }
}

impl Tpm {
    /// Seals a secret to the present values of `pcrs` (Create, 12.1).
    ///
    /// # Errors
    /// It is too long, or the TPM does not do it.
    pub fn seal(&mut self, secret: &[u8], pcrs: Pcrs) -> Result<Sealed, TpmError> {
        if secret.is_empty() || secret.len() > LONGEST_SECRET {
            return Err(TpmError::Secret {
                length: secret.len(),
                most: LONGEST_SECRET,
            });
        }
        let values = self.read(pcrs)?;
        let policy = pcrs.policy(&values);
        let key = self.primary()?;
        let made = self.create(&key, secret, &policy);
        self.flush(key.handle);
        let (private, public) = made?;
        Ok(Sealed {
            pcrs,
            values: values.iter().map(|value| Bytes(value.to_vec())).collect(),
            public: Bytes(public),
            private: Bytes(private),
        })
    }

    fn create(
        &mut self,
        key: &Primary,
        secret: &[u8],
        policy: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let command = "Create";
        let sensitive = Writer::new().sized(&[]).sized(secret).done();
        let parameters = Writer::new()
            .sized(&sensitive)
            .sized(&sealed_object(policy))
            .sized(&[])
            .u32(0)
            .done();
        let mut session = self.session(key, Kind::Hmac, DECRYPT)?;
        let call = Call {
            name: command,
            code: 0x153,
            handles: &[key.handle],
            parameters,
            answers_handle: false,
        };
        let answer = self.call(call, Auth::Session(&mut session, &[&key.name]));
        if answer.is_err() {
            self.flush(session.handle);
        }
        let answer = answer?;
        let mut reader = Reader::new(&answer.parameters);
        let mut both = || Some((reader.sized()?.to_vec(), reader.sized()?.to_vec()));
        both().ok_or(TpmError::Malformed { command })
    }

    /// Gives back what was sealed (Unseal, 12.7).
    ///
    /// # Errors
    /// [`TpmError::Changed`] where registers are not as they were; it was sealed by another TPM; or the TPM does not answer.
    pub fn unseal(&mut self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let changed = sealed.changed(&self.read(sealed.pcrs)?);
        if !changed.is_empty() {
            return Err(TpmError::Changed { changed });
        }
        let key = self.primary()?;
        let secret = self.load_and_unseal(&key, sealed);
        self.flush(key.handle);
        secret.map_err(|error| match error {
            // Between the look at the registers and the policy.
            TpmError::Refused {
                code: POLICY_FAIL, ..
            } => TpmError::Changed {
                changed: sealed.pcrs.into(),
            },
            error => error,
        })
    }

    fn load_and_unseal(&mut self, key: &Primary, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let load = Call {
            name: "Load",
            code: 0x157,
            handles: &[key.handle],
            parameters: Writer::new()
                .sized(&sealed.private.0)
                .sized(&sealed.public.0)
                .done(),
            answers_handle: true,
        };
        let object = self.call(load, Auth::Password)?.handle;
        let secret = self.release(key, object, sealed);
        self.flush(object);
        secret
    }

    fn release(
        &mut self,
        key: &Primary,
        object: u32,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let command = "Unseal";
        let mut session = self.session(key, Kind::Policy, ENCRYPT)?;
        let policy = Call {
            name: "PolicyPCR",
            code: POLICY_PCR,
            handles: &[session.handle],
            // Whatever the registers hold now: the object says what they should.
            parameters: Writer::new().sized(&[]).bytes(&sealed.pcrs.selection()).done(),
            answers_handle: false,
        };
        let unseal = Call {
            name: command,
            code: 0x15e,
            handles: &[object],
            parameters: Writer::new().done(),
            answers_handle: false,
        };
        let name = name(&sealed.public.0);
        let answer = self
            .call(policy, Auth::None)
            .and_then(|_| self.call(unseal, Auth::Session(&mut session, &[&name])));
        if answer.is_err() {
            self.flush(session.handle);
        }
        let answer = answer?;
        let secret = Reader::new(&answer.parameters).sized();
        let secret = secret.ok_or(TpmError::Malformed { command })?;
        Ok(Zeroizing::new(secret.to_vec()))
    }
}

/// TPMT_PUBLIC of a sealed secret: it is given to whoever meets `policy`, and to nobody by a password.
fn sealed_object(policy: &[u8]) -> Zeroizing<Vec<u8>> {
    const FIXED_TPM: u32 = 1 << 1;
    const FIXED_PARENT: u32 = 1 << 4;
    const NO_DA: u32 = 1 << 10;
    Writer::new()
        // TPM_ALG_KEYEDHASH.
        .u16(0x0008)
        .u16(SHA256)
        .u32(FIXED_TPM | FIXED_PARENT | NO_DA)
        .sized(policy)
        // No scheme, nothing unique of ours.
        .u16(0x0010)
        .sized(&[])
        .done()
}

#[cfg(test)]
mod tests;

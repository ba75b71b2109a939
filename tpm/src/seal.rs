//! Secrets that the TPM gives back only while registers are as they were, or as somebody vouches for ([`crate::policy`]).

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::command::{Auth, Call};
use crate::crypt::{Digest, sha256};
use crate::error::TpmError;
use crate::pcr::{POLICY_PCR, Pcrs, SHA256};
use crate::policy::{Approval, POLICY_AUTHORIZE, SignedPolicy};
use crate::session::{DECRYPT, ENCRYPT, Session};
use crate::tpm::{Kind, OWNER, Primary, Tpm, name};
use crate::wire::{Reader, Writer};

/// Longest secret that a TPM seals, bytes: MAX_SYM_DATA (Part 2, A.4).
pub const LONGEST_SECRET: usize = 128;
/// TPM_RC_POLICY_FAIL.
const POLICY_FAIL: u32 = 0x09d;
/// TPM_RC_VALUE: what `PolicyAuthorize` answers where registers are not what was signed.
const VALUE: u32 = 0x084;
const AUTHORIZE: &str = "PolicyAuthorize";

/// A secret that is sealed. It is no secret itself: only the TPM that made it can open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Registers that it is bound to by their values.
    pub pcrs: Pcrs,
    /// The values that they had, in their order; what changed can be said by them.
    values: Vec<Bytes>,
    /// Registers that it is bound to by whoever signs what they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<Signed>,
    /// TPMT_PUBLIC.
    public: Bytes,
    /// TPM2B_PRIVATE, without its length.
    private: Bytes,
}

/// Registers that may hold what somebody signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    pcrs: Pcrs,
    /// SubjectPublicKeyInfo.
    key: Bytes,
}

/// Registers and what they hold, as the TPM was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<u8, Digest>);

impl Values {
    fn get(&self, pcr: u8) -> Option<Digest> {
        self.0.get(&pcr).copied()
    }

    fn of(&self, pcrs: Pcrs) -> Vec<Digest> {
        pcrs.iter().filter_map(|pcr| self.get(pcr)).collect()
    }
}

impl FromIterator<(u8, [u8; 32])> for Values {
    fn from_iter<I: IntoIterator<Item = (u8, [u8; 32])>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What a verified signature is shown to `PolicyAuthorize` with.
struct Ticket<'p> {
    approval: Approval<'p>,
    /// TPMT_TK_VERIFIED.
    bytes: Vec<u8>,
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
    /// Every register that it is bound to, in the one way or the other.
    pub fn registers(&self) -> Pcrs {
        let signed = self.signed.as_ref().map(|signed| signed.pcrs);
        self.pcrs.and(signed.unwrap_or_default())
    }

    /// Registers that may hold what a key signs.
    pub fn signed_registers(&self) -> Pcrs {
        self.signed.as_ref().map(|signed| signed.pcrs).unwrap_or_default()
    }

    /// Registers for whose present values it is not opened, when these are they, and `image` is what the running image brings.
    pub fn changed(&self, now: &Values, image: Option<&SignedPolicy>) -> Vec<u8> {
        let pcrs = self.pcrs.iter().zip(&self.values);
        let differs = |pcr, then: &Bytes| now.get(pcr).is_none_or(|now| now != *then.0);
        let mut changed: Vec<u8> = pcrs
            .filter(|(pcr, then)| differs(*pcr, then))
            .map(|(pcr, _)| pcr)
            .collect();
        if self.signed.is_some() && self.approval(now, image).is_none() {
            changed.extend(self.signed_registers().iter());
        }
        changed.sort_unstable();
        changed
    }

    /// The signature in `image`, by the key that it is bound to, for what its registers hold.
    fn approval<'p>(&self, now: &Values, image: Option<&'p SignedPolicy>) -> Option<Approval<'p>> {
        let signed = self.signed.as_ref()?;
        let image = image.filter(|image| image.signer().spki() == signed.key.0)?;
        let found = image.approval(signed.pcrs, |pcr| now.get(pcr))?;
        (found.pcrs == signed.pcrs).then_some(found)
    }
}

impl Tpm {
    /// Values of registers (PCR_Read, 22.4).
    ///
    /// # Errors
    /// It does not answer, or has no such bank.
    pub fn values(&mut self, pcrs: Pcrs) -> Result<Values, TpmError> {
        let values = self.read(pcrs)?;
        Ok(pcrs.iter().zip(values).collect())
    }

    /// Seals a secret to the present values of `pcrs` (Create, 12.1). Where `image` has a signature for some of them, it is
    /// bound to the key of that signature instead: another image whose registers the same key vouches for opens it as well.
    ///
    /// # Errors
    /// It is too long, or the TPM does not do it.
    pub fn seal(
        &mut self,
        secret: &[u8],
        pcrs: Pcrs,
        image: Option<&SignedPolicy>,
    ) -> Result<Sealed, TpmError> {
        if secret.is_empty() || secret.len() > LONGEST_SECRET {
            return Err(TpmError::Secret {
                length: secret.len(),
                most: LONGEST_SECRET,
            });
        }
        let now = self.values(pcrs)?;
        let approval = image.and_then(|image| image.approval(pcrs, |pcr| now.get(pcr)));
        // What is sealed to a signature that the TPM does not take would never be opened: then the values it is.
        let ticket = approval.and_then(|approval| self.verify(approval).ok());
        let before = ticket
            .as_ref()
            .map_or([0; 32], |ticket| ticket.approval.signer.policy());
        let signed = ticket.map(|ticket| Signed {
            pcrs: ticket.approval.pcrs,
            key: Bytes(ticket.approval.signer.spki().to_vec()),
        });
        let pcrs = pcrs.minus(signed.as_ref().map(|signed| signed.pcrs).unwrap_or_default());
        let values = now.of(pcrs);
        let policy = if pcrs.is_empty() && signed.is_some() {
            before
        } else {
            pcrs.policy_after(&before, &values)
        };
        let key = self.primary()?;
        let made = self.create(&key, secret, &policy);
        self.flush(key.handle);
        let (private, public) = made?;
        Ok(Sealed {
            pcrs,
            values: values.iter().map(|value| Bytes(value.to_vec())).collect(),
            signed,
            public: Bytes(public),
            private: Bytes(private),
        })
    }

    /// Has a signature verified (LoadExternal, 12.3; VerifySignature, 20.1).
    fn verify<'p>(&mut self, approval: Approval<'p>) -> Result<Ticket<'p>, TpmError> {
        let load = Call {
            name: "LoadExternal",
            code: 0x167,
            handles: &[],
            parameters: Writer::new()
                // No private part. A ticket of the null hierarchy would authorize nothing.
                .sized(&[])
                .sized(&approval.signer.public())
                .u32(OWNER)
                .done(),
            answers_handle: true,
        };
        let key = self.call(load, Auth::None)?.handle;
        let verify = Call {
            name: "VerifySignature",
            code: 0x177,
            handles: &[key],
            parameters: Writer::new()
                // aHash: of the policy and of no policyRef.
                .sized(&sha256(&[&approval.policy]))
                // TPM_ALG_RSASSA.
                .u16(0x0014)
                .u16(SHA256)
                .sized(&approval.signature)
                .done(),
            answers_handle: false,
        };
        let answer = self.call(verify, Auth::None);
        self.flush(key);
        Ok(Ticket {
            approval,
            bytes: answer?.parameters.to_vec(),
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

    /// Gives back what was sealed (Unseal, 12.7). `image` is what the running image brings.
    ///
    /// # Errors
    /// [`TpmError::Changed`] where registers are not as they were, and nobody vouches for what they are; it was sealed by another
    /// TPM; or the TPM does not answer.
    pub fn unseal(
        &mut self,
        sealed: &Sealed,
        image: Option<&SignedPolicy>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let now = self.values(sealed.registers())?;
        let changed = sealed.changed(&now, image);
        if !changed.is_empty() {
            return Err(TpmError::Changed { changed });
        }
        let approval = sealed.approval(&now, image);
        let ticket = approval.map(|approval| self.verify(approval)).transpose()?;
        let key = self.primary()?;
        let secret = self.load_and_unseal(&key, sealed, ticket.as_ref());
        self.flush(key.handle);
        secret.map_err(|error| match error {
            // Between the look at the registers and the policy.
            TpmError::Refused {
                code: POLICY_FAIL, ..
            }
            | TpmError::Refused {
                command: AUTHORIZE,
                code: VALUE,
            } => TpmError::Changed {
                changed: sealed.registers().into(),
            },
            error => error,
        })
    }

    fn load_and_unseal(
        &mut self,
        key: &Primary,
        sealed: &Sealed,
        ticket: Option<&Ticket<'_>>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
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
        let secret = self.release(key, object, sealed, ticket);
        self.flush(object);
        secret
    }

    fn release(
        &mut self,
        key: &Primary,
        object: u32,
        sealed: &Sealed,
        ticket: Option<&Ticket<'_>>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let command = "Unseal";
        let mut session = self.session(key, Kind::Policy, ENCRYPT)?;
        let unseal = Call {
            name: command,
            code: 0x15e,
            handles: &[object],
            parameters: Writer::new().done(),
            answers_handle: false,
        };
        let name = name(&sealed.public.0);
        let answer = self
            .meet(&session, sealed, ticket)
            .and_then(|()| self.call(unseal, Auth::Session(&mut session, &[&name])));
        if answer.is_err() {
            self.flush(session.handle);
        }
        let answer = answer?;
        let secret = Reader::new(&answer.parameters).sized();
        let secret = secret.ok_or(TpmError::Malformed { command })?;
        Ok(Zeroizing::new(secret.to_vec()))
    }

    /// Shows the TPM, within a session, that the policy of `sealed` is met.
    fn meet(
        &mut self,
        session: &Session,
        sealed: &Sealed,
        ticket: Option<&Ticket<'_>>,
    ) -> Result<(), TpmError> {
        if let Some(Ticket { approval, bytes }) = ticket {
            self.policy_pcr(session, approval.pcrs)?;
            let authorize = Call {
                name: AUTHORIZE,
                code: POLICY_AUTHORIZE,
                handles: &[session.handle],
                parameters: Writer::new()
                    .sized(&approval.policy)
                    // No policyRef.
                    .sized(&[])
                    .sized(&approval.signer.name())
                    .bytes(bytes)
                    .done(),
                answers_handle: false,
            };
            self.call(authorize, Auth::None)?;
            if sealed.pcrs.is_empty() {
                return Ok(());
            }
        }
        self.policy_pcr(session, sealed.pcrs)
    }

    fn policy_pcr(&mut self, session: &Session, pcrs: Pcrs) -> Result<(), TpmError> {
        let policy = Call {
            name: "PolicyPCR",
            code: POLICY_PCR,
            handles: &[session.handle],
            // Whatever the registers hold now: the object says what they should.
            parameters: Writer::new().sized(&[]).bytes(&pcrs.selection()).done(),
            answers_handle: false,
        };
        self.call(policy, Auth::None).map(drop)
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

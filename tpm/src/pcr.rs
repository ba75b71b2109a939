//! Platform configuration registers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypt::{Digest, sha256};
use crate::wire::Writer;

/// TPM_ALG_SHA256.
pub(crate) const SHA256: u16 = 0x000b;
/// TPM_CC_PolicyPCR, which is part of the policy itself.
pub(crate) const POLICY_PCR: u32 = 0x17f;
/// Registers of a PC (TCG PC Client Platform TPM Profile, 4.6): 0 to 23.
const LAST: u8 = 23;

/// A set of registers, in their SHA-256 bank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Pcrs(u32);

/// A register that no PC has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PCR {0} does not exist; allowed are 0 to {LAST}")]
pub struct PcrsError(pub u8);

impl Pcrs {
    /// Every one that a PC has.
    pub const ALL: Self = Self(0xff_ffff);

    /// These, lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..=LAST).filter(move |pcr| self.0 >> pcr & 1 == 1)
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These, and those.
    #[must_use]
    pub const fn and(self, those: Self) -> Self {
        Self(self.0 | those.0)
    }

    /// These without those.
    #[must_use]
    pub const fn minus(self, those: Self) -> Self {
        Self(self.0 & !those.0)
    }

    /// TPML_PCR_SELECTION with the one bank (Part 2, 10.9.7).
    pub(crate) fn selection(self) -> Vec<u8> {
        let [a, b, c, _] = self.0.to_le_bytes();
        let one = Writer::new().u32(1).u16(SHA256).u8(3).bytes(&[a, b, c]);
        one.done().to_vec()
    }

    /// The digest of a policy that asks for these registers to have these values (Part 3, 23.7): what `PolicyPCR` makes of an
    /// empty one.
    pub fn policy(self, values: &[[u8; 32]]) -> [u8; 32] {
        self.policy_after(&[0; 32], values)
    }

    /// What `PolicyPCR` makes of the policy `before`.
    pub(crate) fn policy_after(self, before: &Digest, values: &[Digest]) -> Digest {
        let values: Vec<&[u8]> = values.iter().map(|value| &value[..]).collect();
        let values = sha256(&values);
        sha256(&[before, &POLICY_PCR.to_be_bytes(), &self.selection(), &values])
    }
}

impl FromIterator<u8> for Pcrs {
    /// What is no register is left out.
    fn from_iter<I: IntoIterator<Item = u8>>(pcrs: I) -> Self {
        let known = pcrs.into_iter().filter(|pcr| *pcr <= LAST);
        Self(known.fold(0, |set, pcr| set | 1 << pcr))
    }
}

impl TryFrom<Vec<u8>> for Pcrs {
    type Error = PcrsError;

    fn try_from(pcrs: Vec<u8>) -> Result<Self, PcrsError> {
        match pcrs.iter().find(|pcr| **pcr > LAST) {
            Some(unknown) => Err(PcrsError(*unknown)),
            None => Ok(pcrs.into_iter().collect()),
        }
    }
}

impl From<Pcrs> for Vec<u8> {
    fn from(pcrs: Pcrs) -> Self {
        pcrs.iter().collect()
    }
}

impl fmt::Display for Pcrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pcr) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            pcr.fmt(f)?;
        }
        Ok(())
    }
}

/// What a register becomes when the SHA-256 of `event` is added to `value` (Part 1, 11.4.5.4).
pub fn extended(value: &[u8; 32], event: &[u8]) -> [u8; 32] {
    sha256(&[value, &sha256(&[event])])
}

#[cfg(test)]
mod tests;

//! Ethernet addresses: how they are written, and those that Axion makes itself.
//!
//! An address that Axion makes is locally administered (IEEE 802c) and follows from the machine and from what it is for, so
//! that a guest keeps its address, its lease and its name over reboots, and two machines do not make the same one.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// An address that one interface may have: neither a group's nor zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Text that is no [`Mac`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no MAC address of one interface, as in `02:00:00:00:00:01`", .0.escape_debug())]
pub struct MacError(String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let bad = || MacError(text.chars().take(40).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let digits = parts.next().filter(|digits| digits.len() == 2).ok_or_else(bad)?;
            // `from_str_radix` takes a sign.
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| hex)
                .ok_or_else(bad)?;
        }
        let [first, ..] = bytes;
        if parts.next().is_some() || first & 1 == 1 || bytes == [0; 6] {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

impl Mac {
    /// The address for `purpose` on the machine `machine_id`: the first 48 bits of a SHA-256, made local and one
    /// interface's.
    pub fn made(machine_id: &str, purpose: &str) -> Self {
        let digest = Sha256::digest(format!("axion mac\n{machine_id}\n{purpose}"));
        let mut bytes = [0; 6];
        bytes
            .iter_mut()
            .zip(digest.iter())
            .for_each(|(to, from)| *to = *from);
        let [first, ..] = &mut bytes;
        *first = *first & 0xfc | 0x02;
        Self(bytes)
    }
}

#[cfg(test)]
mod tests;

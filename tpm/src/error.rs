//! Why the TPM did not do something.

use std::io;

/// Why the TPM did not do something.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is none.
    #[error("this machine has no TPM 2.0, or its firmware hides it")]
    Absent,
    /// The device.
    #[error("cannot {action} the TPM")]
    Device {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It answered with an error.
    #[error("the TPM refuses {command}: {}", meaning(*.code))]
    Refused {
        /// The command.
        command: &'static str,
        /// TPM_RC (Part 2, 6.6).
        code: u32,
    },
    /// Its answer is not what the command's is.
    #[error("the TPM's answer to {command} is malformed")]
    Malformed {
        /// The command.
        command: &'static str,
    },
    /// Its answer is not authentic.
    #[error("the answer to {command} is not the TPM's: its HMAC is wrong")]
    Forged {
        /// The command.
        command: &'static str,
    },
    /// It keeps no SHA-256 digests of these registers.
    #[error("the TPM has no SHA-256 bank of PCR {pcr}; switch it on in the firmware's setup")]
    NoBank {
        /// The register.
        pcr: u8,
    },
    /// The secret does not fit.
    #[error("{length} bytes are to be sealed; a TPM takes 1 to {most}")]
    Secret {
        /// Its length.
        length: usize,
        /// Most that fits.
        most: usize,
    },
    /// Registers are not as they were.
    #[error("PCR {} changed since the key was sealed", changed.iter().map(u8::to_string).collect::<Vec<_>>().join(", "))]
    Changed {
        /// Which.
        changed: Vec<u8>,
    },
    /// No random numbers can be had.
    #[error("the kernel has no random numbers")]
    Random,
}

impl TpmError {
    /// Whether the TPM works, and what is measured is not what it was.
    pub const fn is_drift(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }
}

/// Response codes that an operator may see (Part 2, 6.6.3), without what says which handle, session or parameter it is about.
const MEANINGS: [(u32, &str); 12] = [
    (0x084, "a value is not allowed (TPM_RC_VALUE)"),
    (0x08b, "the handle is not known (TPM_RC_HANDLE)"),
    (
        0x08e,
        "the authorization is wrong (TPM_RC_AUTH_FAIL): its owner hierarchy has a password",
    ),
    (
        0x09b,
        "a signature is not by the key that it should be by (TPM_RC_SIGNATURE)",
    ),
    (0x09d, "a policy is not met (TPM_RC_POLICY_FAIL)"),
    (
        0x09f,
        "what was sealed is not this TPM's, or the TPM was cleared since (TPM_RC_INTEGRITY)",
    ),
    (
        0x0a2,
        "the authorization is wrong (TPM_RC_BAD_AUTH): its owner hierarchy has a password",
    ),
    (0x100, "it was not started by the firmware (TPM_RC_INITIALIZE)"),
    (0x101, "it is in failure mode (TPM_RC_FAILURE)"),
    (0x120, "its hierarchy is disabled (TPM_RC_DISABLED)"),
    (
        0x921,
        "it is locked out after wrong authorizations (TPM_RC_LOCKOUT)",
    ),
    (0x922, "it is busy (TPM_RC_RETRY)"),
];

/// A code of format one says in further bits which handle, session or parameter it is about.
pub(crate) const fn base(code: u32) -> u32 {
    if code & 0x80 != 0 { code & 0xbf } else { code }
}

fn meaning(code: u32) -> String {
    let known = MEANINGS.iter().find(|(known, _)| *known == base(code));
    known.map_or_else(|| format!("TPM_RC {code:#x}"), |(_, text)| (*text).to_owned())
}

#[cfg(test)]
mod tests;

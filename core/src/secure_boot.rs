//! Secure Boot: whether firmware checks what it starts, and whether the kernel keeps to it.
//!
//! Firmware's word is in two variables (UEFI 2.10 §3.3). Before efivarfs is mounted, the kernel's own note of them is read: its
//! EFI stub asks firmware once and leaves the answer in the boot parameters, which a kexec hands on.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::profile::{Item, ItemState};

/// Where efivarfs is mounted.
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// GUID of firmware's own variables, `EFI_GLOBAL_VARIABLE`.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// What firmware starts: the list `db`, under `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const ALLOWED: &str = "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// Bytes of a variable's attributes, before its content.
const ATTRIBUTES: usize = 4;
const BOOT_PARAMETERS: &str = "sys/kernel/boot_params/data";
/// Offset of `secure_boot` in the boot parameters (arch/x86/include/uapi/asm/bootparam.h).
const IN_BOOT_PARAMETERS: usize = 0x1ec;
/// `efi_secureboot_mode_enabled` (include/linux/efi.h).
const ENABLED: u8 = 3;
/// The kernel's levels of lockdown; the one in force is in brackets.
pub const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// What firmware does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SecureBootState {
    /// It is no UEFI.
    #[default]
    Unsupported,
    /// It starts anything.
    Off,
    /// It starts anything, and takes the first keys that it is given.
    Setup,
    /// It starts what is signed with a key that it knows.
    On,
}

/// What the kernel keeps root from (kernel_lockdown(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lockdown {
    /// Nothing.
    #[default]
    None,
    /// Changing the kernel: modules and kernels that are not signed, memory, registers.
    Integrity,
    /// Reading the kernel's memory as well.
    Confidentiality,
}

/// Secure Boot of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SecureBoot {
    /// Firmware.
    pub state: SecureBootState,
    /// The kernel.
    pub lockdown: Lockdown,
}

impl SecureBoot {
    /// Reads it below `root`.
    pub fn read(root: &Path) -> Self {
        Self {
            state: state(root),
            lockdown: lockdown(root),
        }
    }

    /// The list of what firmware starts, below `root`: signature lists (UEFI 2.10 §32.4.1); empty where it cannot be read.
    pub fn allowed(root: &Path) -> Vec<u8> {
        let content = std::fs::read(root.join(VARIABLES).join(ALLOWED)).unwrap_or_default();
        content.get(ATTRIBUTES..).unwrap_or_default().to_vec()
    }

    /// Whether firmware checks what it starts.
    pub fn is_on(self) -> bool {
        self.state == SecureBootState::On
    }

    /// As an item of an attestation: what Secure Boot promises, the kernel has to keep. `None`: nothing is promised.
    pub fn attested(self) -> Option<Item> {
        let kept = self.lockdown != Lockdown::None;
        self.is_on().then(|| Item {
            key: "secure-boot".to_owned(),
            desired: format!("on, kernel lockdown {}", Lockdown::Integrity),
            effective: self.to_string(),
            state: if kept {
                ItemState::Ok
            } else {
                ItemState::NeedsReboot
            },
            fix: (!kept).then(|| "boot an image that brings its signatures (docs/secure-boot.md)".to_owned()),
        })
    }
}

impl fmt::Display for Lockdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        })
    }
}

impl fmt::Display for SecureBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            SecureBootState::Unsupported => f.write_str("none: not started by UEFI"),
            SecureBootState::Off => f.write_str("off"),
            SecureBootState::Setup => f.write_str("off: firmware is in setup mode and takes keys"),
            SecureBootState::On => write!(f, "on, kernel lockdown {}", self.lockdown),
        }
    }
}

fn state(root: &Path) -> SecureBootState {
    if !root.join("sys/firmware/efi").exists() {
        return SecureBootState::Unsupported;
    }
    let enabled = flag(root, "SecureBoot").unwrap_or_else(|| noted(root));
    match (enabled, flag(root, "SetupMode")) {
        (_, Some(true)) => SecureBootState::Setup,
        (true, _) => SecureBootState::On,
        (false, _) => SecureBootState::Off,
    }
}

/// A variable of one byte.
fn flag(root: &Path, name: &str) -> Option<bool> {
    let content = std::fs::read(root.join(VARIABLES).join(format!("{name}-{GLOBAL}"))).ok()?;
    content.get(ATTRIBUTES).map(|byte| *byte == 1)
}

/// What the kernel has noted.
fn noted(root: &Path) -> bool {
    let parameters = std::fs::read(root.join(BOOT_PARAMETERS)).unwrap_or_default();
    parameters.get(IN_BOOT_PARAMETERS) == Some(&ENABLED)
}

fn lockdown(root: &Path) -> Lockdown {
    let text = std::fs::read_to_string(root.join(LOCKDOWN.trim_start_matches('/'))).unwrap_or_default();
    let in_force = |level: Lockdown| text.contains(&format!("[{level}]"));
    [Lockdown::Integrity, Lockdown::Confidentiality]
        .into_iter()
        .find(|level| in_force(*level))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;

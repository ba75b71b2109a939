//! What helps when a node is in trouble: its last crash, what it misses, and all that is known of it in one file.

pub mod archive;
mod bundle;
mod call;
mod reset;

use serde::{Deserialize, Serialize};

pub use self::bundle::{MANIFEST, Manifest, Part, PartState};
pub use self::call::{Answer, Call, InstalledSlot, Stick};
pub use self::reset::{ResetOrder, ResetPlan, ResetRequest, ResetScope};

/// How a kernel ended unexpectedly, as the machine's firmware or memory kept it (pstore).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CrashSummary {
    /// When, seconds since 1970 by the clock of that boot.
    pub unix_s: u64,
    /// What the kernel calls it: `Panic`, `Oops`.
    pub reason: String,
    /// The line of its log that says why.
    pub headline: String,
    /// Who kept it: `efi_pstore`, `erst`, `ramoops`.
    pub backend: String,
}

/// A crash with the end of that kernel's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Crash {
    /// What it was.
    #[serde(flatten)]
    pub summary: CrashSummary,
    /// The end of the log, at most 64 KiB, the oldest line first.
    pub log: String,
}

/// Firmware that a driver asked for and did not get.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct MissingFirmware {
    /// Who asked: driver and device, `r8169 0000:03:00.0`.
    pub device: String,
    /// The file below `/lib/firmware`.
    pub file: String,
}

/// Something to know that needs no answer from anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type), zvariant(signature = "s"))]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// The kernel before this one ended unexpectedly.
    Crash,
    /// A driver asked for firmware that the image does not have.
    Firmware,
    /// An update was staged, confirmed or given up.
    Update,
    /// A rescue shell was opened on a console, or closed.
    Rescue,
    /// The machine config on the node's disk was replaced, or has what this version does not know.
    Config,
    /// The other system disk is not what it should be, or is again.
    Mirror,
}

//! VMMs side by side: the same guests under each of them, in turns, on one host.
//!
//! ```text
//! cargo xtask bench vmm
//!   └─ emulated host: the image's kernel and root, with axion-bench-host as init        (`bin/host.rs`)
//!        └─ each VMM in turn, a plain process
//!             └─ guest: the image's guest kernel, with axion-bench-guest as init        (`bin/guest.rs`)
//! ```
//!
//! The host prints one [`Sample`] a line behind [`SAMPLE`]. A round starts every VMM once for every [`Job`], so that a
//! computer that slows down slows them all down.
//!
//! | module      | what it holds                                              |
//! |-------------|------------------------------------------------------------|
//! | [`vmm`]     | how each VMM is started                                    |
//! | [`run`]     | a VMM at work: its console, its memory                     |
//! | [`kernel`]  | a guest kernel of ten instructions                         |
//! | [`disk`]    | random reads in the guest                                  |
//! | [`net`]     | addresses and tap devices; round trips                     |
//!
//! `unsafe` is confined to `disk::ring` and `net::interface`.

pub mod disk;
pub mod kernel;
pub mod net;
pub mod run;
pub mod vmm;

use serde::{Deserialize, Serialize};

/// What the host is to do ([`PLAN`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Rounds.
    pub rounds: u32,
    /// Who takes part, in this order.
    pub vmms: Vec<vmm::Vmm>,
}

/// What a guest is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// To print one byte.
    Byte,
    /// To get to user space, and sleep there.
    Idle,
    /// To read from its disk.
    Disk,
    /// To exchange packets with the host.
    Net,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// From the process's start to the first byte of a kernel of ten instructions, µs.
    FirstByte,
    /// From the process's start to the first line of the guest's init, µs.
    Userspace,
    /// Resident memory of the process without the guest's, bytes.
    Overhead,
    /// Of that what no other process can share, bytes.
    OverheadAnonymous,
    /// Random reads of 4 KiB a second, one at a time.
    Reads1,
    /// Median latency of these, ns.
    ReadLatency1,
    /// Random reads of 4 KiB a second, 32 at a time.
    Reads32,
    /// Median latency of these, ns.
    ReadLatency32,
    /// Median round trip of a packet to the host, ns.
    RoundTrip,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Of whom.
    pub vmm: vmm::Vmm,
    /// Of what.
    pub figure: Figure,
    /// The value, in the figure's unit.
    pub value: f64,
}

/// What a guest prints of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Of what.
    pub figure: Figure,
    /// The value, in the figure's unit.
    pub value: f64,
}

/// Directory of everything below on the host.
pub const DIRECTORY: &str = "/bench";
/// The [`Plan`], JSON.
pub const PLAN: &str = "/bench/plan.json";
/// Initramfs of the guests.
pub const INITRD: &str = "/bench/guest.cpio";
/// The kernel that prints one byte.
pub const BYTE_KERNEL: &str = "/bench/byte.elf";
/// The guests' kernel, that of the image.
pub const KERNEL: &str = "/usr/share/axion/guest/vmlinux";
/// The file that is the guests' disk; in memory, so that nothing but the VMM takes time.
pub const DISK: &str = "/run/disk.img";
/// Bytes of it.
pub const DISK_SIZE: u64 = 256 << 20;

/// Memory of each guest, MiB.
pub const GUEST_MIB: u64 = 128;

/// Before a [`Sample`] in the host's log.
pub const SAMPLE: &str = "bench sample: ";
/// What the host says of a VMM that does not do a job.
pub const MISSED: &str = "bench missed: ";
/// What the host says at the end.
pub const END: &str = "bench end";
/// What the guest's init says first.
pub const USERSPACE: &str = "bench userspace";
/// Before a [`Measured`] on the guest's console.
pub const MEASURED: &str = "bench measured: ";
/// What the guest says when it has done its job.
pub const DONE: &str = "bench done";
/// Before the [`Job`] on the guest's command line.
pub const JOB: &str = "bench.job=";

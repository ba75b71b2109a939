//! What a VM's name and spec may be. Pure: the host's limits are given.

pub mod devices;

use axion_api::problem::{Kind, Problem};
use axion_api::vm::{HugepageSize, ImageRef, VmSpec};
use axion_core::quantity::ByteSize;
use axion_core::topology::Topology;

use crate::images::Digest;

const MIB: u64 = 1 << 20;
/// Least guest memory, bytes.
const LEAST_MEMORY: u64 = 32 * MIB;
/// Longest appended kernel command line: the kernel takes 2047 bytes (COMMAND_LINE_SIZE on x86), ours included.
const LONGEST_CMDLINE: usize = 1800;
/// Longest VM name.
const LONGEST_NAME: usize = 40;

/// What the host can give to one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// vCPUs: as many as the host has CPUs, KVM's recommended limit (KVM_CAP_NR_VCPUS).
    pub cpus: u32,
    /// Ordinary memory, bytes.
    pub memory: u64,
    /// 2 MiB hugepages, bytes.
    pub two_mib: u64,
    /// 1 GiB hugepages, bytes.
    pub one_gib: u64,
}

impl Limits {
    /// What the host has in all.
    pub fn total(topology: &Topology, memory: u64) -> Self {
        Self::of(topology, memory, |pool| pool.total)
    }

    /// What the host has left.
    pub fn free(topology: &Topology, available: u64) -> Self {
        Self::of(topology, available, |pool| pool.free)
    }

    fn of(topology: &Topology, memory: u64, pages: fn(&axion_core::topology::Hugepages) -> u64) -> Self {
        let pool = |page_size: u64| {
            let pools = topology.nodes.iter().flat_map(|node| &node.hugepages);
            pools
                .filter(|pool| pool.page_size == page_size)
                .map(|pool| pages(pool).saturating_mul(page_size))
                .fold(0, u64::saturating_add)
        };
        let online = topology.cpus.iter().filter(|cpu| cpu.online).count();
        Self {
            cpus: u32::try_from(online).unwrap_or(u32::MAX).max(1),
            memory,
            two_mib: pool(2 * MIB),
            one_gib: pool(1024 * MIB),
        }
    }

    /// What there is of what would back the memory of `spec`, bytes, and its name.
    fn backing(&self, spec: &VmSpec) -> (u64, &'static str) {
        match spec.hugepages {
            HugepageSize::None => (self.memory, "memory"),
            HugepageSize::TwoMiB => (self.two_mib, "hugepages of 2 MiB"),
            HugepageSize::OneGiB => (self.one_gib, "hugepages of 1 GiB"),
        }
    }
}

fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Invalid, detail).at(pointer)
}

/// Checks the name of a VM.
pub fn name(name: &str) -> Result<(), Problem> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(letters);
    if good {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Invalid,
        format!(
            "`{}` is not a VM name; allowed are 1 to {LONGEST_NAME} of a-z, 0-9 and `-`, starting with a letter",
            name.escape_debug()
        ),
    ))
}

/// Checks a spec against what the host has in all.
pub fn spec(spec: &VmSpec, limits: &Limits) -> Result<(), Problem> {
    if spec.cpus == 0 || spec.cpus > limits.cpus {
        return Err(invalid(
            "/cpus",
            format!(
                "{} vCPUs; allowed are 1 to {}, the CPUs of this host",
                spec.cpus, limits.cpus
            ),
        ));
    }
    memory(spec, limits)?;
    image("/boot/kernel", &spec.boot.kernel, false)?;
    image("/boot/initrd", &spec.boot.initrd, true)?;
    let cmdline = &spec.boot.cmdline;
    if cmdline.len() > LONGEST_CMDLINE {
        let detail = format!("{} bytes; allowed are at most {LONGEST_CMDLINE}", cmdline.len());
        return Err(invalid("/boot/cmdline", detail));
    }
    if let Some(bad) = cmdline.chars().find(|c| !matches!(c, ' '..='~')) {
        let detail = format!(
            "the character `{}`; allowed is printable ASCII",
            bad.escape_default()
        );
        return Err(invalid("/boot/cmdline", detail));
    }
    devices::check(spec)
}

fn memory(spec: &VmSpec, limits: &Limits) -> Result<(), Problem> {
    let size = spec.memory.0;
    let step = if spec.hugepages == HugepageSize::OneGiB {
        1024 * MIB
    } else {
        2 * MIB
    };
    if size < LEAST_MEMORY {
        let detail = format!("{}; at least {} are needed", spec.memory, ByteSize(LEAST_MEMORY));
        return Err(invalid("/memory", detail));
    }
    if !size.is_multiple_of(step) {
        let detail = format!("{}; it must be a multiple of {}", spec.memory, ByteSize(step));
        return Err(invalid("/memory", detail));
    }
    let (there, what) = limits.backing(spec);
    if size <= there {
        return Ok(());
    }
    let pointer = if spec.hugepages == HugepageSize::None {
        "/memory"
    } else {
        "/hugepages"
    };
    Err(invalid(
        pointer,
        format!("{} of {what}; this host has {} MiB", spec.memory, there / MIB),
    ))
}

fn image(pointer: &str, image: &ImageRef, optional: bool) -> Result<(), Problem> {
    match image.0.as_str() {
        "builtin" => Ok(()),
        "none" if optional => Ok(()),
        text => text.parse::<Digest>().map(|_| ()).map_err(|_| {
            let none = if optional { "`none`, " } else { "" };
            let detail = format!(
                "`{}` is no image; allowed are `builtin`, {none}and `sha256:` with 64 hex digits (lower case) of an \
                 uploaded one",
                text.escape_debug()
            );
            invalid(pointer, detail)
        }),
    }
}

/// Checks that what is `free` on the host is enough to start a VM of this spec.
pub fn capacity(spec: &VmSpec, free: &Limits) -> Result<(), Problem> {
    let (there, what) = free.backing(spec);
    if spec.memory.0 <= there {
        return Ok(());
    }
    let detail = format!(
        "the VM needs {} of {what}; {} MiB are free",
        spec.memory,
        there / MIB
    );
    Err(Problem::new(Kind::InsufficientCapacity, detail))
}

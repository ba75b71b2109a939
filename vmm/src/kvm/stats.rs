//! What KVM itself counts of a machine (Documentation/virt/kvm/api.rst, `KVM_GET_STATS_FD`).
//!
//! A descriptor for each vCPU and one for the VM give a header, descriptions of the counters by name, and the counters, which
//! begin at 0 with the VM. A machine that is reset gets a new VM: [`Counters`] adds what the VMs before have counted.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axion_api::vmm::metrics::{MappedPages, VcpuCounts};
use kvm_bindings::{kvm_stats_desc, kvm_stats_header};
use nix::errno::Errno;

/// `KVM_GET_STATS_FD`, of a VM's descriptor and of a vCPU's.
const GET_STATS_FD: nix::libc::Ioctl = nix::request_code_none!(0xae, 0xce);

/// Names of the counters of a vCPU, in the order of [`vcpu_counts`] (`kvm_vcpu_stats_desc`, arch/x86/kvm/x86.c).
const VCPU: [&str; 12] = [
    "exits",
    "io_exits",
    "mmio_exits",
    "irq_exits",
    "irq_window_exits",
    "halt_exits",
    "signal_exits",
    "hypercalls",
    "pf_taken",
    "insn_emulation",
    "irq_injections",
    "tlb_flush",
];
/// Names of the gauges of a VM, in the order of [`mapped_pages`] (`kvm_vm_stats_desc`).
const VM: [&str; 3] = ["pages_4k", "pages_2m", "pages_1g"];
/// Longest list of descriptions that is believed, bytes; the kernel's is about 5 KiB.
const DESCRIPTIONS: usize = 64 << 10;

/// Counters of a vCPU.
pub type VcpuSource = Source<{ VCPU.len() }>;
/// Gauges of a VM.
pub type VmSource = Source<{ VM.len() }>;

/// Some counters of a descriptor.
#[derive(Debug)]
pub struct Source<const N: usize> {
    file: File,
    /// Where in the file each of them is; none: this kernel has it not.
    offsets: [Option<u64>; N],
}

impl VcpuSource {
    /// Counters of a vCPU. None where KVM has none to give.
    pub fn of_vcpu(fd: &impl AsRawFd) -> Option<Self> {
        Self::open(fd, VCPU).ok()
    }
}

impl VmSource {
    /// Gauges of a VM. None where KVM has none to give.
    pub fn of_vm(fd: &impl AsRawFd) -> Option<Self> {
        Self::open(fd, VM).ok()
    }
}

impl<const N: usize> Source<N> {
    fn open(fd: &impl AsRawFd, names: [&str; N]) -> io::Result<Self> {
        // SAFETY: the request has no argument.
        let stats = Errno::result(unsafe { nix::libc::ioctl(fd.as_raw_fd(), GET_STATS_FD) })?;
        // SAFETY: the kernel has just made the descriptor, and nobody else has it.
        let file = unsafe { File::from_raw_fd(stats) };
        let mut header = [0; size_of::<kvm_stats_header>()];
        file.read_exact_at(&mut header, 0)?;
        let [name_size, count, descriptions, data] = [
            offset_of!(kvm_stats_header, name_size),
            offset_of!(kvm_stats_header, num_desc),
            offset_of!(kvm_stats_header, desc_offset),
            offset_of!(kvm_stats_header, data_offset),
        ]
        .map(|at| u32_at(&header, at));
        let each = size_of::<kvm_stats_desc>() + to_usize(name_size);
        let mut list = vec![0; to_usize(count).saturating_mul(each).min(DESCRIPTIONS)];
        file.read_exact_at(&mut list, descriptions.into())?;
        let offsets = names.map(|name| find(&list, each, name).map(|at| u64::from(data) + at));
        Ok(Self { file, offsets })
    }

    fn read(&self) -> [u64; N] {
        self.offsets.map(|offset| {
            let mut value = [0; 8];
            let read = offset.map(|at| self.file.read_exact_at(&mut value, at));
            // A counter that cannot be read is one that does not count.
            read.and_then(Result::ok)
                .map_or(0, |()| u64::from_ne_bytes(value))
        })
    }
}

/// Where in the data the counter `name` is, by descriptions of `each` bytes.
fn find(list: &[u8], each: usize, name: &str) -> Option<u64> {
    let is_it = |description: &&[u8]| {
        let there = description.get(size_of::<kvm_stats_desc>()..).unwrap_or_default();
        there.split(|byte| *byte == 0).next() == Some(name.as_bytes())
    };
    let found = list.chunks_exact(each).find(is_it)?;
    Some(u32_at(found, offset_of!(kvm_stats_desc, offset)).into())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let value = bytes.get(at..).and_then(|rest| rest.first_chunk());
    value.map_or(0, |value| u32::from_ne_bytes(*value))
}

/// Sizes in the kernel's lists are small; what is not would not be read.
fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Counters of the VM that is, and the vCPUs' of those that were.
#[derive(Debug, Default)]
pub struct Counters(Mutex<State>);

/// Of a VM.
#[derive(Debug, Default)]
pub struct Sources {
    /// Its own.
    pub vm: Option<VmSource>,
    /// Its vCPUs', in order.
    pub vcpus: Vec<Option<VcpuSource>>,
}

#[derive(Debug, Default)]
struct State {
    before: Vec<[u64; VCPU.len()]>,
    now: Sources,
}

impl State {
    fn vcpus(&self) -> Vec<[u64; VCPU.len()]> {
        let zero = [0; VCPU.len()];
        let count = self.now.vcpus.len().max(self.before.len());
        let each = (0..count).map(|index| {
            let mut counts = self.before.get(index).copied().unwrap_or(zero);
            let source = self.now.vcpus.get(index).and_then(Option::as_ref);
            let now = source.map_or(zero, Source::read);
            for (count, now) in counts.iter_mut().zip(now) {
                *count = count.saturating_add(now);
            }
            counts
        });
        each.collect()
    }
}

impl Counters {
    /// A VM begins.
    pub fn begin(&self, sources: Sources) {
        self.state().now = sources;
    }

    /// It is about to end, which its descriptors would keep it from.
    pub fn end(&self) {
        let mut state = self.state();
        state.before = state.vcpus();
        state.now = Sources::default();
    }

    /// Counts of each vCPU; none where KVM does not tell.
    pub fn vcpus(&self) -> Vec<VcpuCounts> {
        let state = self.state();
        if state.now.vcpus.iter().any(Option::is_none) {
            return Vec::new();
        }
        state.vcpus().into_iter().map(vcpu_counts).collect()
    }

    /// How the guest's memory is mapped.
    pub fn mapped(&self) -> Option<MappedPages> {
        self.state().now.vm.as_ref().map(|vm| mapped_pages(vm.read()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn vcpu_counts(counts: [u64; VCPU.len()]) -> VcpuCounts {
    let [
        exits,
        io,
        mmio,
        interrupts,
        interrupt_windows,
        halts,
        signals,
        hypercalls,
        page_faults,
        emulations,
        injections,
        tlb_flushes,
    ] = counts;
    VcpuCounts {
        exits,
        io,
        mmio,
        interrupts,
        interrupt_windows,
        halts,
        signals,
        hypercalls,
        page_faults,
        emulations,
        injections,
        tlb_flushes,
    }
}

fn mapped_pages([pages_4k, pages_2m, pages_1g]: [u64; VM.len()]) -> MappedPages {
    MappedPages {
        pages_4k,
        pages_2m,
        pages_1g,
    }
}

#[cfg(test)]
mod tests;

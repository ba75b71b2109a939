//! Counters of exits.

use std::sync::atomic::{AtomicU64, Ordering};

use axion_api::vmm::metrics::VcpuExits;

/// Counters of one vCPU, written by its thread alone. They have their cache lines to themselves (two, because CPUs fetch
/// pairs): those who read them, and the vCPUs next door, cost it nothing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Exits {
    pub(super) port_reads: Counter,
    pub(super) port_writes: Counter,
    pub(super) mmio_reads: Counter,
    pub(super) mmio_writes: Counter,
    pub(super) interrupt_ends: Counter,
    pub(super) interrupted: Counter,
    pub(super) init_waits: Counter,
    pub(super) others: Counter,
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one. Not an atomic addition, which would lock the line: nobody else writes.
    pub(super) fn count(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Exits {
    /// The counts now.
    pub fn read(&self) -> VcpuExits {
        VcpuExits {
            port_reads: self.port_reads.get(),
            port_writes: self.port_writes.get(),
            mmio_reads: self.mmio_reads.get(),
            mmio_writes: self.mmio_writes.get(),
            interrupt_ends: self.interrupt_ends.get(),
            interrupted: self.interrupted.get(),
            init_waits: self.init_waits.get(),
            others: self.others.get(),
        }
    }
}

//! Where threads run.
//!
//! ```text
//! process starts --> remembers its CPUs --> keeps to `housekeeping`      control, machine and all that they start
//!                                              '--> vCPU thread: its own CPU (or the remembered ones), SCHED_FIFO
//! ```
//!
//! A vCPU thread places itself before it looks at the gate, reads back what the kernel made of it, and reports that. A CPU
//! that it does not get ends the machine before the guest has run an instruction.

pub mod affinity;

use std::io;

use axion_api::vmm;
use axion_core::topology::CpuSet;
use nix::unistd::gettid;

/// A thread cannot be where it should.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// The kernel refused a vCPU's CPU.
    #[error("placement.vcpus[{vcpu}]: vCPU {vcpu} cannot run on host CPU {cpu}")]
    Cpu {
        /// The vCPU.
        vcpu: u32,
        /// The host CPU.
        cpu: u32,
        /// Cause.
        source: io::Error,
    },
    /// It took it and did otherwise.
    #[error("placement.vcpus[{vcpu}]: vCPU {vcpu} was to run on host CPU {cpu} and may run on {got}")]
    Elsewhere {
        /// The vCPU.
        vcpu: u32,
        /// The host CPU.
        cpu: u32,
        /// CPUs on which it may run.
        got: CpuSet,
    },
    /// No real-time priority.
    #[error(
        "placement.fifo_priority: vCPU {vcpu} cannot have {priority}; \
         RLIMIT_RTPRIO of at least that is needed"
    )]
    Fifo {
        /// The vCPU.
        vcpu: u32,
        /// The priority.
        priority: u8,
        /// Cause.
        source: io::Error,
    },
    /// The other threads cannot be kept where they should be.
    #[error("placement.housekeeping: cannot run on host CPUs {cpus}")]
    Housekeeping {
        /// The CPUs.
        cpus: CpuSet,
        /// Cause.
        source: nix::Error,
    },
    /// The kernel does not tell.
    #[error("cannot read the CPU affinity")]
    Unknown(#[source] nix::Error),
}

/// Where the threads of this process run.
#[derive(Debug, Clone)]
pub struct Placement {
    config: vmm::Placement,
    /// CPUs on which the process was started.
    inherited: CpuSet,
}

/// A thread as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub thread: u32,
    /// CPUs on which it may run.
    pub cpus: CpuSet,
    /// `SCHED_FIFO` priority.
    pub fifo_priority: Option<u8>,
}

impl Placement {
    /// The placement that `config` wants for threads of this process.
    ///
    /// # Errors
    /// [`PlacementError::Unknown`].
    pub fn new(config: vmm::Placement) -> Result<Self, PlacementError> {
        let inherited = affinity::get().map_err(PlacementError::Unknown)?;
        Ok(Self { config, inherited })
    }

    /// The host CPU of a vCPU.
    pub fn of_vcpu(&self, vcpu: u32) -> Option<u32> {
        let index = usize::try_from(vcpu).unwrap_or(usize::MAX);
        self.config.vcpus.get(index).copied()
    }

    /// Real-time priority of vCPU threads.
    pub fn fifo_priority(&self) -> Option<u8> {
        self.config.fifo_priority
    }

    /// CPUs that the machine may use while no vCPU runs: its own, and those on which the process was started.
    pub fn for_setup(&self) -> CpuSet {
        self.inherited
            .iter()
            .chain(self.config.vcpus.iter().copied())
            .collect()
    }

    /// Keeps the calling thread, and those that it starts, out of the vCPUs' way.
    ///
    /// # Errors
    /// [`PlacementError::Housekeeping`].
    pub fn keep_house(&self) -> Result<(), PlacementError> {
        let cpus = &self.config.housekeeping;
        if cpus.is_empty() {
            return Ok(());
        }
        affinity::set(cpus).map_err(|source| PlacementError::Housekeeping {
            cpus: cpus.clone(),
            source,
        })
    }

    /// Makes the calling thread that of `vcpu`.
    ///
    /// # Errors
    /// [`PlacementError`] that names vCPU and CPU.
    pub fn place_vcpu(&self, vcpu: u32) -> Result<Placed, PlacementError> {
        match self.of_vcpu(vcpu) {
            Some(cpu) => {
                let own = CpuSet::from_iter([cpu]);
                affinity::set(&own).map_err(|errno| PlacementError::Cpu {
                    vcpu,
                    cpu,
                    source: errno.into(),
                })?;
                let got = affinity::get().map_err(PlacementError::Unknown)?;
                if got != own {
                    return Err(PlacementError::Elsewhere { vcpu, cpu, got });
                }
            }
            None if !self.config.housekeeping.is_empty() => {
                affinity::set(&self.inherited).map_err(PlacementError::Unknown)?;
            }
            None => {}
        }
        if let Some(priority) = self.config.fifo_priority {
            affinity::set_fifo(priority).map_err(|source| PlacementError::Fifo {
                vcpu,
                priority,
                source,
            })?;
        }
        Ok(Placed {
            thread: u32::try_from(gettid().as_raw()).unwrap_or_default(),
            cpus: affinity::get().map_err(PlacementError::Unknown)?,
            fifo_priority: affinity::fifo(),
        })
    }
}

#[cfg(test)]
mod tests;

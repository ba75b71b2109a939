//! Putting the boot profile in force while the node runs: one action at a time, each in the plan's words.
//!
//! ```text
//! settings   switches, kernel settings, frequencies, idle states
//! memory     pools of hugepages, node by node
//! fence      interrupts, work queues, cgroups
//! devices    virtual functions, vfio-pci
//! ```
//!
//! All of it works on `/sys` and `/proc` below an injected root. What is as it should be stays, so an action can be repeated.
//! Modules and their parameters belong to [`crate::stage2`], which loads them; a parameter of a module that is loaded is
//! written here.

mod devices;
mod fence;
mod memory;
mod settings;
#[cfg(test)]
mod tests;
pub mod uses;

use std::path::{Path, PathBuf};

use axion_core::config::PageSize;
use axion_core::profile::Action;

pub use devices::{name_functions, read_functions};

use crate::files::{self, FileError};

/// An action that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The kernel refuses a value, or has no such file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No kernel setting.
    #[error("`{0}` is not a kernel setting's name")]
    Setting(String),
    /// Multithreading.
    #[error("multithreading cannot be switched {wanted}: the kernel says `{control}`")]
    Smt {
        /// `on` or `off`.
        wanted: &'static str,
        /// `smt/control`.
        control: String,
    },
    /// Too few hugepages.
    #[error(
        "node {node} has {pages} of {wanted} pages of {size}: its memory is too full, or in pieces too small"
    )]
    Hugepages {
        /// NUMA node.
        node: u32,
        /// How many there are.
        pages: u64,
        /// How many there should be.
        wanted: u64,
        /// Of which size.
        size: PageSize,
    },
    /// Interrupts that stay where they are.
    #[error("the kernel does not move the interrupts {0}")]
    Interrupts(String),
    /// A CPU that init cannot run on.
    #[error("init cannot run on CPU {cpu}")]
    Pin {
        /// CPU.
        cpu: u32,
        /// Why.
        source: nix::Error,
    },
    /// A partition that the kernel took and declared invalid.
    #[error("the kernel makes no partition of {cgroup}: `{state}`")]
    Partition {
        /// Cgroup.
        cgroup: String,
        /// `cpuset.cpus.partition`.
        state: String,
    },
    /// A parameter that is read when the module is loaded.
    #[error("{module} takes {name} only when it is loaded, and it was loaded with {value}")]
    Parameter {
        /// Module.
        module: String,
        /// Parameter.
        name: String,
        /// Its value.
        value: String,
    },
    /// A device outside every IOMMU group.
    #[error("{0} is in no IOMMU group: the IOMMU is off, or does not reach it")]
    NoGroup(String),
    /// A device that another driver has.
    #[error("{address} is with {driver} and not with vfio-pci; the kernel log says why")]
    Driver {
        /// PCI address.
        address: String,
        /// Driver, or `no driver`.
        driver: String,
    },
    /// Virtual functions that could not be given their addresses.
    #[error("the virtual functions of {interface} cannot be set up")]
    Functions {
        /// Network interface.
        interface: String,
        /// Why.
        source: rtnetlink::Error,
    },
    /// No rtnetlink.
    #[error("cannot open an rtnetlink socket")]
    Netlink(#[source] std::io::Error),
    /// An interface that is not there.
    #[error("the interface {0} is gone")]
    NoInterface(String),
}

/// The part of the boot that an action belongs to. Parts do not depend on each other, but for devices, which come last:
/// their interrupts then begin where they belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Switches and settings of the kernel.
    Kernel,
    /// Pools of pages.
    Memory,
    /// Who runs on which CPU, and how fast.
    Cpus,
    /// Modules and devices.
    Devices,
}

/// The part that `action` belongs to.
pub const fn part(action: &Action) -> Part {
    match action {
        Action::NumaBalancingOff
        | Action::KsmOff
        | Action::Sysctl { .. }
        | Action::TransparentHugepages { .. } => Part::Kernel,
        Action::Hugepages { .. } => Part::Memory,
        Action::Smt { .. }
        | Action::IrqAffinity { .. }
        | Action::WorkqueueCpumask { .. }
        | Action::Cpuset { .. }
        | Action::CpusetPartition { .. }
        | Action::FairServerPeriod { .. }
        | Action::Governor { .. }
        | Action::IdleLatency { .. } => Part::Cpus,
        Action::ModuleParameter { .. }
        | Action::LoadModule { .. }
        | Action::VirtualFunctions { .. }
        | Action::VfioBind { .. } => Part::Devices,
    }
}

/// Brings `action` about on the node below `root`; loading a module is no part of it.
///
/// # Errors
/// The kernel refuses, or did something else.
pub fn perform(root: &Path, action: &Action) -> Result<(), ActionError> {
    let node = Files { root };
    match action {
        Action::Smt { on } => settings::smt(&node, *on),
        Action::NumaBalancingOff => settings::off_where_present(&node, "/proc/sys/kernel/numa_balancing"),
        Action::KsmOff => settings::off_where_present(&node, "/sys/kernel/mm/ksm/run"),
        Action::Sysctl { name, value } => settings::sysctl(&node, name, value),
        Action::TransparentHugepages { policy } => settings::transparent_hugepages(&node, policy.word()),
        Action::Hugepages { page_size, nodes } => memory::hugepages(&node, *page_size, nodes),
        Action::IrqAffinity { cpus } => fence::interrupts(&node, cpus),
        Action::WorkqueueCpumask { cpus } => fence::workqueues(&node, cpus),
        Action::Cpuset { cgroup, cpus } => fence::cpuset(&node, cgroup, cpus),
        Action::CpusetPartition {
            cgroup,
            cpus,
            partition,
        } => fence::partition(&node, cgroup, cpus, *partition),
        Action::FairServerPeriod { period_ns, cpus } => fence::fair_server(&node, *period_ns, cpus),
        Action::Governor { governor, cpus } => {
            settings::per_cpu(&node, cpus, "cpufreq/scaling_governor", governor)
        }
        Action::IdleLatency { limit, cpus } => {
            settings::per_cpu(&node, cpus, "power/pm_qos_resume_latency_us", &limit.word())
        }
        Action::ModuleParameter {
            module,
            name,
            value,
            live,
        } => settings::parameter(&node, module, name, value, *live),
        Action::LoadModule { .. } => Ok(()),
        Action::VirtualFunctions {
            address, vfs, vfio, ..
        } => devices::virtual_functions(&node, address, *vfs, *vfio),
        Action::VfioBind { address, .. } => devices::vfio(&node, address),
    }
}

/// Takes back what one device that `action` could not bind leaves of its group, once all actions were tried: those behind it in the
/// plan do not know that it failed.
pub fn undo(root: &Path, action: &Action) {
    if let Action::VfioBind { address, .. } = action {
        devices::give_back_group(&Files { root }, address);
    }
}

/// The kernel's files below a root.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The last name of a link's target.
    fn link_name(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Some settings take a whole line only.
    fn set(&self, path: &str, value: &str) -> Result<(), ActionError> {
        Ok(files::set(&self.path(path), &format!("{value}\n"))?)
    }
}

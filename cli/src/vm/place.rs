//! Where a VM is to be, as arguments.

use std::str::FromStr;

use axion_api::vm::{GuestCpuModel, Scheduling, VmSpec};
use axion_core::placement::{NumaPolicy, VmClass, VmThreads};
use axion_core::quantity::{ByteSize, QuantityError};
use clap::{Args, ValueEnum};

/// CPUs and NUMA nodes of a VM.
#[derive(Debug, Args)]
pub struct Place {
    /// How it gets its CPUs
    #[arg(long, value_enum, default_value_t = Class::Shared)]
    class: Class,
    /// vCPUs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: u32,
    /// vCPUs of a core, in a dedicated VM on cores with several threads
    #[arg(long, value_enum, default_value_t = Threads::Auto)]
    threads: Threads,
    /// How the threads of its vCPUs are scheduled
    #[arg(long, value_enum, default_value_t = Scheduled::Normal)]
    scheduling: Scheduled,
    /// The CPU that the guest sees
    #[arg(long, value_enum, default_value_t = Model::Host, value_name = "MODEL")]
    cpu_model: Model,
    /// Whether it may be on several NUMA nodes
    #[arg(long, value_enum, default_value_t = Numa::Single)]
    numa: Numa,
    /// NUMA nodes that it may be on, as in `0,1`; all when absent
    #[arg(long, value_delimiter = ',', value_name = "NODE")]
    node: Vec<u32>,
    /// Share of CPU time among shared VMs when there is not enough, 1 to 10000; 100 when absent
    #[arg(long, value_name = "WEIGHT")]
    cpu_weight: Option<u32>,
    /// Most CPU time of a shared VM, percent of one CPU
    #[arg(long, value_name = "PERCENT")]
    cpu_limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Class {
    /// Beside other VMs, by weight and limit
    Shared,
    /// An isolated CPU for each vCPU, cores of its own, hugepages
    Dedicated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threads {
    /// All, where the vCPUs fill whole cores; else one
    Auto,
    /// Every thread
    All,
    /// One; the others stay idle
    One,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheduled {
    /// As ordinary threads of the node
    Normal,
    /// Above every ordinary thread of the node (SCHED_FIFO); dedicated VMs only
    Fifo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Model {
    /// The node's
    Host,
    /// Up to SSE4.2 and POPCNT, on any node that has them
    #[value(name = "x86-64-v2")]
    V2,
    /// Up to AVX2, BMI2 and FMA
    #[value(name = "x86-64-v3")]
    V3,
    /// Up to AVX-512 F, BW, CD, DQ and VL
    #[value(name = "x86-64-v4")]
    V4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Numa {
    /// One node, or not at all
    Single,
    /// As few nodes as it takes, an equal part on each
    Spread,
}

impl Place {
    /// A VM with these, and else as it is by default.
    pub fn spec(&self) -> VmSpec {
        VmSpec {
            class: match self.class {
                Class::Shared => VmClass::Shared,
                Class::Dedicated => VmClass::Dedicated,
            },
            cpus: self.cpus,
            threads: match self.threads {
                Threads::Auto => VmThreads::Auto,
                Threads::All => VmThreads::All,
                Threads::One => VmThreads::One,
            },
            scheduling: match self.scheduling {
                Scheduled::Normal => Scheduling::Normal,
                Scheduled::Fifo => Scheduling::Fifo,
            },
            cpu_model: match self.cpu_model {
                Model::Host => GuestCpuModel::Host,
                Model::V2 => GuestCpuModel::V2,
                Model::V3 => GuestCpuModel::V3,
                Model::V4 => GuestCpuModel::V4,
            },
            numa: match self.numa {
                Numa::Single => NumaPolicy::Single,
                Numa::Spread => NumaPolicy::Spread,
            },
            nodes: self.node.clone(),
            cpu_weight: self.cpu_weight,
            cpu_limit: self.cpu_limit,
            ..VmSpec::default()
        }
    }
}

/// Memory; `2G` is short for `2GiB`, as on other tools' command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub ByteSize);

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let short = text.ends_with(['K', 'M', 'G', 'T']);
        let whole = if short {
            format!("{text}iB")
        } else {
            text.to_owned()
        };
        whole
            .parse()
            .map(Self)
            .map_err(|error| match text.parse::<ByteSize>() {
                // What was typed is what is spoken of.
                Err(typed) => typed,
                Ok(_) => error,
            })
    }
}

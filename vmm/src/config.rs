//! The config file of a VM, and its validation against this host before anything is created.

mod devices;
mod hardware;

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axion_api::vm::GuestCpuModel;
use axion_api::vmm::{
    BalloonConfig, CONFIG_FILE, ConsoleDevice, MemoryConfig, SandboxMode, VmmConfig, VsockConfig,
};

use axion_core::placement::block_size;

use crate::arch::cpuid::model::MissingFeatures;
use crate::arch::layout::{self, Layout, TooMuchMemory};
use crate::arch::topology::Topology;
use crate::boot::{BootError, BootFiles};
use crate::devices::virtio::blk::backing::{Disk, DiskError};
use crate::devices::virtio::net::backing::{Interface, NetError};
use crate::kvm::{Host, KvmError};
use crate::memory::{self, HostNodes, NotAdmitted};
use crate::numa::Numa;
use crate::placement::{Placement, PlacementError};

/// The machine cannot be what its config says.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is no valid config; the cause says line and column.
    #[error("{}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: serde_json::Error,
    },
    /// A value is out of its range.
    #[error("{field}: {value} is not allowed; {allowed}")]
    Value {
        /// Field of the config.
        field: Cow<'static, str>,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// More memory than the CPU can address.
    #[error(transparent)]
    TooMuchMemory(#[from] TooMuchMemory),
    /// Not enough memory.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// CPUs of this process.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A network interface.
    #[error(transparent)]
    Net(#[from] NetError),
    /// This host's CPU is not what was asked for.
    #[error(transparent)]
    GuestCpuModel(#[from] MissingFeatures),
    /// This host cannot run machines.
    #[error(transparent)]
    Kvm(#[from] KvmError),
}

/// A machine that can be made: a validated config.
pub struct Plan {
    /// Name of the VM.
    pub name: String,
    /// CPUs that the guest sees.
    pub topology: Topology,
    /// What the host shows of its own.
    pub cpu_model: GuestCpuModel,
    /// What backs the memory.
    pub memory: MemoryConfig,
    /// Where the memory lies.
    pub layout: Layout,
    /// Whose memory and vCPUs are whose.
    pub numa: Numa,
    /// Where threads run.
    pub placement: Placement,
    /// The guest has its CPUs to itself.
    pub dedicated: bool,
    /// What becomes of forbidden system calls.
    pub sandbox: SandboxMode,
    /// What it boots.
    pub boot: BootFiles,
    /// Its disks.
    pub disks: Vec<Arc<Disk>>,
    /// Its network interfaces.
    pub nets: Vec<Arc<Interface>>,
    /// Which device is its console.
    pub console: ConsoleDevice,
    /// Its balloon.
    pub balloon: Option<BalloonConfig>,
    /// Its socket device.
    pub vsock: Option<VsockConfig>,
    /// Where it runs.
    pub host: Host,
}

/// Reads and validates the config in `run_dir`.
///
/// # Errors
/// [`ConfigError`] that names the field, its value and what is allowed.
pub fn load(run_dir: &Path) -> Result<Plan, ConfigError> {
    let config = read(&run_dir.join(CONFIG_FILE))?;
    let topology = validate(&config)?;
    let nodes = HostNodes::new(Path::new("/sys"));
    hardware::check_host(&config, &nodes)?;
    nodes.admit(&config.memory)?;
    let boot = BootFiles::open(&config.boot)?;
    let mut host = Host::open()?;
    host.limit(config.cpu_model)?;
    if config.cpus > host.max_cpus() {
        return Err(value(
            "cpus",
            &config.cpus,
            format!("this host runs at most {} vCPUs", host.max_cpus()),
        ));
    }
    if topology.max_apic_id() >= host.apic_ids() {
        return Err(value(
            "topology",
            &format!("an APIC id of {}", topology.max_apic_id()),
            format!("this host has {} of them; use powers of two", host.apic_ids()),
        ));
    }
    let MemoryConfig { size, max, .. } = config.memory;
    let more = max.map_or(0, |max| max.saturating_sub(size));
    let layout = Layout::new(size, more, host.address_bits())?;
    let disks = (0..).zip(&config.disks).map(|(number, disk)| {
        let queues = disk
            .queues
            .unwrap_or_else(|| devices::default_queues(config.cpus));
        Disk::open(number, disk, queues).map(Arc::new)
    });
    let nets = (0..)
        .zip(&config.nets)
        .map(|(number, net)| Interface::open(number, net).map(Arc::new));
    Ok(Plan {
        nets: nets.collect::<Result<_, _>>()?,
        disks: disks.collect::<Result<_, _>>()?,
        name: config.name,
        numa: Numa::new(&config.memory, config.cpus, &layout),
        topology,
        cpu_model: config.cpu_model,
        memory: config.memory,
        layout,
        placement: Placement::new(config.placement)?,
        dedicated: config.dedicated,
        sandbox: config.sandbox,
        console: config.console,
        balloon: config.balloon,
        vsock: config.vsock,
        boot,
        host,
    })
}

fn read(path: &Path) -> Result<VmmConfig, ConfigError> {
    let text = fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| ConfigError::Parse {
        path: path.to_owned(),
        source,
    })
}

fn value(
    field: impl Into<Cow<'static, str>>,
    value: &dyn ToString,
    allowed: impl Into<String>,
) -> ConfigError {
    ConfigError::Value {
        field: field.into(),
        value: value.to_string(),
        allowed: allowed.into(),
    }
}

/// Checks what can be checked without looking at the host; says what CPUs the guest is to see.
pub(crate) fn validate(config: &VmmConfig) -> Result<Topology, ConfigError> {
    check(config)?;
    hardware::check(config)
}

/// Name, vCPUs, memory, files and devices.
fn check(config: &VmmConfig) -> Result<(), ConfigError> {
    let name = config.name.as_bytes();
    let letters = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if !name.first().is_some_and(u8::is_ascii_lowercase) || name.len() > 40 || !name.iter().all(letters) {
        let allowed = "1 to 40 of a-z, 0-9 and `-`, starting with a letter";
        return Err(value("name", &format!("{:?}", config.name), allowed));
    }
    if !(1..=layout::MAX_CPUS).contains(&config.cpus) {
        return Err(value("cpus", &config.cpus, format!("1 to {}", layout::MAX_CPUS)));
    }
    let MemoryConfig {
        size, hugepages, max, ..
    } = config.memory;
    let page = memory::page_size(hugepages);
    if size < layout::MIN_MEMORY || !size.is_multiple_of(page) {
        let allowed = format!(
            "at least {} bytes, and a multiple of the page size {page}",
            layout::MIN_MEMORY
        );
        return Err(value("memory.size", &size, allowed));
    }
    if let Some(max) = max {
        let more = max.saturating_sub(size);
        let block = block_size(more, page);
        if more == 0 || !more.is_multiple_of(block) {
            let allowed = format!("memory.size and a multiple of {block} bytes, as much as there is to come");
            return Err(value("memory.max", &max, allowed));
        }
        if config.memory.nodes.len() > 1 {
            let allowed = "only in a machine of one NUMA node";
            return Err(value("memory.max", &max, allowed));
        }
    }
    let files = [
        ("boot.kernel", Some(&config.boot.kernel)),
        ("boot.initrd", config.boot.initrd.as_ref()),
    ];
    for (field, path) in files {
        if let Some(path) = path.filter(|path| !Path::new(path).is_absolute()) {
            return Err(value(field, &format!("{path:?}"), "an absolute path"));
        }
    }
    devices::check(config)
}

#[cfg(test)]
mod tests;

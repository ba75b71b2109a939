//! The config file of a VM, and its validation against this host before anything is created.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axion_api::vmm::{CONFIG_FILE, MemoryConfig, VmmConfig};

use crate::arch::layout::{self, Layout, TooMuchMemory};
use crate::boot::{BootError, BootFiles};
use crate::kvm::{Host, KvmError};
use crate::memory::{self, NotEnoughHugepages};

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
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// More memory than the CPU can address.
    #[error(transparent)]
    TooMuchMemory(#[from] TooMuchMemory),
    /// Not enough hugepages.
    #[error(transparent)]
    Hugepages(#[from] NotEnoughHugepages),
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// This host cannot run machines.
    #[error(transparent)]
    Kvm(#[from] KvmError),
}

/// A machine that can be made: a validated config.
pub struct Plan {
    /// Name of the VM.
    pub name: String,
    /// vCPUs.
    pub cpus: u32,
    /// What backs the memory.
    pub memory: MemoryConfig,
    /// Where the memory lies.
    pub layout: Layout,
    /// What it boots.
    pub boot: BootFiles,
    /// Where it runs.
    pub host: Host,
}

/// Reads and validates the config in `run_dir`.
///
/// # Errors
/// [`ConfigError`] that names the field, its value and what is allowed.
pub fn load(run_dir: &Path) -> Result<Plan, ConfigError> {
    let config = read(&run_dir.join(CONFIG_FILE))?;
    check(&config)?;
    memory::check(Path::new("/sys"), &config.memory)?;
    let boot = BootFiles::open(&config.boot)?;
    let host = Host::open()?;
    if config.cpus > host.max_cpus() {
        return Err(value(
            "cpus",
            &config.cpus,
            format!("this host runs at most {} vCPUs", host.max_cpus()),
        ));
    }
    let layout = Layout::new(config.memory.size, host.address_bits())?;
    Ok(Plan {
        name: config.name,
        cpus: config.cpus,
        memory: config.memory,
        layout,
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

fn value(field: &'static str, value: &dyn ToString, allowed: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        field,
        value: value.to_string(),
        allowed: allowed.into(),
    }
}

/// What can be checked without looking at the host.
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
    let MemoryConfig { size, hugepages } = config.memory;
    let page = memory::page_size(hugepages);
    if size < layout::MIN_MEMORY || !size.is_multiple_of(page) {
        let allowed = format!(
            "at least {} bytes, and a multiple of the page size {page}",
            layout::MIN_MEMORY
        );
        return Err(value("memory.size", &size, allowed));
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
    for (field, devices) in [("disks", config.disks.len()), ("nets", config.nets.len())] {
        if devices > 0 {
            return Err(value(field, &devices, "this VMM has no such devices: none"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! What an unattended installation is told. It takes place where the kernel command line says `axion.mode=install`.

use serde::{Deserialize, Serialize};

use crate::quantity::ByteSize;
use crate::topology::Disk;

/// Installation on a disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// The disk; exactly one must fit. None given: nothing is installed without a person.
    pub disk: Option<DiskSelector>,
    /// A second disk that holds the same, so that the node survives the loss of one; exactly one besides the first must fit.
    pub mirror: Option<DiskSelector>,
    /// What is done where the disk holds an installation of Axion already.
    pub existing: Existing,
    /// What is done where the disk holds a ZFS pool.
    pub pool: PoolChoice,
    /// What follows.
    pub after: AfterInstall,
}

/// Which disk; every given part must fit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSelector {
    /// World-wide identifier as the kernel shows it: `eui.0025385a11b2c3d4`, `naa.5000c500a1b2c3d4`.
    pub wwid: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// At least so large.
    pub min_size: Option<ByteSize>,
    /// At most so large.
    pub max_size: Option<ByteSize>,
}

/// What is done with an installation that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// It stays, and the installer says so.
    #[default]
    Refuse,
    /// It is replaced.
    Replace,
}

/// What is done with a ZFS pool that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolChoice {
    /// It stays as it is; where it lies in the way, nothing is installed.
    #[default]
    Keep,
    /// It is lost.
    Destroy,
}

/// What follows an installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterInstall {
    /// The machine restarts.
    #[default]
    Reboot,
    /// The machine is powered off: the medium can be taken out.
    PowerOff,
}

impl DiskSelector {
    /// Whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `disk` fits.
    pub fn fits(&self, disk: &Disk) -> bool {
        let same = |wanted: &Option<String>, found: &Option<String>| match wanted {
            None => true,
            Some(wanted) => found.as_deref().map(str::trim) == Some(wanted.trim()),
        };
        same(&self.wwid, &disk.wwid)
            && same(&self.serial, &disk.serial)
            && same(&self.model, &disk.model)
            && self.min_size.is_none_or(|size| disk.size >= size.0)
            && self.max_size.is_none_or(|size| disk.size <= size.0)
    }
}

//! Installation on a disk: what stage 1 does unattended, and stage 2 when a person asks for it on the console.
//!
//! ```text
//! disks ─ the one that is meant ─ image from this initramfs ─ Job: all that is going to be written ─ write
//! ```
//! Everything that can be known is checked before the first write. What is installed is what runs: kernel and initramfs are the
//! ones of this boot, whatever medium or network they came from.
//!
//! | module          | what it is about                                      |
//! |-----------------|-------------------------------------------------------|
//! | [`image`]       | kernel, initramfs and loader of this boot             |
//! | [`interactive`] | what a person on the console is asked, and told       |

mod image;
mod interactive;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use axion_core::cmdline::{CommandLine, Param};
use axion_core::config::{DiskChoice, Document, Effective, PoolChoice, Source, resolve};
use axion_core::profile::{Declaration, Resolved, compose};
use axion_core::secure_boot::SecureBoot;
use axion_core::topology::{Disk, Topology};
use axion_install::bios;
use axion_install::esp::Update;
use axion_install::inspect;
use axion_install::mirror::Record;
use axion_install::perform::{self, Installation, Progress};
use axion_install::plan::{Plan, Summary, Target, summary};
use axion_install::select::{self, Candidate, Contents, SelectError};
use axion_install::started;
use axion_install::storage;
use uuid::Uuid;

pub use self::image::{Image, ImageError, KEPT, Origin};
pub use self::interactive::{Installer, serve};
use crate::boot_next;
use crate::failure::chain;
use crate::loader;
use crate::log::Log;

/// What asks for the installer.
const MODE: &str = "axion.mode";
/// Parameters of this boot that an installed node does not start with.
const LEFT_OUT: [&str; 9] = [
    MODE,
    "axion.config",
    started::ARGUMENT,
    "axion.kexec",
    "axion.slot",
    "BOOT_IMAGE",
    "initrd",
    "rdinit",
    "rootfstype",
];
const CHUNK: usize = 1 << 20;
/// Version of the image.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Nothing, or not everything, was installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A document of the config.
    #[error("the machine config has an error: {0}")]
    Config(String),
    /// BIOS.
    #[error(transparent)]
    Bios(#[from] bios::NoBiosDisk),
    /// The disk.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A disk that cannot be read.
    #[error("cannot read the disk {0}")]
    Disk(String, #[source] io::Error),
    /// A disk that is in use.
    #[error("cannot open {0} for itself")]
    Busy(String, #[source] io::Error),
    /// Secure Boot.
    #[error(
        "Secure Boot is on, and this image is not signed: the disk would not start (docs/secure-boot.md)"
    )]
    NotSigned,
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Random numbers.
    #[error("the kernel gives no identifier")]
    Guid,
    /// Writing.
    #[error("the disk is not bootable: the installation of {disk} has failed")]
    Write {
        /// The disk.
        disk: String,
        /// Why.
        source: perform::InstallError,
    },
}

/// Whether the kernel command line asks for the installer.
pub fn is_asked_for(cmdline: &CommandLine) -> bool {
    cmdline.get(MODE) == Some("install")
}

/// Whether firmware is UEFI.
pub fn is_uefi() -> bool {
    Path::new("/sys/firmware/efi").exists()
}

/// Whether the config in force is one to be installed.
///
/// # Errors
/// A document of it has an error.
pub fn check_config(effective: &Effective) -> Result<(), Error> {
    // What is installed was written by somebody who should be told of every key.
    if let Some(wrong) = effective.rejected.iter().chain(&effective.ignored).next() {
        return Err(Error::Config(wrong.to_string()));
    }
    Ok(())
}

/// Whether the firmware of this machine starts a disk.
///
/// # Errors
/// It does not.
pub fn check_firmware(candidate: &Candidate) -> Result<(), Error> {
    if !is_uefi() {
        bios::check(&candidate.to_string(), candidate.disk.logical_sector.into())?;
    }
    Ok(())
}

/// Whether Secure Boot lets an image start.
///
/// # Errors
/// It is on, and the image is not signed.
pub fn check_signed(signed: bool) -> Result<(), Error> {
    if SecureBoot::read(Path::new("/")).is_on() && !signed {
        return Err(Error::NotSigned);
    }
    Ok(())
}

/// All that is going to be written.
pub struct Job {
    /// The disk, and its mirror.
    targets: Vec<Written>,
    image: Image,
    uki: Vec<u8>,
    config: String,
}

/// A disk, and what it gets of its own.
struct Written {
    candidate: Candidate,
    plan: Plan,
    update: Update,
    mirror: Option<Record>,
}

impl Written {
    const fn target(&self) -> Target<'_> {
        Target {
            candidate: &self.candidate,
            plan: &self.plan,
        }
    }
}

/// What a disk is called on the other one of a mirror.
pub fn lasting_name(disk: &Disk) -> String {
    let id = DiskChoice::of(disk).map(|id| id.to_string());
    id.unwrap_or_else(|| disk.name.clone())
}

impl Job {
    /// `image` with the machine config `config` on `disks`, one or two that hold the same and are fit for it, with what becomes of
    /// the pool on each.
    ///
    /// # Errors
    /// The image cannot be put together.
    pub fn prepare(
        disks: Vec<(Candidate, PoolChoice)>,
        config: String,
        cmdline: &CommandLine,
        image: Image,
    ) -> Result<Self, Error> {
        check_signed(image.is_signed())?;
        let uki = image.assemble()?;
        let digest = inspect::digest(&uki);
        let mut targets = Vec::new();
        for (candidate, pool) in disks {
            check_firmware(&candidate)?;
            let plan = Plan::of(&candidate, pool, guid()?);
            let update = Update {
                version: VERSION.to_owned(),
                size: u64::try_from(uki.len()).unwrap_or(0),
                digest,
                options: options(cmdline, &config, plan.esp().guid),
            };
            targets.push(Written {
                candidate,
                plan,
                update,
                mirror: None,
            });
        }
        if let [first, second] = targets.as_mut_slice() {
            let record = Record {
                set: guid()?,
                own: first.plan.esp().guid,
                other: second.plan.esp().guid,
                name: lasting_name(&second.candidate.disk),
                alone: false,
            };
            second.mirror = Some(record.of_the_other(&lasting_name(&first.candidate.disk)));
            first.mirror = Some(record);
        }
        Ok(Self {
            targets,
            image,
            uki,
            config,
        })
    }

    /// The disks, for people.
    pub fn disk(&self) -> String {
        let names = self.targets.iter().map(|target| target.candidate.to_string());
        names.collect::<Vec<_>>().join(" and on ")
    }

    /// Kernel arguments of the installed node, on its first disk.
    pub fn arguments(&self) -> &str {
        self.targets.first().map_or("", |target| &target.update.options)
    }

    /// Bytes of images that are written.
    pub fn bytes(&self) -> u64 {
        self.targets.iter().map(|target| target.update.size).sum()
    }

    /// What is going to happen, with `hostname` as the node's name.
    pub fn summary(&self, hostname: &str) -> Option<Summary> {
        let (first, others) = self.targets.split_first()?;
        let mirror = others.first().map(Written::target);
        Some(summary(first.target(), mirror, VERSION, hostname))
    }

    /// Has firmware start the first disk the next time, whatever it prefers otherwise; a BIOS starts what it likes.
    pub fn start_next(&self, log: &Log) {
        let Some(first) = self.targets.first().filter(|_| is_uefi()) else {
            return;
        };
        match boot_next::set(first.plan.esp(), first.candidate.disk.logical_sector) {
            Ok(()) => log.info("the firmware starts the installed disk next"),
            // It may well start it by itself.
            Err(e) => log.warning(&format!(
                "the firmware is not told to start the installed disk: {}",
                chain(&e)
            )),
        }
    }

    /// Writes it, one disk after the other.
    ///
    /// # Errors
    /// A disk is in use, and none was written then; or one fails.
    pub fn write(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let mut disks = Vec::new();
        for target in &self.targets {
            let disk = &target.candidate.disk;
            let name = || target.candidate.to_string();
            let file = open_alone(disk).map_err(|e| Error::Busy(name(), e))?;
            let storage = storage::Disk::new(file, disk.logical_sector.into());
            disks.push((target, storage.map_err(|e| Error::Disk(name(), e))?));
        }
        for (target, disk) in disks {
            let what = Installation {
                loader: self.image.loader(),
                bios: self.image.grub()?,
                image: &target.update,
                config: &self.config,
                mirror: target.mirror.clone(),
                chunk: CHUNK,
            };
            let written = perform::install(&disk, &target.plan, &what, &mut self.uki.as_slice(), progress);
            written.map(drop).map_err(|source| Error::Write {
                disk: target.candidate.to_string(),
                source,
            })?;
        }
        Ok(())
    }
}

/// Opens a disk for writing, for nobody else meanwhile.
///
/// # Errors
/// Somebody has it, a mount or a pool.
pub fn open_alone(disk: &Disk) -> io::Result<File> {
    // Of a block device, O_EXCL means that nobody else has it, a mount or a pool included (open(2)).
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL)
        .open(Path::new("/dev").join(&disk.name))
}

/// The disks of the machine, with what is on them; one that fails among them.
pub fn candidates(documents: &[Document]) -> Vec<Candidate> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let disks = Topology::read(Path::new("/")).disks.into_iter();
    // A drive without a medium is no disk.
    let disks = disks.filter(|disk| disk.size > 0);
    disks
        .map(|disk| {
            let contents = look(&disk).unwrap_or_else(Contents::from);
            Candidate {
                mounted: select::mounts(&mounts, &disk.name),
                boot: is_config_on(&disk.name, documents) || is_loader_on(&contents),
                contents,
                disk,
            }
        })
        .collect()
}

fn look(disk: &Disk) -> io::Result<Contents> {
    let file = File::open(Path::new("/dev").join(&disk.name))?;
    Contents::read(&storage::Disk::new(file, disk.logical_sector.into())?)
}

/// Whether a document in force came from the disk or a partition of it.
fn is_config_on(disk: &str, documents: &[Document]) -> bool {
    documents.iter().any(|document| match &document.source {
        Source::Volume(device) => !select::mounts(&format!("{device} /"), disk).is_empty(),
        Source::Default | Source::Installed(_) | Source::CommandLine(_) => false,
    })
}

/// Whether the loader that started the machine is on the disk.
fn is_loader_on(contents: &Contents) -> bool {
    let loader = loader::partition()
        .map(str::trim)
        .and_then(|guid| Uuid::try_parse(guid).ok());
    loader.is_some_and(|guid| contents.partitions.iter().any(|p| p.guid == guid.as_u128()))
}

/// The kernel arguments of the installed node: those of this boot that are not about this boot, and those that the boot profile of
/// its config wants, so that its first start needs no second one. They name the partition `esp`, on which the slot is.
fn options(cmdline: &CommandLine, config: &str, esp: u128) -> String {
    let kept = cmdline
        .iter()
        .filter(|param| !LEFT_OUT.iter().any(|key| param.is(key)));
    let esp = Param::new(started::ARGUMENT, Some(&started::text(esp)));
    let line = cmdline.with_params(kept.cloned().chain(esp).collect());
    let effective = resolve(&[Document {
        source: Source::Installed(perform::CONFIG.to_owned()),
        text: config.to_owned(),
    }]);
    let declaration = Declaration::of_effective(&effective);
    if Resolved::is_off(&declaration, &line) {
        return line.to_string();
    }
    let resolved = Resolved::of(&Topology::read(Path::new("/")), &declaration, &line);
    compose(&line, &resolved.plan).line.to_string()
}

/// An identifier for a disk.
///
/// # Errors
/// The kernel gives none.
pub fn guid() -> Result<u128, Error> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|_| Error::Guid)?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).map_err(|_| Error::Guid)
}

#[cfg(test)]
mod tests;

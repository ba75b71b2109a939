//! The unattended installer: `axion.mode=install`.
//!
//! ```text
//! config ─ disks ─ the one that is meant ─ image from this initramfs ─ plan on every console ─ write ─ reboot or power off
//! ```
//! Everything that can be known is checked before the first write. What is installed is what runs: kernel and initramfs are the
//! ones of this boot, whatever medium or network they came from, and the installed config is the one in force.

mod image;

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use axion_core::cmdline::CommandLine;
use axion_core::config::{
    AfterInstall, Document, Effective, FailureAction, Install, Source, in_one, resolve,
};
use axion_core::profile::{Declaration, Resolved, compose};
use axion_core::secure_boot::SecureBoot;
use axion_core::topology::{Disk, Topology};
use axion_install::bios;
use axion_install::esp::Update;
use axion_install::inspect;
use axion_install::perform::{self, Installation, Progress};
use axion_install::plan::{Plan, summary};
use axion_install::select::{self, Candidate, Contents, SelectError};
use axion_install::storage;

use crate::clock;
use crate::failure::{self, Failure, chain};
use crate::handover::Handover;
use crate::log::Log;
use crate::{power, sys};

/// What asks for the installer.
const MODE: &str = "axion.mode";
/// How long a disk is waited for.
const SETTLE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(200);
/// How long the end is shown.
const FAREWELL: Duration = Duration::from_secs(5);
/// Parameters of this boot that an installed node does not start with.
const LEFT_OUT: [&str; 8] = [
    MODE,
    "axion.config",
    "axion.kexec",
    "axion.slot",
    "BOOT_IMAGE",
    "initrd",
    "rdinit",
    "rootfstype",
];
const CHUNK: usize = 1 << 20;

/// Nothing, or not everything, was installed.
#[derive(Debug, thiserror::Error)]
enum Error {
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
    Image(#[from] image::ImageError),
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

/// Installs, and leaves the machine as the config says. It comes back only when nothing could be installed.
///
/// # Errors
/// The cause, and what an operator can do.
pub fn run(cmdline: &CommandLine, handover: &Handover, log: &Log) -> Result<Infallible, Failure> {
    let mut effective = resolve(&handover.documents());
    effective.rejected.extend(handover.rejected.iter().cloned());
    let mut screen = Screen {
        terminals: failure::open_terminals(),
        log,
    };
    match install(cmdline, handover, &effective, &mut screen) {
        Ok(()) => leave(effective.config.install.after, &mut screen),
        Err(error) => Err(Failure {
            task: "install Axion".to_owned(),
            cause: chain(&error),
            next_step: "correct [install] in the machine config or choose another disk, and start the installer again"
                .to_owned(),
            boot: effective.config.boot,
        }),
    }
}

fn leave(after: AfterInstall, screen: &mut Screen<'_>) -> ! {
    let (words, action) = match after {
        AfterInstall::Reboot => ("Rebooting", FailureAction::Reboot),
        AfterInstall::PowerOff => ("Powering off", FailureAction::PowerOff),
    };
    screen.say(&format!("{words}; take the medium out.\n"));
    sys::pause(FAREWELL);
    power::last_resort(action)
}

/// Every console, and the log.
struct Screen<'a> {
    terminals: Vec<File>,
    log: &'a Log,
}

impl Screen<'_> {
    fn say(&mut self, text: &str) {
        failure::say(&mut self.terminals, &text.replace('\n', "\r\n"));
    }
}

fn install(
    cmdline: &CommandLine,
    handover: &Handover,
    effective: &Effective,
    screen: &mut Screen<'_>,
) -> Result<(), Error> {
    let config = &effective.config.install;
    if let Some(rejected) = effective.rejected.first() {
        let line = rejected.line.map(|n| format!(" line {n}")).unwrap_or_default();
        return Err(Error::Config(format!(
            "{}{line}: {}",
            rejected.source, rejected.message
        )));
    }
    let documents = handover.documents();
    let candidate = wait_for_disk(config, &documents)?;
    let name = candidate.to_string();
    if !Path::new("/sys/firmware/efi").exists() {
        bios::check(&name, candidate.disk.logical_sector.into())?;
    }
    let image = image::Image::gather()?;
    if SecureBoot::read(Path::new("/")).is_on() && !image.is_signed() {
        return Err(Error::NotSigned);
    }
    let uki = image.assemble()?;
    let text = in_one(&documents, "install");
    let update = Update {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        size: u64::try_from(uki.len()).unwrap_or(0),
        digest: inspect::digest(&uki),
        options: options(cmdline, &text),
    };
    let plan = Plan::of(&candidate, config.pool, guid()?);
    let shown = summary(&candidate, &plan, &update.version, &effective.config.hostname);
    screen.log.info(&format!("installing on {name}"));
    screen.say(&format!("\n{}\n  arguments   {}\n\n", shown.text, update.options));

    let device = Path::new("/dev").join(&candidate.disk.name);
    // Of a block device, O_EXCL means that nobody else has it, a mount included (open(2)).
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL)
        .open(&device)
        .map_err(|e| Error::Busy(name.clone(), e))?;
    let sector = u64::from(candidate.disk.logical_sector);
    let disk = storage::Disk::new(file, sector).map_err(|e| Error::Disk(name.clone(), e))?;
    let what = Installation {
        loader: image.loader(),
        bios: image.grub()?,
        image: &update,
        config: &text,
        chunk: CHUNK,
    };
    let began = clock::since_start();
    let mut bar = Bar::new(update.size);
    let written = perform::install(&disk, &plan, &what, &mut uki.as_slice(), &mut |progress| {
        if let Some(text) = bar.show(progress) {
            screen.say(&text);
        }
    });
    written.map_err(|source| Error::Write {
        disk: name.clone(),
        source,
    })?;
    let took = clock::since_start().saturating_sub(began);
    screen
        .log
        .info(&format!("installed on {name} in {} ms", took.as_millis()));
    screen.say(&format!("\nAxion {} is installed on {name}.\n", update.version));
    Ok(())
}

/// The disk that is meant; one that has not come up yet is waited for.
fn wait_for_disk(config: &Install, documents: &[Document]) -> Result<Candidate, Error> {
    let end = clock::since_start() + SETTLE;
    loop {
        let candidates = candidates(documents)?;
        match select::select(&candidates, config) {
            Ok(candidate) => return Ok(candidate.clone()),
            Err(SelectError::None(_)) if clock::since_start() < end => sys::pause(STEP),
            Err(error) => return Err(error.into()),
        }
    }
}

fn candidates(documents: &[Document]) -> Result<Vec<Candidate>, Error> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let disks = Topology::read(Path::new("/")).disks.into_iter();
    // A drive without a medium is no disk.
    let disks = disks.filter(|disk| disk.size > 0);
    disks
        .map(|disk| {
            let contents = look(&disk).map_err(|e| Error::Disk(disk.name.clone(), e))?;
            Ok(Candidate {
                mounted: select::mounts(&mounts, &disk.name),
                boot: is_config_on(&disk.name, documents),
                contents,
                disk,
            })
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

/// The kernel arguments of the installed node: those of this boot that are not about this boot, and those that the boot profile of
/// its config wants, so that its first start needs no second one.
fn options(cmdline: &CommandLine, config: &str) -> String {
    let kept = cmdline
        .iter()
        .filter(|param| !LEFT_OUT.iter().any(|key| param.is(key)));
    let line = cmdline.with_params(kept.cloned().collect());
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

/// An identifier for the disk.
fn guid() -> Result<u128, Error> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|_| Error::Guid)?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).map_err(|_| Error::Guid)
}

/// A line that grows.
struct Bar {
    total: u64,
    written: u64,
    /// Percent that were shown last.
    shown: u64,
}

impl Bar {
    const WIDTH: u64 = 40;

    const fn new(total: u64) -> Self {
        Self {
            total,
            written: 0,
            shown: 0,
        }
    }

    /// What is to be shown next, if anything.
    fn show(&mut self, progress: Progress) -> Option<String> {
        match progress {
            Progress::Step(what) => Some(format!("{what}\n")),
            Progress::Bytes(bytes) => {
                self.written += bytes;
                let percent = (self.written * 100).checked_div(self.total).unwrap_or(100);
                if percent == self.shown {
                    return None;
                }
                self.shown = percent;
                let full = percent * Self::WIDTH / 100;
                let bar: String = (0..Self::WIDTH)
                    .map(|n| if n < full { '#' } else { '.' })
                    .collect();
                let end = if percent >= 100 { "\n" } else { "" };
                Some(format!("\r  [{bar}] {percent:3} %{end}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;

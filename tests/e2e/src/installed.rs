//! An installed disk, made here of the media's UKI in seconds: what the installer writes, without the machine that runs it. And
//! images for it: of other versions, signed by whom one likes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use axion_install::bios;
use axion_install::esp::{Esp, Note, Update};
use axion_install::fat::Volume;
use axion_install::inspect::{self, Inspection};
use axion_install::perform::{Installation, install};
use axion_install::plan::{Plan, Sizes};
use axion_install::slot::Slot;
use axion_install::storage::{Disk, Part};
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Machine, Spec};
use minisign::KeyPair;
use sha2::{Digest as _, Sha256};

/// The layout needs little more than 2 GiB.
const DISK_MIB: u64 = 3072;
const SECTOR: u64 = 512;
/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;
/// Kernel arguments of the installed slot: those of the lab, and no waiting behind a panic.
pub const ARGUMENTS: &str = "console=ttyS1 axion.log=ttyS1 no_timer_check panic=1";
/// The version of the installed slot.
pub const VERSION: &str = "0.1.0";

/// A key that signs updates.
pub struct Signer(KeyPair);

impl Signer {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new() -> Result<Self> {
        Ok(Self(KeyPair::generate_unencrypted_keypair()?))
    }

    /// The line of a machine config that trusts it.
    pub fn config(&self) -> String {
        format!("update.keys = [\"{}\"]\n", self.0.pk.to_base64())
    }

    /// Writes an image with its signature into `dir`; gives the image's path.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path, name: &str, image: &[u8]) -> Result<PathBuf> {
        let path = dir.join(name);
        fs::write(&path, image)?;
        let signature = minisign::sign(Some(&self.0.pk), &self.0.sk, image, None, None)?;
        fs::write(dir.join(format!("{name}.minisig")), signature.into_string())?;
        Ok(path)
    }
}

/// The media's UKI as another version, of as many characters.
///
/// # Errors
/// There are no media, or they do not say their version.
pub fn uki(version: &str) -> Result<Vec<u8>> {
    as_version(&fs::read(Image::find()?.medium("axion.efi")?)?, version)
}

/// A UKI of the media as another version, of as many characters.
///
/// # Errors
/// It does not say its version.
pub fn as_version(uki: &[u8], version: &str) -> Result<Vec<u8>> {
    let mut image = uki.to_vec();
    let own = format!("VERSION_ID={VERSION}\n");
    let other = format!("VERSION_ID={version}\n");
    ensure!(
        own.len() == other.len(),
        "{version} is longer or shorter than {VERSION}"
    );
    let at = image.windows(own.len()).position(|part| part == own.as_bytes());
    let at = at.context("the media's UKI does not say its version")?;
    image
        .get_mut(at..at + other.len())
        .context("the version is cut off")?
        .copy_from_slice(other.as_bytes());
    Ok(image)
}

/// A disk in `dir` with `config` and the media's UKI in slot a.
///
/// # Errors
/// There are no media, or the disk cannot be written.
pub fn disk(dir: &Path, config: &str) -> Result<PathBuf> {
    disk_of(dir, config, &uki(VERSION)?, VERSION)
}

/// A disk in `dir` with `config` and this UKI in slot a.
///
/// # Errors
/// There are no media, or the disk cannot be written.
pub fn disk_of(dir: &Path, config: &str, uki: &[u8], version: &str) -> Result<PathBuf> {
    let path = dir.join("disk.img");
    write(&path, 0x6178_696f_6e00, config, uki, version)?;
    Ok(path)
}

/// A disk in `dir` that is left over of another node: the same image, with a config of its own.
///
/// # Errors
/// There are no media, or the disk cannot be written.
pub fn left_over(dir: &Path, config: &str) -> Result<PathBuf> {
    let path = dir.join("left-over.img");
    write(&path, 0x6178_696f_6f00, config, &uki(VERSION)?, VERSION)?;
    Ok(path)
}

fn write(path: &Path, guid: u128, config: &str, mut uki: &[u8], version: &str) -> Result<()> {
    let size = DISK_MIB << 20;
    File::create(path)?.set_len(size)?;
    let plan = Plan::fresh(size, Sizes::for_sector(SECTOR), guid);
    let image = Update {
        version: version.to_owned(),
        size: u64::try_from(uki.len())?,
        digest: inspect::digest(uki),
        options: ARGUMENTS.to_owned(),
    };
    let [boot_code, core] = Image::find()?.grub()?;
    let (boot_code, core) = (fs::read(boot_code)?, fs::read(core)?);
    let what = Installation {
        loader: &fs::read(Image::find()?.loader()?)?,
        bios: bios::Loader::new(&boot_code, &core)?,
        image: &image,
        config,
        mirror: None,
        chunk: CHUNK,
    };
    let disk = open(path)?;
    install(&disk, &plan, &what, &mut uki, &mut |_| {})?;
    Ok(())
}

/// An installed disk, to be looked at.
///
/// # Errors
/// There is none.
pub fn open(disk: &Path) -> Result<Disk> {
    let file = File::options().read(true).write(true).open(disk)?;
    Ok(Disk::new(file, SECTOR)?)
}

/// What the loader would find.
///
/// # Errors
/// Nothing would start.
pub fn look(disk: &Path) -> Result<Inspection> {
    Ok(inspect::inspect(&open(disk)?)?)
}

/// Digest of everything on the EFI system partition.
///
/// # Errors
/// There is none.
pub fn esp_digest(disk: &Path) -> Result<axion_install::Digest> {
    let esp = inspect::esp(&open(disk)?)?;
    let mut file = File::open(disk)?;
    file.seek(SeekFrom::Start(esp.start))?;
    let mut file = file.take(esp.length);
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(chunk.get(..read).unwrap_or_default());
    }
}

/// Writes the media's UKI as another version to slot b, with kernel arguments of one's own.
///
/// # Errors
/// The disk cannot be written.
pub fn stage(disk: &Path, version: &str, arguments: &str) -> Result<()> {
    stage_image(disk, &uki(version)?, version, arguments)
}

/// Writes an image to slot b as the node would.
///
/// # Errors
/// The disk cannot be written.
pub fn stage_image(disk: &Path, image: &[u8], version: &str, arguments: &str) -> Result<()> {
    let disk = open(disk)?;
    let esp = inspect::esp(&disk)?;
    let esp = Esp::new(Volume::open(Part::new(&disk, esp.start, esp.length))?);
    let update = Update {
        version: version.to_owned(),
        size: u64::try_from(image.len())?,
        digest: inspect::digest(image),
        options: arguments.to_owned(),
    };
    let mut content = image;
    let slot = esp.stage(Some(Slot::A), &update, &mut content, &mut |_| {})?;
    ensure!(slot == Slot::B, "the update went to slot {slot}");
    // Of a node that had nothing, so that nothing is missed, and before any crash.
    esp.set_note(slot, Note::Before, "{}")?;
    Ok(())
}

/// A UEFI machine that starts from the disk.
///
/// # Errors
/// It does not start.
pub fn start(spec: Spec, disk: impl Into<DiskContent>) -> Result<Machine> {
    start_beside(spec, disk, &[])
}

/// The same, with other disks beside it.
///
/// # Errors
/// It does not start.
pub fn start_beside(spec: Spec, disk: impl Into<DiskContent>, others: &[&Path]) -> Result<Machine> {
    let spec = spec.uefi().boot_from_disks().disk(DiskBus::Nvme, disk);
    let spec = others
        .iter()
        .fold(spec, |spec, disk| spec.disk(DiskBus::Nvme, *disk));
    Ok(spec.start(&Image::find()?)?)
}

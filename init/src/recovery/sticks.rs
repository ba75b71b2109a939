//! USB sticks that a support bundle can be written to.
//!
//! A stick is a disk that can be unplugged, with a FAT file system on it or on one of its partitions. A disk
//! that the node is installed on, that has a pool, or that something uses is none, whatever bus it hangs on. The stick that the
//! node was started from is one: its `AXION-CFG` volume is there to be read elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use axion_api::problem::{Kind, Problem};
use axion_api::recovery::Stick;
use axion_core::topology::{Disk, Topology};
use axion_install::plan::NAMES;
use axion_install::table;
use axion_storage::contents;
use nix::mount::{MntFlags, MsFlags, umount2};

use crate::failure::chain;
use crate::mounts::Mount;

/// Where a stick is mounted while it is written to.
const PLACE: &str = "/run/axion/stick";
/// Bytes of what is written at most.
const LARGEST: u64 = 64 << 20;

/// Sticks that are plugged in.
pub fn find(root: &Path) -> Vec<Stick> {
    let mut sticks = Vec::new();
    for disk in Topology::read(root).disks {
        if disk.removable && !disk.read_only && !is_the_nodes(root, &disk) {
            sticks.extend(volumes(root, &disk));
        }
    }
    sticks
}

/// Whether the node needs what is on the disk.
fn is_the_nodes(root: &Path, disk: &Disk) -> bool {
    let contents = contents::look(root, disk);
    let has_pool = contents.labels.iter().any(|(_, label)| !label.is_destroyed());
    has_pool || contents.user.is_some() || is_installed(root, disk)
}

fn is_installed(root: &Path, disk: &Disk) -> bool {
    let Ok(file) = File::open(root.join("dev").join(&disk.name)) else {
        return true;
    };
    let Ok(storage) = axion_install::storage::Disk::new(file, disk.logical_sector.into()) else {
        return true;
    };
    let partitions = table::read(&storage).unwrap_or_default();
    let [_, _, pool, _] = NAMES;
    partitions.iter().any(|partition| partition.name == pool)
}

/// FAT volumes of a disk: of its partitions, or it is one as a whole.
fn volumes(root: &Path, disk: &Disk) -> Vec<Stick> {
    let mut devices = vec![disk.name.clone()];
    let block = root.join("sys/block").join(&disk.name);
    let entries = fs::read_dir(block).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    devices.extend(names.filter(|name| name.starts_with(&disk.name)));
    devices.sort_unstable();
    let of = |device: String| {
        let (label, size) = fat(&root.join("dev").join(&device))?;
        Some(Stick {
            device,
            disk: disk.model.clone().unwrap_or_else(|| disk.name.clone()),
            serial: disk.serial.clone(),
            label,
            size,
        })
    };
    devices.into_iter().filter_map(of).collect()
}

/// Label and bytes of a FAT file system (FAT specification 1.03, "Boot Sector and BPB"); `None`: there is none.
fn fat(device: &Path) -> Option<(String, u64)> {
    let mut boot = [0; 512];
    File::open(device).ok()?.read_exact_at(&mut boot, 0).ok()?;
    parse(&boot)
}

fn parse(boot: &[u8; 512]) -> Option<(String, u64)> {
    let bytes = |at: usize, length: usize| boot.get(at..at + length);
    let short = |at: usize| Some(u16::from_le_bytes(bytes(at, 2)?.try_into().ok()?));
    let long = |at: usize| Some(u32::from_le_bytes(bytes(at, 4)?.try_into().ok()?));
    if bytes(510, 2)? != [0x55, 0xaa] {
        return None;
    }
    // The kind's name lies behind the label, in FAT32 further on.
    let at = match (bytes(54, 5)?, bytes(82, 5)?) {
        (b"FAT12" | b"FAT16", _) => 43,
        (_, b"FAT32") => 71,
        _ => return None,
    };
    let sectors = match short(19)? {
        0 => long(32)?,
        few => u32::from(few),
    };
    let label = String::from_utf8_lossy(bytes(at, 11)?).trim().to_owned();
    let label = label.chars().filter(|c| !c.is_control()).collect();
    Some((label, u64::from(sectors) * u64::from(short(11)?)))
}

/// Whether this can be the name of a file there.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !name.starts_with('.') && (1..=120).contains(&name.len()) && name.chars().all(allowed)
}

/// Writes what `content` has to the new file `name` on a stick; its bytes.
pub fn save(root: &Path, device: &str, name: &str, content: impl Read) -> Result<u64, Problem> {
    if !is_name(name) {
        let name = name.escape_debug();
        let detail = format!("`{name}` is not a file's name: a-z, A-Z, 0-9, `-` and `.`");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    if !find(root).iter().any(|stick| stick.device == device) {
        let device = device.escape_debug();
        let detail =
            format!("`{device}` is no USB stick with a FAT file system that the node does not need itself");
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let stick = Mount {
        source: "",
        target: PLACE,
        kind: "vfat",
        flags: MsFlags::MS_NODEV
            .union(MsFlags::MS_NOSUID)
            .union(MsFlags::MS_NOEXEC),
        options: "",
    };
    let place = Path::new(PLACE);
    let failed = |error: &dyn std::error::Error| Problem::new(Kind::Unavailable, chain(error));
    stick
        .perform_at(place, &format!("/dev/{device}"))
        .map_err(|error| failed(&error))?;
    let written = write(&place.join(name), content);
    // Without this, what was written is on its way for as long as the kernel likes.
    let given_back = umount2(PLACE, MntFlags::empty()).map_err(io::Error::from);
    let _ = fs::remove_dir(PLACE);
    written
        .and_then(|bytes| given_back.map(|()| bytes))
        .map_err(|error| {
            let detail = format!("cannot write {name} to {device}: {error}");
            Problem::new(Kind::Unavailable, detail)
        })
}

fn write(path: &PathBuf, content: impl Read) -> io::Result<u64> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = (|| {
        let bytes = io::copy(&mut content.take(LARGEST + 1), &mut file)?;
        if bytes == 0 || bytes > LARGEST {
            return Err(io::Error::other("nothing came, or too much"));
        }
        file.flush()?;
        file.sync_all()?;
        Ok(bytes)
    })();
    if written.is_err() {
        // A part would be taken for the whole.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests;

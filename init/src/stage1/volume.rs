//! The config volume: a FAT file system labelled `AXION-CFG` with an `axion.toml`.
//!
//! Labels are read from the block devices themselves (there is no udev): the boot sector says where the root directory
//! is, and its volume label entry wins over the copy in the boot sector, which many tools forget to change (FAT
//! specification 1.03, "Boot Sector and BPB", "FAT Directory Structure").

pub mod choice;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::sys;

/// Label of the volume.
const LABEL: &str = "AXION-CFG";
/// Devices that never carry it.
const SKIPPED: [&str; 5] = ["loop", "ram", "zram", "nbd", "dm-"];
/// How long devices are waited for that the kernel has found and not finished with.
pub const SETTLE: Duration = Duration::from_secs(5);
pub const STEP: Duration = Duration::from_millis(20);

/// Names of the block devices that hold a config volume: `sda1`. Waits for storage that is still starting, unless what is there is
/// `enough`; never for storage that may not exist.
pub fn find(root: &Path, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let end = clock::since_start() + SETTLE;
    loop {
        // Asked first: a disk that comes up meanwhile is looked at in the next round.
        let settling = is_settling(root);
        let scan = scan(root);
        if enough(&scan.found) || !(settling || scan.incomplete) || clock::since_start() >= end {
            return scan.found;
        }
        sys::pause(STEP);
    }
}

/// A look at all block devices.
struct Scan {
    /// Those that hold a config volume.
    found: Vec<String>,
    /// Another look may show more: a disk is in the list before it can be opened (ENXIO), and its partitions are there only
    /// once somebody has opened it.
    incomplete: bool,
}

fn scan(root: &Path) -> Scan {
    let names = devices(root);
    let (mut found, mut incomplete) = (Vec::new(), false);
    for name in &names {
        match File::open(root.join("dev").join(name)) {
            Ok(device) if serial(&device).is_some() => found.push(name.clone()),
            Ok(_) => {}
            Err(e) => incomplete |= e.raw_os_error() == Some(libc::ENXIO),
        }
    }
    incomplete |= devices(root) != names;
    Scan { found, incomplete }
}

fn devices(root: &Path) -> Vec<String> {
    let mut names = entries(&root.join("sys/class/block"));
    names.retain(|name| !SKIPPED.iter().any(|prefix| name.starts_with(prefix)));
    names.sort();
    names
}

/// Whether a disk is on its way: an NVMe controller that is not live yet, or USB storage without its disk.
pub fn is_settling(root: &Path) -> bool {
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let nvme = root.join("sys/class/nvme");
    let nvme_starting = entries(&nvme).into_iter().any(|name| {
        matches!(
            text(&nvme.join(name).join("state")).trim(),
            "new" | "resetting" | "connecting"
        )
    });
    let usb = root.join("sys/bus/usb/devices");
    let usb_starting = entries(&usb).into_iter().any(|name| {
        let interface = usb.join(name);
        let storage = text(&interface.join("bInterfaceClass")).trim() == "08";
        storage && !has_disk(&interface)
    });
    nvme_starting || usb_starting
}

/// Whether a SCSI disk has come up below a USB interface: `host0/target0:0:0/0:0:0:0/block`.
fn has_disk(interface: &Path) -> bool {
    let below = |path: std::path::PathBuf, prefix: &str| {
        let names = entries(&path)
            .into_iter()
            .filter(|n| n.starts_with(prefix))
            .collect::<Vec<_>>();
        names.into_iter().map(move |n| path.join(n)).collect::<Vec<_>>()
    };
    let targets = below(interface.to_owned(), "host")
        .into_iter()
        .flat_map(|host| below(host, "target"));
    targets
        .flat_map(|target| below(target, ""))
        .any(|device| device.join("block").exists())
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect()
}

/// Serial number of the config volume on a device, which tells it from another one that has taken its name; 0: it was made without
/// one. `None`: there is no config volume.
pub fn serial(device: &File) -> Option<u32> {
    let (label, serial) = read_identity(device)?;
    (label == LABEL).then_some(serial)
}

fn read_identity(device: &File) -> Option<(String, u32)> {
    let mut sector = [0; 512];
    device.read_exact_at(&mut sector, 0).ok()?;
    let volume = FatVolume::parse(&sector)?;
    let mut directory = vec![0; volume.root_size];
    // A small volume may end before a whole cluster.
    let length = device.read_at(&mut directory, volume.root_at).unwrap_or_default();
    directory.truncate(length);
    Some((label_entry(&directory).unwrap_or(volume.label), volume.serial))
}

/// What a FAT boot sector says.
#[derive(Debug, PartialEq, Eq)]
struct FatVolume {
    label: String,
    /// 0: it has none.
    serial: u32,
    /// Byte offset of the root directory.
    root_at: u64,
    /// Bytes of it that are looked at: labels come early.
    root_size: usize,
}

/// Bytes of the root directory that are searched for a label.
const ROOT_BYTES: usize = 4096;
const ENTRY: usize = 32;

impl FatVolume {
    fn parse(sector: &[u8; 512]) -> Option<Self> {
        let byte = |at: usize| sector.get(at).copied();
        let u16_at = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
        let u32_at = |at: usize| {
            Some(u32::from_le_bytes([
                byte(at)?,
                byte(at + 1)?,
                byte(at + 2)?,
                byte(at + 3)?,
            ]))
        };
        if u16_at(510)? != 0xaa55 {
            return None;
        }
        let sector_size = u64::from(u16_at(11)?);
        let cluster = u64::from(byte(13)?);
        let fats = u64::from(byte(16)?);
        let sane = matches!(sector_size, 512 | 1024 | 2048 | 4096)
            && cluster.is_power_of_two()
            && (1..=2).contains(&fats);
        if !sane {
            return None;
        }
        let reserved = u64::from(u16_at(14)?);
        let small_fat = u64::from(u16_at(22)?);
        let (fat_size, label_at) = if small_fat == 0 {
            (u64::from(u32_at(36)?), 71)
        } else {
            (small_fat, 43)
        };
        // FAT32 has its root directory in clusters, counted from 2; the others right behind the FATs.
        let first = if small_fat == 0 {
            u64::from(u32_at(44)?).checked_sub(2)?.checked_mul(cluster)?
        } else {
            0
        };
        let data = reserved.checked_add(fats.checked_mul(fat_size)?)?;
        let root_at = data.checked_add(first)?.checked_mul(sector_size)?;
        // 0x29: the boot sector has a serial number and a label at all.
        let signature = byte(label_at - 5)?;
        let (label, serial) = if signature == 0x29 {
            (text(sector.get(label_at..label_at + 11)?), u32_at(label_at - 4)?)
        } else {
            (String::new(), 0)
        };
        Some(Self {
            label,
            serial,
            root_at,
            root_size: ROOT_BYTES,
        })
    }
}

/// The volume label in a root directory: the first entry that has the label attribute alone.
fn label_entry(directory: &[u8]) -> Option<String> {
    const DELETED: u8 = 0xe5;
    const ATTRIBUTE: usize = 11;
    let entries = directory
        .chunks_exact(ENTRY)
        .take_while(|e| e.first() != Some(&0));
    let is_label =
        |e: &&[u8]| e.first() != Some(&DELETED) && e.get(ATTRIBUTE).is_some_and(|a| a & 0x3f == 0x08);
    entries
        .into_iter()
        .find(is_label)
        .and_then(|e| e.get(..11))
        .map(text)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches([' ', '\0'])
        .to_owned()
}

#[cfg(test)]
mod tests;

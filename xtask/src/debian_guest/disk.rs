//! The guest's disk, laid out as Debian's cloud images are: what firmware would need has the high numbers and lies first, so that
//! the root, which is partition 1, is last and can grow.
//!
//! ```text
//! 14 BIOS boot partition, empty │ 15 EFI system partition: FAT, empty │ 1 root: ext4, to the end
//! ```

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::layout;
use crate::media::fat::Volume;
use crate::step::Step;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Partitions start at multiples of so many bytes, and the backup of the table has as many at the end.
const ALIGNMENT: u64 = 1 << 20;
/// Bytes of the EFI system partition.
const ESP_BYTES: u64 = 8 << 20;
/// Most bytes of the root.
const MOST: u64 = 1 << 30;
/// GUID of the disk; those of its partitions follow it, as `etc/fstab` has them.
const DISK_GUID: u128 = 0x6178_696f_6e00_4000_8000_6465_6260_0000;
/// Number of the root.
const ROOT: u32 = 1;
/// Number of the EFI system partition.
const ESP: u32 = 15;

/// A partition to be made.
struct Partition {
    number: u32,
    name: &'static str,
    /// GUID of its type (Discoverable Partitions Specification; UEFI 2.10, table 5.7).
    kind: &'static str,
    /// First byte.
    start: u64,
    /// Bytes.
    size: u64,
}

/// Writes the disk with the tree at `root`.
pub fn make(step: &Step, root: &Path, disk: &Path) -> Result<()> {
    let partitions = partitions(size_for(root)?);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(disk)
        .with_context(|| format!("creating {}", disk.display()))?;
    file.set_len(bytes(&partitions))?;
    write_table(step, root, disk, &partitions)?;
    let [_, esp, root_at] = &partitions;
    let volume = Volume {
        label: *b"ESP        ",
        id: 0x4445_4249,
        bytes: esp.size,
    };
    file.write_all_at(&volume.build(&[])?, esp.start)
        .context("writing the EFI system partition")?;
    make_root(step, root, disk, root_at)
}

/// Bytes of an ext4 file system with the tree, and some room.
fn size_for(root: &Path) -> Result<u64> {
    let sizes = walkdir::WalkDir::new(root).into_iter().filter_map(|entry| {
        let data = entry.ok()?.metadata().ok()?;
        // Blocks of 4 KiB, and an inode.
        Some(data.len().next_multiple_of(4096) + 512)
    });
    let size = (sizes.sum::<u64>() + (24 << 20)).next_multiple_of(8 << 20);
    ensure!(
        size < MOST,
        "the Debian guest has {size} bytes: something large has come with its packages"
    );
    Ok(size)
}

fn partitions(root_bytes: u64) -> [Partition; 3] {
    let bios = Partition {
        number: 14,
        name: "bios",
        kind: "21686148-6449-6E6F-744E-656564454649",
        start: ALIGNMENT,
        size: ALIGNMENT,
    };
    let esp = Partition {
        number: ESP,
        name: "esp",
        kind: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        start: bios.start + bios.size,
        size: ESP_BYTES,
    };
    let root = Partition {
        number: ROOT,
        name: "root",
        kind: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
        start: esp.start + esp.size,
        size: root_bytes,
    };
    [bios, esp, root]
}

/// Bytes of a disk with these partitions.
fn bytes(partitions: &[Partition]) -> u64 {
    let end = partitions
        .iter()
        .map(|partition| partition.start + partition.size)
        .max();
    end.unwrap_or(0) + ALIGNMENT
}

/// What sfdisk is told.
fn script(partitions: &[Partition]) -> String {
    let guid = |number: u32| uuid::Uuid::from_u128(DISK_GUID + u128::from(number));
    let mut text = format!("label: gpt\nlabel-id: {}\nunit: sectors\n", guid(0));
    for at in partitions {
        let (number, start, size) = (at.number, at.start / SECTOR, at.size / SECTOR);
        let (kind, guid, name) = (at.kind, guid(number), at.name);
        text.push_str(&format!(
            "{number} : start={start}, size={size}, type={kind}, uuid={guid}, name={name}\n"
        ));
    }
    text
}

/// Writes the table by the tree's own sfdisk: what writes tables elsewhere here numbers partitions as they come.
fn write_table(step: &Step, root: &Path, disk: &Path, partitions: &[Partition]) -> Result<()> {
    let told = disk.with_extension("sfdisk");
    fs::write(&told, script(partitions)).with_context(|| format!("writing {}", told.display()))?;
    let mut sfdisk = Command::new("sh");
    sfdisk
        .args(["-c", "told=$1; shift; exec \"$@\" < \"$told\"", "sh"])
        .arg(&told)
        .arg(root.join("usr/lib64/ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(root.join("usr/lib/x86_64-linux-gnu"))
        .arg(root.join("usr/sbin/sfdisk"))
        .args(["--quiet", "--no-tell-kernel", "--lock=no"])
        .arg(disk);
    step.run(&mut sfdisk)?;
    fs::remove_file(&told).with_context(|| format!("removing {}", told.display()))
}

/// Makes the root in its place. It grows while it is mounted, for which ext4 keeps room in its first group.
fn make_root(step: &Step, root: &Path, disk: &Path, at: &Partition) -> Result<()> {
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F", "-L", "root", "-m", "0", "-O", "^has_journal"]);
    command.args(["-N", "24576", "-U", "6178696f-6e00-4000-8000-646562676573"]);
    let start = at.start;
    command.arg("-E").arg(format!(
        "hash_seed=6178696f-6e00-4000-8000-646562676573,lazy_itable_init=0,offset={start}"
    ));
    command.arg("-d").arg(root).arg(disk);
    command.arg(format!("{}k", at.size / 1024));
    command.env("E2FSPROGS_FAKE_TIME", layout::SOURCE_DATE_EPOCH.to_string());
    step.run(&mut command)
}

#[cfg(test)]
mod tests;

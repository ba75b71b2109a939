//! What is on a disk: nothing, or something that somebody could miss.
//!
//! A disk is **empty** if it has no partition table, no mark of a file system or volume manager, and no label of a pool, and
//! nobody has it open. A disk that was given a table for a pool which was then not made (power cut in between) has one
//! partition of ours without a label: that is empty too.
//!
//! A pool bears sectors that cannot be read: its label is there four times. So each copy is read by itself, and what could not be
//! read is remembered, as nobody knows what is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use axion_core::topology::Disk;

use crate::label::{LABEL, Label, has_uberblock};
use crate::signature;
use crate::table;

/// Bytes that are read at each end of a device.
const END: u64 = 1 << 20;

/// The two ends of a device.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// Bytes of the device.
    pub size: u64,
    /// Its first bytes, [`END`] at most.
    pub head: Vec<u8>,
    /// Its last bytes, as many.
    pub tail: Vec<u8>,
    /// Why some of these bytes could not be read; they are zeros then.
    pub unreadable: Option<String>,
}

/// What is on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// What is there, for people: `partition table (GPT)`, `ext2, ext3 or ext4 on sda1`.
    pub found: Vec<String>,
    /// Labels of pools: device node (`nvme0n1p1`), label.
    pub labels: Vec<(String, Label)>,
    /// Who uses it now: `mounted at /boot`, `part of md0`.
    pub user: Option<String>,
    /// Some of it could not be read ([`Self::found`] says what), so that a pool may be there which is not among the labels.
    pub unreadable: bool,
}

impl Contents {
    /// Nothing is there that anybody could miss.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.labels.is_empty() && self.user.is_none()
    }

    /// What is there, for people.
    pub fn describe(&self) -> Vec<String> {
        let pools = self.labels.iter().map(|(node, label)| {
            let destroyed = if label.is_destroyed() { "destroyed " } else { "" };
            format!("{destroyed}pool {} on {node}", label.pool)
        });
        let mut all: Vec<String> = pools.collect();
        all.extend(self.found.iter().cloned());
        all.extend(self.user.iter().cloned());
        all.dedup();
        all
    }
}

/// The labels of a pool in a device's ends; the newest, and whether there are remains of one.
fn labels(ends: &Ends) -> (Option<Label>, bool) {
    let size = usize::try_from(LABEL).unwrap_or(usize::MAX);
    // The two at the end are where a whole number of labels ends.
    let unaligned = usize::try_from(ends.size % LABEL).unwrap_or_default();
    let tail = ends
        .tail
        .get(..ends.tail.len().saturating_sub(unaligned))
        .unwrap_or_default();
    let last = tail
        .len()
        .checked_sub(2 * size)
        .and_then(|at| tail.get(at..))
        .unwrap_or_default();
    let first = ends.head.get(..2 * size).unwrap_or_default();
    let copies: Vec<&[u8]> = [first, last]
        .into_iter()
        .flat_map(|pair| pair.chunks_exact(size))
        .collect();
    let newest = copies
        .iter()
        .filter_map(|copy| Label::read(copy))
        .max_by_key(|label| label.txg);
    let remains = copies.iter().any(|copy| has_uberblock(copy));
    (newest, remains)
}

/// What is on a device, without looking at its partitions.
pub fn of_device(node: &str, ends: &Ends, sector: u32) -> Contents {
    let sector = usize::try_from(sector).unwrap_or(512);
    let (label, remains) = labels(ends);
    let mut found: Vec<String> = Vec::new();
    if signature::is_gpt(&ends.head, &ends.tail, sector) {
        found.push(format!("partition table (GPT) on {node}"));
    } else if signature::is_mbr(&ends.head) {
        found.push(format!("partition table (MBR) on {node}"));
    }
    let marks = signature::at_start(&ends.head);
    found.extend(marks.into_iter().map(|name| format!("{name} on {node}")));
    if label.is_none() && remains {
        found.push(format!("remains of a pool on {node}"));
    }
    if let Some(why) = &ends.unreadable {
        found.push(format!("{node} cannot be read: {why}"));
    }
    Contents {
        found,
        labels: label.map(|label| (node.to_owned(), label)).into_iter().collect(),
        user: None,
        unreadable: ends.unreadable.is_some(),
    }
}

/// What is on a disk and its partitions; `is_ours`: its table is one that was written for a pool and nothing else.
pub fn of_disk(whole: Contents, partitions: Vec<Contents>, is_ours: bool) -> Contents {
    let nothing_within = partitions.iter().all(Contents::is_empty) && whole.labels.is_empty();
    if is_ours && nothing_within && whole.found.len() == 1 && whole.user.is_none() {
        return Contents::default();
    }
    let mut all = whole;
    for partition in partitions {
        all.found.extend(partition.found);
        all.labels.extend(partition.labels);
        all.user = all.user.or(partition.user);
        all.unreadable |= partition.unreadable;
    }
    all
}

/// Reads the two ends of a device or file of `size` bytes.
///
/// # Errors
/// It cannot be opened.
pub fn read_ends(path: &Path, size: u64) -> io::Result<Ends> {
    let file = File::open(path)?;
    Ok(ends(size, |bytes, at| file.read_exact_at(bytes, at)))
}

/// The two ends, as `read` fills bytes from an offset on. A piece ends where a label may: one that fails takes no other with it.
fn ends(size: u64, read: impl Fn(&mut [u8], u64) -> io::Result<()>) -> Ends {
    let mut unreadable = None;
    let mut part = |from: u64| {
        let to = size.min(from + END);
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let next = to.min((at / LABEL + 1) * LABEL);
            let mut piece = vec![0; usize::try_from(next - at).unwrap_or_default()];
            if let Err(error) = read(&mut piece, at) {
                piece.fill(0);
                unreadable.get_or_insert(error.to_string());
            }
            bytes.append(&mut piece);
            at = next;
        }
        bytes
    };
    let (head, tail) = (part(0), part(size.saturating_sub(END)));
    Ends {
        size,
        head,
        tail,
        unreadable,
    }
}

/// Reads small files of sysfs.
fn read(path: PathBuf) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// A partition: its node and its size in bytes.
fn partitions(root: &Path, disk: &str) -> Vec<(String, u64)> {
    let directory = root.join("sys/block").join(disk);
    let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.path().join("partition").exists())
        .filter_map(|entry| {
            let sectors: u64 = read(entry.path().join("size"))?.parse().ok()?;
            Some((
                entry.file_name().to_string_lossy().into_owned(),
                sectors.saturating_mul(512),
            ))
        })
        .collect();
    found.sort();
    found
}

/// Who uses the device `node`, whose directory in sysfs is `directory`.
fn user(root: &Path, node: &str, directory: &Path) -> Option<String> {
    let holders = std::fs::read_dir(directory.join("holders"))
        .into_iter()
        .flatten()
        .flatten();
    if let Some(holder) = holders.map(|entry| entry.file_name()).next() {
        return Some(format!("{node} is part of {}", holder.to_string_lossy()));
    }
    let mounts = std::fs::read_to_string(root.join("proc/self/mounts")).unwrap_or_default();
    let device = format!("/dev/{node}");
    let mounted = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next() == Some(&device))
            .then(|| fields.next())
            .flatten()
            .map(str::to_owned)
    });
    if let Some(place) = mounted {
        return Some(format!("{node} is mounted at {place}"));
    }
    let swaps = std::fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    let swap = swaps
        .lines()
        .any(|line| line.split_whitespace().next() == Some(&device));
    swap.then(|| format!("{node} is swap"))
}

/// Looks at one device below `root`, whose directory in sysfs is `directory`.
fn look_at(root: &Path, node: &str, size: u64, sector: u32, directory: &Path) -> Contents {
    let mut contents = match read_ends(&root.join("dev").join(node), size) {
        Ok(ends) => of_device(node, &ends, sector),
        Err(error) => Contents {
            found: vec![format!("{node} cannot be read: {error}")],
            unreadable: true,
            ..Contents::default()
        },
    };
    contents.user = user(root, node, directory);
    contents
}

/// Looks at the partition of a disk that has this name in the disk's table: the partition's node, its size in bytes, what is on it.
pub fn look_at_part(root: &Path, disk: &Disk, name: &str) -> Option<(String, u64, Contents)> {
    let directory = root.join("sys/block").join(&disk.name);
    let line = format!("PARTNAME={name}");
    let named = |node: &str| {
        let facts = std::fs::read_to_string(directory.join(node).join("uevent"));
        facts.is_ok_and(|facts| facts.lines().any(|fact| fact == line))
    };
    let (node, size) = partitions(root, &disk.name)
        .into_iter()
        .find(|(node, _)| named(node))?;
    let contents = look_at(root, &node, size, disk.logical_sector, &directory.join(&node));
    Some((node, size, contents))
}

/// Looks at a disk below `root` (`/` on a running node). What cannot be read counts as being there.
pub fn look(root: &Path, disk: &Disk) -> Contents {
    let device =
        |node: &str, size: u64, directory: &Path| look_at(root, node, size, disk.logical_sector, directory);
    let directory = root.join("sys/block").join(&disk.name);
    let whole = device(&disk.name, disk.size, &directory);
    let parts = partitions(root, &disk.name);
    let is_ours = parts.len() <= 1 && table::is_ours(&root.join("dev").join(&disk.name), disk.logical_sector);
    let within = parts
        .iter()
        .map(|(node, size)| device(node, *size, &directory.join(node)));
    of_disk(whole, within.collect(), is_ours)
}

#[cfg(test)]
mod tests;

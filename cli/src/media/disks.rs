//! The disks of this computer: what is on each, who uses it, and whether it may be written. Pure over an injected root.
//!
//! A disk is known by its world-wide identifier, else its serial number, else that of the USB device it is, else (cheap sticks
//! have none of them) by the kernel's name for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use axion_core::topology::Topology;
use serde::Serialize;

use crate::error::Error;
use crate::render;

/// Mount points without which this computer does not run.
const SYSTEM: [&str; 8] = ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/nix", "/home"];
/// Bytes of the sectors that media are made for.
const SECTOR: u32 = 512;

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What it is called by.
    pub id: String,
    /// The kernel's name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Model.
    pub model: Option<String>,
    /// Whether it hangs on USB.
    pub usb: bool,
    /// Whether it is made to be unplugged: by its own word, or because it hangs on USB.
    pub removable: bool,
    /// Write-protected.
    pub read_only: bool,
    /// Bytes of a sector.
    pub sector: u32,
    /// Its partitions, or what fills it whole.
    pub parts: Vec<Part>,
    /// Who uses it.
    pub uses: Vec<Use>,
}

/// A partition, or the whole disk where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The kernel's name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its label: the file system's, else the partition table's.
    pub label: Option<String>,
    /// What file system it has.
    pub holds: Option<String>,
}

/// Who uses a disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// A file system, mounted here.
    Mounted(String),
    /// Swap space.
    Swap,
    /// Something that is made of it: device mapper, RAID.
    Holder(String),
}

impl Use {
    fn is_system(&self) -> bool {
        match self {
            Self::Mounted(at) => SYSTEM.contains(&at.as_str()),
            Self::Swap => true,
            Self::Holder(_) => false,
        }
    }
}

impl Disk {
    /// Size and model, in words.
    pub fn describe(&self) -> String {
        let model = self.model.as_ref().map(|model| format!(", {model}"));
        format!("{}{}", render::bytes(self.size), model.unwrap_or_default())
    }

    /// What is on it, in words.
    pub fn contents(&self) -> String {
        let words = self.parts.iter().map(|part| {
            let what = [part.label.as_deref(), part.holds.as_deref()];
            let what: Vec<_> = what.into_iter().flatten().collect();
            let what = if what.is_empty() {
                vec![part.name.as_str()]
            } else {
                what
            };
            format!("{} ({})", what.join(" "), render::bytes(part.size))
        });
        let words: Vec<_> = words.collect();
        if words.is_empty() {
            "nothing known".to_owned()
        } else {
            words.join(", ")
        }
    }

    /// How it is attached, in words.
    pub fn attached_by(&self) -> &'static str {
        match (self.usb, self.removable) {
            (true, _) => "usb",
            (false, true) => "removable",
            (false, false) => "built-in",
        }
    }

    /// Who uses it, in words.
    pub fn users(&self) -> Option<String> {
        let words = self.uses.iter().map(|user| match user {
            Use::Mounted(at) => format!("mounted on {at}"),
            Use::Swap => "swap".to_owned(),
            Use::Holder(name) => format!("part of {name}"),
        });
        let words: Vec<_> = words.collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Every disk of the computer whose `/sys`, `/proc` and `/run` are below `root`.
pub fn list(root: &Path) -> Vec<Disk> {
    let mounts = read(root, "proc/self/mountinfo");
    let swaps = read(root, "proc/swaps");
    let mut disks: Vec<Disk> = Topology::read(root)
        .disks
        .into_iter()
        .filter(|disk| disk.size > 0)
        .map(|disk| {
            let path = root.join("sys/block").join(&disk.name);
            let usb = usb_device(&path);
            let usb_serial = usb.as_ref().and_then(|device| text(&device.join("serial")));
            let id = [disk.wwid, disk.serial, usb_serial].into_iter().flatten().next();
            let mut nodes = vec![disk.name.clone()];
            let mut parts = Vec::new();
            for (name, path) in partitions(&path, &disk.name) {
                parts.push(part(root, &path, &name));
                nodes.push(name);
            }
            if parts.is_empty() {
                parts.push(part(root, &path, &disk.name));
                parts.retain(|part| part.label.is_some() || part.holds.is_some());
            }
            Disk {
                id: id.map_or_else(|| disk.name.clone(), |id| word(&id)),
                uses: uses(root, &nodes, &mounts, &swaps),
                name: disk.name,
                size: disk.size,
                model: disk.model,
                removable: disk.removable || usb.is_some(),
                usb: usb.is_some(),
                read_only: disk.read_only,
                sector: disk.logical_sector,
                parts,
            }
        })
        .collect();
    // Sticks of one batch may share a number: then it names none of them.
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for disk in &disks {
        *counts.entry(disk.id.clone()).or_default() += 1;
    }
    for disk in &mut disks {
        if counts.get(&disk.id).is_some_and(|count| *count > 1) {
            disk.id.clone_from(&disk.name);
        }
    }
    disks
}

/// An identifier as one word of a command line.
fn word(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("-")
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The USB device that a disk is: the nearest directory above it that says whose product it is.
fn usb_device(disk: &Path) -> Option<PathBuf> {
    let device = disk.join("device").canonicalize().ok()?;
    let found = device.ancestors().find(|path| path.join("idVendor").is_file());
    found.map(Path::to_owned)
}

/// Names and directories of a disk's partitions, by number.
fn partitions(disk: &Path, name: &str) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(disk).into_iter().flatten().flatten();
    let mut found: Vec<(u32, String, PathBuf)> = entries
        .filter_map(|entry| {
            let part = entry.file_name().into_string().ok()?;
            let number = text(&entry.path().join("partition"))?.parse().ok()?;
            part.starts_with(name).then(|| (number, part, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name, path)| (name, path)).collect()
}

fn part(root: &Path, path: &Path, name: &str) -> Part {
    let sectors: u64 = text(&path.join("size"))
        .and_then(|size| size.parse().ok())
        .unwrap_or(0);
    let uevent = text(&path.join("uevent")).unwrap_or_default();
    let device = text(&path.join("dev")).unwrap_or_default();
    // What udev has found on it, where there is one.
    let udev = read(root, &format!("run/udev/data/b{device}"));
    let fact = |key: &str| value(&udev, &format!("E:{key}="));
    Part {
        name: name.to_owned(),
        size: sectors.saturating_mul(512),
        label: fact("ID_FS_LABEL").or_else(|| value(&uevent, "PARTNAME=")),
        holds: fact("ID_FS_TYPE"),
    }
}

fn value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Who uses the devices `nodes`, or what is made of them.
fn uses(root: &Path, nodes: &[String], mounts: &str, swaps: &str) -> Vec<Use> {
    let mut uses = Vec::new();
    let mut open: Vec<String> = nodes.to_vec();
    let mut seen = Vec::new();
    while let Some(name) = open.pop() {
        if seen.contains(&name) {
            continue;
        }
        // Partitions lie in their disk's directory, everything has an entry here.
        let path = root.join("sys/class/block").join(&name);
        let device = text(&path.join("dev")).unwrap_or_default();
        uses.extend(mounted(mounts, &name, &device).map(Use::Mounted));
        if swaps
            .lines()
            .any(|line| line.split_whitespace().next() == Some(&format!("/dev/{name}")))
        {
            uses.push(Use::Swap);
        }
        for entry in fs::read_dir(path.join("holders")).into_iter().flatten().flatten() {
            let holder = entry.file_name().to_string_lossy().into_owned();
            uses.push(Use::Holder(holder.clone()));
            open.push(holder);
        }
        seen.push(name);
    }
    uses.sort();
    uses.dedup();
    uses
}

/// Mount points of a device in the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): by its number, and by its name, since
/// file systems over several devices have numbers of their own.
fn mounted<'a>(mounts: &'a str, name: &str, device: &str) -> impl Iterator<Item = String> + 'a {
    let (path, device) = (format!("/dev/{name}"), device.to_owned());
    mounts.lines().filter_map(move |line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ');
        let (number, point) = (fields.nth(2)?, fields.nth(1)?);
        let source = after.split(' ').nth(1)?;
        // Blanks are written in octal there.
        let point = point.replace("\\040", " ");
        (source == path || (!device.is_empty() && number == device)).then_some(point)
    })
}

/// The disk that is called `name`: by its ID, or by the kernel's name with or without `/dev/`.
pub fn choose<'a>(disks: &'a [Disk], name: &str) -> Result<&'a Disk, Error> {
    let kernel = name.strip_prefix("/dev/").unwrap_or(name);
    let by_id = disks.iter().find(|disk| disk.id == name);
    let found = by_id.or_else(|| disks.iter().find(|disk| disk.name == kernel));
    found.ok_or_else(|| {
        let part = disks
            .iter()
            .find(|disk| disk.parts.iter().any(|part| part.name == kernel));
        Error::Usage(match part {
            Some(disk) => format!(
                "{kernel} is a partition; a medium takes the whole disk, {} ({})",
                disk.name, disk.id
            ),
            None => format!("there is no disk `{name}`; `axctl media disks --all` shows them"),
        })
    })
}

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Bytes.
    pub bytes: u64,
    /// To a built-in disk, too.
    pub allow_fixed: bool,
}

/// Refuses a disk that must not be written.
pub fn check(disk: &Disk, wish: &Wish) -> Result<(), Error> {
    let refuse = |why: String| {
        Err(Error::Disk {
            name: disk.name.clone(),
            why,
        })
    };
    if disk.uses.iter().any(Use::is_system) {
        return refuse(format!(
            "this computer runs from it ({})",
            disk.users().unwrap_or_default()
        ));
    }
    if let Some(users) = disk.users() {
        return refuse(format!("it is in use: {users}"));
    }
    if disk.read_only {
        return refuse("it is write-protected".to_owned());
    }
    if disk.sector != SECTOR {
        return refuse(format!(
            "its sectors have {} bytes; media are made for {SECTOR}",
            disk.sector
        ));
    }
    if disk.size < wish.bytes {
        return refuse(format!(
            "it has {}, the medium {}",
            render::bytes(disk.size),
            render::bytes(wish.bytes)
        ));
    }
    if !disk.removable && !wish.allow_fixed {
        return refuse("it is built in; --allow-fixed writes to it all the same".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;

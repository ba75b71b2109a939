//! What is written where: the layout, what an operator is shown of it, and the token that says that they have seen it. Pure.

use axion_core::config::PoolChoice;
use sha2::{Digest as _, Sha256};

use crate::fat::Format;
use crate::select::{Candidate, Contents, human};
use crate::table::{ALIGNMENT, Kind, Partition};

/// Bytes of the ESP: room for both slots and what they grow to in ten years.
pub const ESP: u64 = 1 << 30;
/// Clusters of the config volume: FAT32 has at least 65525 (FAT specification 1.03), and a sector for each.
const CONFIG_CLUSTERS: u64 = 70_000;
/// The least that a pool is useful with.
const POOL: u64 = 1 << 30;
/// Bytes of a cluster of the ESP.
const ESP_CLUSTER: u32 = 4096;

/// First byte of the partition of a BIOS's loader: behind a table, whatever the size of the sectors, and before the first
/// partition that has a place of its own.
pub const BIOS_START: u64 = 32 << 10;

/// Names of the partitions.
pub const NAMES: [&str; 4] = ["AXION-CFG", "AXION-EFI", "AXION-POOL", "AXION-BIOS"];

/// A layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Config volume, ESP, pool, loader of a BIOS.
    pub partitions: [Partition; 4],
    /// The partition table is there, and the pool in it stays.
    pub keep: bool,
    /// GUID of the disk; those of partitions that are made follow it.
    pub guid: u128,
    /// Bytes of a cluster of the ESP.
    pub cluster: u32,
}

/// Sizes of the first two partitions.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes of the config volume.
    pub config: u64,
    /// Bytes of the ESP.
    pub esp: u64,
    /// Bytes of a cluster of the ESP.
    pub cluster: u32,
}

impl Sizes {
    /// For a disk with sectors of `sector` bytes.
    pub const fn for_sector(sector: u64) -> Self {
        Self {
            config: (CONFIG_CLUSTERS * sector).next_multiple_of(ALIGNMENT),
            esp: ESP,
            cluster: ESP_CLUSTER,
        }
    }
}

/// Bytes that a disk must have.
pub const fn needed(sector: u64) -> u64 {
    let sizes = Sizes::for_sector(sector);
    // The table and its backup.
    sizes.config + sizes.esp + POOL + 2 * ALIGNMENT
}

/// The partitions of an installation that is there, in the layout's order; `None`: the disk is not laid out so.
pub fn kept(contents: &Contents) -> Option<[Partition; 4]> {
    let [config, esp, pool, bios] = contents.partitions.as_slice() else {
        return None;
    };
    let kinds = [Kind::Basic, Kind::Esp, Kind::Pool, Kind::Bios];
    let found = [config, esp, pool, bios];
    let ours = found
        .iter()
        .zip(NAMES.iter().zip(kinds))
        .all(|(partition, (name, kind))| partition.name == *name && partition.kind == kind);
    (ours && bios.start == BIOS_START).then(|| found.map(Clone::clone))
}

impl Plan {
    /// The layout for a disk of `size` bytes.
    pub fn fresh(size: u64, sizes: Sizes, guid: u128) -> Self {
        let end = size.saturating_sub(ALIGNMENT) / ALIGNMENT * ALIGNMENT;
        let esp = ALIGNMENT + sizes.config;
        let pool = esp + sizes.esp;
        let places = [
            (Kind::Basic, ALIGNMENT, sizes.config),
            (Kind::Esp, esp, sizes.esp),
            (Kind::Pool, pool, end.saturating_sub(pool)),
            (Kind::Bios, BIOS_START, ALIGNMENT - BIOS_START),
        ];
        let mut numbers = 1..;
        let mut names = NAMES.iter();
        let partitions = places.map(|(kind, start, length)| {
            let number = numbers.next().unwrap_or(1);
            Partition {
                number,
                name: names.next().map(|name| (*name).to_owned()).unwrap_or_default(),
                kind,
                start,
                length,
                guid: guid.wrapping_add(u128::from(number)),
            }
        });
        Self {
            partitions,
            keep: false,
            guid,
            cluster: sizes.cluster,
        }
    }

    /// The layout for a disk with what is on it.
    pub fn of(candidate: &Candidate, pool: PoolChoice, guid: u128) -> Self {
        let sector = u64::from(candidate.disk.logical_sector);
        let sizes = Sizes::for_sector(sector);
        let fresh = Self::fresh(candidate.disk.size, sizes, guid);
        match kept(&candidate.contents) {
            Some(partitions) if pool == PoolChoice::Keep => Self {
                partitions,
                keep: true,
                ..fresh
            },
            _ => fresh,
        }
    }

    /// The partition that holds the slots.
    pub const fn esp(&self) -> &Partition {
        let [_, esp, ..] = &self.partitions;
        esp
    }

    /// What a format of the config volume makes.
    pub fn config_format(&self, sector: u64) -> Format {
        Format {
            label: *b"AXION-CFG  ",
            id: self.serial(0x4346),
            cluster: u32::try_from(sector).unwrap_or(512),
        }
    }

    /// What a format of the ESP makes.
    pub fn esp_format(&self) -> Format {
        Format {
            label: *b"AXION-EFI  ",
            id: self.serial(0x4546),
            cluster: self.cluster,
        }
    }

    /// A serial number that two disks do not share.
    fn serial(&self, low: u32) -> u32 {
        let [.., a, b, c, d] = self.guid.to_be_bytes();
        u32::from_be_bytes([a, b, c, d]) ^ low
    }
}

/// What is going to happen, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Lines.
    pub text: String,
    /// What the operator types: it changes with everything that the summary says.
    pub token: String,
}

/// A disk, and what is to be written to it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The disk.
    pub candidate: &'a Candidate,
    /// Its layout.
    pub plan: &'a Plan,
}

/// The summary of an image of version `version` with the host name `hostname` on `target` and, where there is to be a second disk
/// that holds the same, on `mirror`.
pub fn summary(target: Target<'_>, mirror: Option<Target<'_>>, version: &str, hostname: &str) -> Summary {
    let mut text = format!("Axion {version} is installed on\n{}", described(target));
    let mut all = format!("{:?}", target.plan);
    if let Some(mirror) = mirror {
        text.push_str(&format!(
            "\nand the same on a second disk, which the node goes on with when the first one fails,\n{}",
            described(mirror)
        ));
        all.push_str(&format!("{:?}", mirror.plan));
    }
    if !hostname.is_empty() {
        text.push_str(&format!("  host name   {hostname}\n"));
    }
    let token = token(&format!("{text}{all}"));
    Summary { text, token }
}

/// The summary of a disk that becomes the mirror of the one called `started`, in the place of the one called `replaced`.
pub fn mirror_summary(candidate: &Candidate, plan: &Plan, started: &str, replaced: Option<&str>) -> Summary {
    let place = replaced.map(|disk| format!(", in the place of {disk}"));
    let text = format!(
        "The slots and the machine config of {started} are kept on a second disk as well{},\n{}",
        place.unwrap_or_default(),
        described(Target { candidate, plan })
    );
    let token = token(&format!("{text}{plan:?}"));
    Summary { text, token }
}

/// A disk, what is on it, what becomes of that, and its new partitions.
fn described(Target { candidate, plan }: Target<'_>) -> String {
    let contents = &candidate.contents;
    let now = match (&contents.installed, contents.partitions.len()) {
        (Some(version), _) => format!("Axion {version}"),
        (None, 0) if contents.pools.is_empty() => "nothing that is known".to_owned(),
        (None, 0) => "a ZFS pool".to_owned(),
        (None, count) => format!("{count} partitions"),
    };
    let lost = if plan.keep {
        "The pool partition stays as it is; everything else on the disk is replaced."
    } else if contents.pools.is_empty() {
        "Everything on the disk is lost."
    } else {
        "Everything on the disk is lost, THE ZFS POOL ON IT TOO."
    };
    let mut text = format!("  {candidate}\nwhich now holds {now}. {lost}\n\n");
    for partition in &plan.partitions {
        let what = match partition.kind {
            Kind::Esp => "loader, slots a and b",
            Kind::Bios => "loader for a BIOS",
            Kind::Pool if plan.keep => "ZFS, kept",
            Kind::Pool => "for ZFS",
            _ => "machine config",
        };
        let (number, name) = (partition.number, &partition.name);
        text.push_str(&format!(
            "  {number} {name:<11} {:>11}  {what}\n",
            human(partition.length)
        ));
    }
    text
}

/// A word that is another one for another text, and is typed without a mistake: letters that look like no other and, without
/// vowels, say nothing.
pub fn token(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxz";
    const LENGTH: usize = 4;
    let digest = Sha256::digest(text);
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).copied();
    digest
        .iter()
        .filter_map(letter)
        .take(LENGTH)
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests;

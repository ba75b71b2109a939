//! FAT32 as it lies on the disk: what the file system library does not do in one sector (FAT specification 1.03).
//!
//! Directories are changed by marking and writing 32-byte entries; clusters are never freed one by one: what no directory
//! leads to is free, and [`Raw::sweep`] makes the table say so.

use std::collections::BTreeSet;
use std::io;

use crate::storage::Storage;

/// Bytes of a directory entry.
pub const ENTRY: usize = 32;
const DELETED: u8 = 0xe5;
const LONG: u8 = 0x0f;
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// Where the attributes of an entry are.
const ATTRIBUTES: usize = 11;
/// The upper four bits of an entry of the table are not the file system's.
const MASK: u32 = 0x0fff_ffff;
/// The entry of a cluster that the disk cannot keep.
const BAD: u32 = 0x0fff_fff7;

/// Where things are on a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a sector.
    pub sector: u64,
    /// Bytes of a cluster.
    pub cluster: u64,
    /// First byte of the tables.
    pub tables: u64,
    /// Bytes of a table.
    pub table: u64,
    /// Tables.
    pub copies: u64,
    /// First byte of cluster 2.
    pub data: u64,
    /// Clusters, which are counted from 2.
    pub clusters: u32,
    /// First cluster of the root directory.
    pub root: u32,
}

impl Geometry {
    /// Reads a boot sector; `None`: it is none of a FAT32 volume that a disk of `size` bytes can hold.
    pub fn parse(boot: &[u8], size: u64) -> Option<Self> {
        let byte = |at: usize| boot.get(at).copied();
        let word = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
        let long = |at: usize| {
            let bytes = [byte(at)?, byte(at + 1)?, byte(at + 2)?, byte(at + 3)?];
            Some(u32::from_le_bytes(bytes))
        };
        let sector = u64::from(word(11)?);
        let per_cluster = u64::from(byte(13)?);
        let (reserved, copies) = (u64::from(word(14)?), u64::from(byte(16)?));
        let (small_table, total, table) = (word(22)?, u64::from(long(32)?), u64::from(long(36)?));
        let sane = word(510)? == 0xaa55
            && matches!(sector, 512 | 4096)
            && per_cluster.is_power_of_two()
            && (1..=2).contains(&copies)
            && reserved > 0
            && small_table == 0;
        let data = reserved.checked_add(copies.checked_mul(table)?)?;
        if !sane || data >= total || total.checked_mul(sector)? > size {
            return None;
        }
        let clusters = u32::try_from((total - data) / per_cluster).ok()?;
        // Each cluster has an entry of four bytes, and two more come before them.
        let room = table.checked_mul(sector)? / 4;
        if u64::from(clusters) + 2 > room {
            return None;
        }
        Some(Self {
            sector,
            cluster: per_cluster * sector,
            tables: reserved * sector,
            table: table * sector,
            copies,
            data: data * sector,
            clusters,
            root: long(44)?,
        })
    }

    /// First byte of a cluster.
    ///
    /// # Errors
    /// The volume has no such cluster.
    pub fn place(&self, cluster: u32) -> io::Result<u64> {
        let index = cluster.checked_sub(2).filter(|n| *n < self.clusters);
        let index = index.ok_or_else(|| damaged("a chain leads out of the volume"))?;
        Ok(self.data + u64::from(index) * self.cluster)
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The long name, or the short one where there is none.
    pub name: String,
    /// The short name's eleven bytes.
    pub short: [u8; 11],
    /// Whether it is a directory.
    pub directory: bool,
    /// First cluster; 0 for an empty file.
    pub first: u32,
    /// Where its entries are on the volume, the short name's last.
    pub places: Vec<u64>,
}

/// A volume.
#[derive(Debug)]
pub struct Raw<S> {
    storage: S,
    geometry: Geometry,
}

impl<S: Storage> Raw<S> {
    /// Opens the volume.
    ///
    /// # Errors
    /// There is no FAT32 volume.
    pub fn open(storage: S) -> io::Result<Self> {
        let mut boot = [0; 512];
        storage.read_at(0, &mut boot)?;
        let geometry = Geometry::parse(&boot, storage.size());
        let geometry = geometry.ok_or_else(|| damaged("there is no FAT32 volume"))?;
        if geometry.sector != storage.sector() {
            return Err(damaged("the volume was made for another size of sector"));
        }
        Ok(Self { storage, geometry })
    }

    /// Where things are.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn next(&self, cluster: u32) -> io::Result<u32> {
        let mut entry = [0; 4];
        let at = self.geometry.tables + u64::from(cluster) * 4;
        self.storage.read_at(at, &mut entry)?;
        Ok(u32::from_le_bytes(entry) & MASK)
    }

    /// The clusters of a chain, to its end or to where it breaks off.
    fn chain(&self, first: u32) -> io::Result<Vec<u32>> {
        let valid = |cluster: u32| cluster >= 2 && cluster - 2 < self.geometry.clusters;
        let (mut chain, mut seen) = (Vec::new(), BTreeSet::new());
        let mut cluster = first;
        while valid(cluster) && seen.insert(cluster) {
            let next = self.next(cluster)?;
            // A cluster that is free belongs to nothing.
            if next == 0 {
                break;
            }
            chain.push(cluster);
            cluster = next;
        }
        Ok(chain)
    }

    /// The entries of a directory as they lie there, each with its place; those behind the end mark, too.
    fn slots(&self, first: u32) -> io::Result<Vec<(u64, [u8; ENTRY])>> {
        let mut slots = Vec::new();
        let mut bytes = vec![0; usize::try_from(self.geometry.cluster).unwrap_or(0)];
        for cluster in self.chain(first)? {
            let start = self.geometry.place(cluster)?;
            self.storage.read_at(start, &mut bytes)?;
            let (entries, _) = bytes.as_chunks::<ENTRY>();
            let places = (start..).step_by(ENTRY);
            slots.extend(places.zip(entries.iter().copied()));
        }
        Ok(slots)
    }

    /// The names in a directory, without the label and without `.` and `..`.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn entries(&self, first: u32) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut long: Vec<(u64, [u8; ENTRY])> = Vec::new();
        for (place, slot) in self.slots(first)? {
            let [mark, ..] = slot;
            if mark == 0 {
                break;
            }
            let attributes = slot.get(ATTRIBUTES).copied().unwrap_or_default();
            if mark == DELETED {
                long.clear();
            } else if attributes & 0x3f == LONG {
                long.push((place, slot));
            } else {
                if attributes & LABEL == 0 && mark != b'.' {
                    entries.push(Entry::read(place, &slot, &long));
                }
                long.clear();
            }
        }
        Ok(entries)
    }

    /// The entry of a path; `None`: there is none.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn find(&self, path: &str) -> io::Result<Option<Entry>> {
        let Some((directory, name)) = path.rsplit_once('/') else {
            return self.find_in(self.geometry.root, path);
        };
        match self.directory(directory)? {
            Some(first) => self.find_in(first, name),
            None => Ok(None),
        }
    }

    fn find_in(&self, first: u32, name: &str) -> io::Result<Option<Entry>> {
        let entries = self.entries(first)?.into_iter();
        Ok(entries.into_iter().find(|e| e.name.eq_ignore_ascii_case(name)))
    }

    /// First cluster of a directory; the empty path is the root.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn directory(&self, path: &str) -> io::Result<Option<u32>> {
        let mut first = self.geometry.root;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match self.find_in(first, name)?.filter(|entry| entry.directory) {
                Some(entry) => first = entry.first,
                None => return Ok(None),
            }
        }
        Ok(Some(first))
    }

    /// Puts `.` and `..` of a new directory where they belong, first and without long names, which the library gives them.
    ///
    /// # Errors
    /// The volume cannot be written.
    pub fn straighten(&self, first: u32) -> io::Result<()> {
        let slots = self.slots(first)?;
        let is_dot = |slot: &[u8; ENTRY]| {
            slot.first() == Some(&b'.') && slot.get(ATTRIBUTES).is_some_and(|a| a & 0x3f != LONG)
        };
        let mut dots = slots.iter().map(|(_, slot)| slot).filter(|slot| is_dot(slot));
        for (place, old) in &slots {
            let new = dots.next().copied().unwrap_or([0; ENTRY]);
            if new != *old {
                self.storage.write_at(*place, &new)?;
            }
        }
        Ok(())
    }

    /// Takes a name away. Its clusters stay as they are until the next sweep.
    ///
    /// # Errors
    /// The volume cannot be written.
    pub fn unlink(&self, entry: &Entry) -> io::Result<()> {
        for place in &entry.places {
            self.storage.write_at(*place, &[DELETED])?;
        }
        Ok(())
    }

    /// Gives the file `entry` of the directory `first` another name: in one sector, and in the one that the old name is in
    /// where there is room.
    ///
    /// # Errors
    /// The directory has no room.
    pub fn rename(&self, first: u32, entry: &Entry, name: &str) -> io::Result<()> {
        let short_at = entry
            .places
            .last()
            .copied()
            .ok_or_else(|| damaged("an entry without a place"))?;
        let mut short = [0; ENTRY];
        self.storage.read_at(short_at, &mut short)?;
        self.unlink(entry)?;
        let taken: BTreeSet<_> = self.entries(first)?.into_iter().map(|e| e.short).collect();
        let basis = free_short_name(name, &taken).ok_or_else(|| damaged("no short name is free"))?;
        if let Some(to) = short.first_chunk_mut::<11>() {
            *to = basis;
        }
        let mut set = long_entries(name, &basis);
        set.push(short);
        let (skipped, mut at) = self.room(first, set.len(), short_at)?;
        for place in skipped {
            self.storage.write_at(place, &[DELETED])?;
        }
        for entry in set {
            self.storage.write_at(at, &entry)?;
            at += u64::try_from(ENTRY).unwrap_or(0);
        }
        Ok(())
    }

    /// A place for `count` entries in a row that are all in one sector; the sector of `near` comes first. Also the entries before
    /// it that were never used: a reader stops at the first of those.
    fn room(&self, first: u32, count: usize, near: u64) -> io::Result<(Vec<u64>, u64)> {
        let sector = self.geometry.sector;
        let mut ended = false;
        let (mut free, mut unused): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
        for (place, [mark, ..]) in self.slots(first)? {
            // What lies behind the end mark was never used.
            ended |= mark == 0;
            if ended {
                unused.push(place);
            }
            if ended || mark == DELETED {
                free.push(place);
            }
        }
        let size = u64::try_from(ENTRY).unwrap_or(0);
        let fits = |run: &&[u64]| match (run.first(), run.last()) {
            (Some(start), Some(last)) => {
                start / sector == last / sector
                    && last - start == size * (u64::try_from(run.len()).unwrap_or(1) - 1)
            }
            _ => false,
        };
        let runs: Vec<u64> = free
            .windows(count)
            .filter(fits)
            .filter_map(|run| run.first().copied())
            .collect();
        let beside = runs.iter().find(|start| *start / sector == near / sector);
        let place = beside.or(runs.first()).copied();
        let place =
            place.ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "the directory is full"))?;
        // In the order of the chain: a directory's clusters may lie anywhere.
        let skipped = if unused.contains(&place) {
            unused.into_iter().take_while(|at| *at != place).collect()
        } else {
            Vec::new()
        };
        Ok((skipped, place))
    }

    /// Makes the name `onto` lead to the content of `from` and takes the name `from` away.
    ///
    /// # Errors
    /// The volume cannot be written.
    pub fn replace(&self, from: &Entry, onto: &Entry) -> io::Result<()> {
        let (Some(from_at), Some(onto_at)) = (from.places.last(), onto.places.last()) else {
            return Err(damaged("an entry without a place"));
        };
        let mut source = [0; ENTRY];
        self.storage.read_at(*from_at, &mut source)?;
        let mut target = [0; ENTRY];
        self.storage.read_at(*onto_at, &mut target)?;
        // The halves of the first cluster, and the size.
        for range in [20..22, 26..28, 28..32] {
            if let (Some(to), Some(with)) = (target.get_mut(range.clone()), source.get(range)) {
                to.copy_from_slice(with);
            }
        }
        self.storage.write_at(*onto_at, &target)?;
        self.unlink(from)
    }

    /// Bytes that are free by the table.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn free(&self) -> io::Result<u64> {
        let free = self.table()?.into_iter().skip(2).filter(|next| *next == 0);
        Ok(u64::try_from(free.count()).unwrap_or(0) * self.geometry.cluster)
    }

    /// The first table, as many entries as there are clusters, and the two before them.
    fn table(&self) -> io::Result<Vec<u32>> {
        let mut bytes = vec![0; usize::try_from(self.geometry.table).unwrap_or(0)];
        self.storage.read_at(self.geometry.tables, &mut bytes)?;
        let (entries, _) = bytes.as_chunks::<4>();
        let count = usize::try_from(self.geometry.clusters).unwrap_or(0) + 2;
        let entries = entries.iter().take(count);
        Ok(entries.map(|entry| u32::from_le_bytes(*entry) & MASK).collect())
    }

    /// Frees every cluster that no name leads to, makes the copies of the table equal, and lets the count of free clusters be
    /// unknown.
    ///
    /// # Errors
    /// The volume cannot be read or written.
    pub fn sweep(&self) -> io::Result<()> {
        let mut used = BTreeSet::new();
        let mut directories = vec![self.geometry.root];
        while let Some(first) = directories.pop() {
            let chain = self.chain(first)?;
            if !chain.iter().all(|cluster| used.insert(*cluster)) {
                continue;
            }
            for entry in self.entries(first)? {
                if entry.directory {
                    directories.push(entry.first);
                } else {
                    used.extend(self.chain(entry.first)?);
                }
            }
        }
        for (number, next) in (0_u32..).zip(self.table()?).skip(2) {
            if next != 0 && next != BAD && !used.contains(&number) {
                let at = self.geometry.tables + u64::from(number) * 4;
                self.storage.write_at(at, &[0; 4])?;
            }
        }
        let mut first = vec![0; usize::try_from(self.geometry.table).unwrap_or(0)];
        self.storage.read_at(self.geometry.tables, &mut first)?;
        for copy in 1..self.geometry.copies {
            let at = self.geometry.tables + copy * self.geometry.table;
            let sectors = first.chunks(usize::try_from(self.geometry.sector).unwrap_or(512));
            for (place, sector) in (at..)
                .step_by(512_usize.max(sector_size(&self.geometry)))
                .zip(sectors)
            {
                let mut old = vec![0; sector.len()];
                self.storage.read_at(place, &mut old)?;
                if old != sector {
                    self.storage.write_at(place, sector)?;
                }
            }
        }
        // Free count and next free cluster (FSInfo, in sector 1): unknown.
        self.storage.write_at(self.geometry.sector + 488, &[0xff; 8])
    }
}

fn sector_size(geometry: &Geometry) -> usize {
    usize::try_from(geometry.sector).unwrap_or(512)
}

impl Entry {
    fn read(place: u64, slot: &[u8; ENTRY], long: &[(u64, [u8; ENTRY])]) -> Self {
        let short = slot.first_chunk::<11>().copied().unwrap_or_default();
        let byte = |at: usize| slot.get(at).copied().unwrap_or_default();
        let first = u32::from_le_bytes([byte(26), byte(27), byte(20), byte(21)]);
        // A long name that is not this short name's is a leftover.
        let sum = checksum(&short);
        let own = !long.is_empty() && long.iter().all(|(_, e)| e.get(13) == Some(&sum));
        let name = if own { long_name(long) } else { short_name(&short) };
        let places = long.iter().filter(|_| own).map(|(place, _)| *place);
        Self {
            name,
            short,
            directory: byte(ATTRIBUTES) & DIRECTORY != 0,
            first,
            places: places.chain([place]).collect(),
        }
    }
}

fn short_name(short: &[u8; 11]) -> String {
    let text = String::from_utf8_lossy(short).into_owned();
    let (base, extension) = text.split_at_checked(8).unwrap_or((&text, ""));
    match extension.trim_end() {
        "" => base.trim_end().to_owned(),
        extension => format!("{}.{extension}", base.trim_end()),
    }
}

/// Where the characters of a long name's entry are.
const CHARACTERS: [std::ops::Range<usize>; 3] = [1..11, 14..26, 28..32];

fn long_name(entries: &[(u64, [u8; ENTRY])]) -> String {
    // The last part comes first.
    let units = entries.iter().rev().flat_map(|(_, entry)| {
        let parts = CHARACTERS.into_iter().filter_map(|range| entry.get(range));
        parts
            .flat_map(|part| part.as_chunks::<2>().0.iter())
            .map(|unit| u16::from_le_bytes(*unit))
            .collect::<Vec<_>>()
    });
    let units: Vec<u16> = units.take_while(|unit| *unit != 0 && *unit != 0xffff).collect();
    String::from_utf16_lossy(&units)
}

fn long_entries(name: &str, short: &[u8; 11]) -> Vec<[u8; ENTRY]> {
    const PER_ENTRY: usize = 13;
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(PER_ENTRY) {
        units.push(0);
        units.resize(units.len().next_multiple_of(PER_ENTRY), 0xffff);
    }
    let (parts, _) = units.as_chunks::<PER_ENTRY>();
    let sum = checksum(short);
    let mut entries: Vec<[u8; ENTRY]> = Vec::new();
    for (number, part) in (1_u8..).zip(parts) {
        let mut entry = [0; ENTRY];
        let last = if usize::from(number) == parts.len() {
            0x40
        } else {
            0
        };
        let bytes: Vec<u8> = part.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let mut rest = bytes.as_slice();
        for range in CHARACTERS {
            let (now, later) = rest.split_at_checked(range.len()).unwrap_or((rest, &[]));
            if let Some(to) = entry.get_mut(range) {
                to.copy_from_slice(now);
            }
            rest = later;
        }
        for (at, value) in [(0, number | last), (ATTRIBUTES, LONG), (13, sum)] {
            if let Some(to) = entry.get_mut(at) {
                *to = value;
            }
        }
        entries.push(entry);
    }
    entries.reverse();
    entries
}

fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// `AXIO~1.CON`: the first such name that is not taken.
fn free_short_name(name: &str, taken: &BTreeSet<[u8; 11]>) -> Option<[u8; 11]> {
    let plain = |text: &str, length: usize| -> String {
        let legal = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let letters = text.chars().filter(legal).take(length);
        letters.map(|c| c.to_ascii_uppercase()).collect()
    };
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let (base, extension) = (plain(base, 4), plain(extension, 3));
    (1..=999).find_map(|number| {
        let text = format!("{:<8}{extension:<3}", format!("{base}~{number}"));
        let short: [u8; 11] = text.as_bytes().try_into().ok()?;
        (!taken.contains(&short)).then_some(short)
    })
}

#[cfg(test)]
mod tests;

//! FAT32 whose changes reach the disk in an order that a power cut may interrupt.
//!
//! ```text
//! write   content of clusters that are free ─ flush ─ tables ─ flush ─ directory sector ─ flush
//! rename  the directory sector that gets the name ─ flush ─ the one that loses it ─ flush; one and the same where it can be
//! remove  directory sector ─ flush ─ tables ─ flush
//! ```
//! So a name never leads to clusters that are not written or that the tables call free. What a cut can leave behind is
//! clusters that nothing leads to, and, for a moment, two names of one file; [`Volume::sweep`] frees the former by what the
//! directories say, and never by following the chain of a name that goes away, which would free the other name's clusters.
//!
//! Clusters are allocated by the `fatfs` crate, over an [`Overlay`]; names are changed by [`raw`].

pub mod date;
pub mod raw;

use std::io::{self, Read, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use sha2::{Digest as _, Sha256};

use self::raw::{Entry, Raw};
use crate::Digest;
use crate::overlay::Overlay;
use crate::storage::{Storage, Stream};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// Where a boot sector has its copy (BPB_BkBootSec as `fatfs` formats).
const BACKUP_BOOT_SECTOR: u64 = 6;

/// A volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The disk fails, or the volume is damaged.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The path on the volume.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A path leads nowhere.
    #[error("there is no {0} on the volume")]
    Missing(String),
    /// A name is taken.
    #[error("there is a {0} on the volume already")]
    Exists(String),
    /// Too little room.
    #[error("{path} needs {needed} bytes, and the volume has {free} left")]
    Full {
        /// What was to be written.
        path: String,
        /// Its bytes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk does not keep what it is given.
    #[error("{0} was written, and something else is read back: the disk is failing")]
    ReadBack(String),
}

type Result<T> = std::result::Result<T, FatError>;

fn failed(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> FatError {
    let path = path.to_owned();
    move |source| FatError::Io { action, path, source }
}

/// What a format makes.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Label, padded as FAT wants it.
    pub label: [u8; 11],
    /// Serial number.
    pub id: u32,
    /// Bytes of a cluster.
    pub cluster: u32,
}

/// A FAT32 volume.
#[derive(Debug)]
pub struct Volume<S> {
    overlay: Overlay<S>,
    /// The boot sectors are not written yet.
    unborn: bool,
}

impl<S: Storage> Volume<S> {
    /// Opens the volume on `storage`.
    ///
    /// # Errors
    /// There is none.
    pub fn open(storage: S) -> Result<Self> {
        let volume = Self {
            overlay: Overlay::new(storage),
            unborn: false,
        };
        volume.raw().map(drop)?;
        Ok(volume)
    }

    /// Makes an empty volume in place of whatever was there. It is none, for anybody else, until [`Volume::finish`]: a cut leaves
    /// no volume or the finished one.
    ///
    /// # Errors
    /// The disk fails, or is too small.
    pub fn format(storage: S, format: &Format) -> Result<Self> {
        let label = String::from_utf8_lossy(&format.label).trim_end().to_owned();
        let overlay = Overlay::new(storage);
        let sector = overlay.sector();
        let zeros = vec![0; usize::try_from(sector).unwrap_or(512)];
        for number in [0, BACKUP_BOOT_SECTOR] {
            overlay
                .write_at(number * sector, &zeros)
                .map_err(failed("format", &label))?;
        }
        overlay
            .write_out(&[0, BACKUP_BOOT_SECTOR])
            .map_err(failed("format", &label))?;
        let options = FormatVolumeOptions::new()
            .volume_label(format.label)
            .volume_id(format.id)
            .fat_type(FatType::Fat32)
            .bytes_per_sector(u16::try_from(sector).unwrap_or(512))
            .bytes_per_cluster(format.cluster);
        fatfs::format_volume(Stream::new(&overlay), options).map_err(failed("format", &label))?;
        Ok(Self {
            overlay,
            unborn: true,
        })
    }

    /// Content is written in pieces of `chunk` bytes.
    #[must_use]
    pub fn with_chunk(self, chunk: usize) -> Self {
        Self {
            overlay: self.overlay.with_chunk(chunk),
            ..self
        }
    }

    /// Makes the new volume one: its boot sectors are written last.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish(&mut self) -> Result<()> {
        self.unborn = false;
        self.commit("the boot sector")
    }

    fn raw(&self) -> Result<Raw<&Overlay<S>>> {
        Raw::open(&self.overlay).map_err(failed("open", "the FAT volume"))
    }

    /// Makes a directory in one that is there. Written with the next file.
    ///
    /// # Errors
    /// The disk fails.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        let made = || -> io::Result<()> {
            let system = FileSystem::new(
                Stream::new(&self.overlay),
                FsOptions::new().time_provider(&date::FIXED),
            )?;
            system.root_dir().create_dir(path)?;
            system.unmount()?;
            let raw = Raw::open(&self.overlay)?;
            match raw.directory(path)? {
                Some(first) => raw.straighten(first),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        };
        made().map_err(failed("make the directory", path))
    }

    /// Writes `length` bytes of `content` to the new file `path`, reads them back from the disk, and gives their digest.
    /// `progress` is told how many bytes more are there.
    ///
    /// # Errors
    /// The name is taken, there is no room, `content` ends early, or the disk fails.
    pub fn write(
        &self,
        path: &str,
        content: &mut dyn Read,
        length: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digest> {
        let raw = self.raw()?;
        if raw.find(path).map_err(failed("look for", path))?.is_some() {
            return Err(FatError::Exists(path.to_owned()));
        }
        self.room(path, length, &[])?;
        let data = raw.geometry().data;
        let digest = match self.pour(path, data, content, length, progress) {
            Ok(digest) => digest,
            Err(error) => {
                self.overlay.discard();
                return Err(failed("write", path)(error));
            }
        };
        self.commit(path)?;
        self.verify(path, length, &digest)?;
        Ok(digest)
    }

    fn pour(
        &self,
        path: &str,
        data: u64,
        content: &mut dyn Read,
        length: u64,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Digest> {
        let system = FileSystem::new(
            Stream::new(&self.overlay),
            FsOptions::new().time_provider(&date::FIXED),
        )?;
        let mut file = system.root_dir().create_file(path)?;
        let mut hash = Sha256::new();
        let mut left = length;
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let piece = buffer.get_mut(..want).unwrap_or_default();
            content.read_exact(piece)?;
            hash.update(&*piece);
            self.overlay.pass_through(data, || file.write_all(piece))?;
            let written = u64::try_from(want).unwrap_or(0);
            left -= written;
            progress(written);
        }
        file.flush()?;
        drop(file);
        system.unmount()?;
        Ok(hash.finalize().into())
    }

    fn verify(&self, path: &str, length: u64, digest: &Digest) -> Result<()> {
        if self.holds(path, length, digest)? {
            Ok(())
        } else {
            Err(FatError::ReadBack(path.to_owned()))
        }
    }

    /// Whether a file is there, on the disk itself and not only in what is remembered of it, with that length and digest.
    ///
    /// # Errors
    /// The disk fails, or the file is damaged.
    pub fn holds(&self, path: &str, length: u64, digest: &Digest) -> Result<bool> {
        self.overlay.forget().map_err(failed("read back", path))?;
        Ok(self.digest(path)? == Some((length, *digest)))
    }

    /// Size and digest of a file; `None`: there is none.
    ///
    /// # Errors
    /// The disk fails, or the file is damaged.
    pub fn digest(&self, path: &str) -> Result<Option<(u64, Digest)>> {
        let mut hash = Sha256::new();
        let length = self.visit(path, |piece| hash.update(piece))?;
        Ok(length.map(|length| (length, hash.finalize().into())))
    }

    /// A file of at most `limit` bytes; `None`: there is none.
    ///
    /// # Errors
    /// The disk fails, or the file is longer or damaged.
    pub fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        let mut long = false;
        let found = self.visit(path, |piece| {
            long |= content.len() + piece.len() > limit;
            if !long {
                content.extend_from_slice(piece);
            }
        })?;
        if long {
            return Err(failed("read", path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(found.map(|_| content))
    }

    /// The first `length` bytes of a file, or fewer where it has fewer; `None`: there is none.
    ///
    /// # Errors
    /// The disk fails, or the file is damaged.
    pub fn head(&self, path: &str, length: usize) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.raw()?.find(path).map_err(failed("look for", path))? else {
            return Ok(None);
        };
        if entry.directory {
            return Ok(None);
        }
        let read = || -> io::Result<Vec<u8>> {
            let system = FileSystem::new(
                Stream::new(&self.overlay),
                FsOptions::new().time_provider(&date::FIXED),
            )?;
            let mut content = Vec::new();
            let file = system.root_dir().open_file(path)?;
            file.take(u64::try_from(length).unwrap_or(0))
                .read_to_end(&mut content)?;
            Ok(content)
        };
        read().map(Some).map_err(failed("read", path))
    }

    /// Gives `work` what a file holds, to be read from its beginning; `None`: there is no such file.
    ///
    /// # Errors
    /// The disk fails, or the file is damaged.
    pub fn with_content<T>(&self, path: &str, work: impl FnOnce(&mut dyn Read) -> T) -> Result<Option<T>> {
        let Some(entry) = self.raw()?.find(path).map_err(failed("look for", path))? else {
            return Ok(None);
        };
        if entry.directory {
            return Ok(None);
        }
        let opened = || -> io::Result<T> {
            let system = FileSystem::new(
                Stream::new(&self.overlay),
                FsOptions::new().time_provider(&date::FIXED),
            )?;
            let mut file = system.root_dir().open_file(path)?;
            Ok(work(&mut file))
        };
        opened().map(Some).map_err(failed("read", path))
    }

    /// Writes the first sector of a file where it lies: what a loader does that cannot allocate.
    ///
    /// # Errors
    /// There is no such file, or the disk fails.
    pub fn rewrite(&self, path: &str, sector: &[u8]) -> Result<()> {
        let rewritten = || -> io::Result<bool> {
            let raw = Raw::open(&self.overlay)?;
            let Some(entry) = raw.find(path)? else {
                return Ok(false);
            };
            let at = raw.geometry().place(entry.first)?;
            self.overlay.below().write_at(at, sector)?;
            self.overlay.below().flush()?;
            Ok(true)
        };
        match rewritten().map_err(failed("write", path))? {
            true => Ok(()),
            false => Err(FatError::Missing(path.to_owned())),
        }
    }

    fn visit(&self, path: &str, mut piece: impl FnMut(&[u8])) -> Result<Option<u64>> {
        let Some(entry) = self.raw()?.find(path).map_err(failed("look for", path))? else {
            return Ok(None);
        };
        if entry.directory {
            return Ok(None);
        }
        let mut visit = || -> io::Result<u64> {
            let system = FileSystem::new(
                Stream::new(&self.overlay),
                FsOptions::new().time_provider(&date::FIXED),
            )?;
            let mut file = system.root_dir().open_file(path)?;
            let mut buffer = vec![0; CHUNK];
            let mut length = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(length),
                    count => {
                        piece(buffer.get(..count).unwrap_or_default());
                        length += u64::try_from(count).unwrap_or(0);
                    }
                }
            }
        };
        visit().map(Some).map_err(failed("read", path))
    }

    /// Names in a directory; none where there is no such directory.
    ///
    /// # Errors
    /// The disk fails.
    pub fn list(&self, directory: &str) -> Result<Vec<String>> {
        let names = || -> io::Result<Vec<String>> {
            let raw = Raw::open(&self.overlay)?;
            let Some(first) = raw.directory(directory)? else {
                return Ok(Vec::new());
            };
            Ok(raw.entries(first)?.into_iter().map(|entry| entry.name).collect())
        };
        names().map_err(failed("list", directory))
    }

    /// Whether a file of `length` bytes would fit once the files `instead` are gone.
    ///
    /// # Errors
    /// It would not, or the disk fails.
    pub fn room(&self, path: &str, length: u64, instead: &[String]) -> Result<()> {
        let raw = self.raw()?;
        let cluster = raw.geometry().cluster;
        let mut free = raw.free().map_err(failed("look for room for", path))?;
        for file in instead {
            // A file that is damaged may be less than it says.
            let freed = self.visit(file, |_| {}).ok().flatten();
            free += freed.unwrap_or(0).next_multiple_of(cluster);
        }
        // A directory may need a cluster, too.
        let needed = length.next_multiple_of(cluster) + cluster;
        if needed <= free {
            return Ok(());
        }
        Err(FatError::Full {
            path: path.to_owned(),
            needed,
            free,
        })
    }

    /// Takes a file away; one that is not there is no error.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.unlink(path)?;
        self.sweep()
    }

    /// Takes a name away and leaves its clusters for the next sweep.
    ///
    /// # Errors
    /// The disk fails.
    pub fn unlink(&self, path: &str) -> Result<()> {
        let raw = self.raw()?;
        let Some(entry) = raw.find(path).map_err(failed("look for", path))? else {
            return Ok(());
        };
        raw.unlink(&entry).map_err(failed("remove", path))?;
        self.commit(path)
    }

    /// Gives the file `from` of `directory` the name `to`; a file of that name is replaced by it.
    ///
    /// # Errors
    /// There is no `from`, or the disk fails.
    pub fn rename(&self, directory: &str, from: &str, to: &str) -> Result<()> {
        let path = join(directory, from);
        let renamed = || -> io::Result<bool> {
            let raw = Raw::open(&self.overlay)?;
            let Some(first) = raw.directory(directory)? else {
                return Ok(false);
            };
            let entries = raw.entries(first)?;
            let find = |name: &str| -> Option<&Entry> {
                entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
            };
            match (find(from), find(to)) {
                (None, _) => return Ok(false),
                (Some(from), None) => raw.rename(first, from, to)?,
                (Some(from), Some(onto)) => raw.replace(from, onto)?,
            }
            Ok(true)
        };
        match renamed() {
            Ok(true) => self.commit(&path),
            Ok(false) => Err(FatError::Missing(path)),
            Err(error) => {
                self.overlay.discard();
                Err(failed("rename", &path)(error))
            }
        }
    }

    /// Frees what no name leads to.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sweep(&self) -> Result<()> {
        self.raw()?.sweep().map_err(failed("sweep", "the FAT volume"))?;
        self.commit("the tables")
    }

    /// Writes what has changed, in its order.
    fn commit(&self, path: &str) -> Result<()> {
        self.write_in_order().map_err(failed("write", path))
    }

    fn write_in_order(&self) -> io::Result<()> {
        let mut boot = [0; 512];
        self.overlay.read_at(0, &mut boot)?;
        let geometry = raw::Geometry::parse(&boot, self.overlay.size());
        let geometry = geometry.ok_or(io::ErrorKind::InvalidData)?;
        let (mut births, mut tables, mut directories) = (Vec::new(), Vec::new(), Vec::new());
        for number in self.overlay.differing()? {
            if number == 0 || number == BACKUP_BOOT_SECTOR {
                births.push(number);
            } else if number * geometry.sector < geometry.data {
                tables.push(number);
            } else {
                let (old, new) = self.overlay.versions(number)?;
                directories.push((live(&new) - live(&old), number));
            }
        }
        // The content of files has been written through: it is durable before a table says that it is a file's.
        self.overlay.below().flush()?;
        if !tables.is_empty() {
            self.overlay.write_out(&tables)?;
        }
        // A name appears before another one goes.
        directories.sort_by_key(|(gain, number)| (-gain, *number));
        if self.unborn {
            let numbers: Vec<u64> = directories.iter().map(|(_, number)| *number).collect();
            return self.overlay.write_out(&numbers);
        }
        for (_, number) in directories {
            self.overlay.write_out(&[number])?;
        }
        if !births.is_empty() {
            self.overlay.write_out(&births)?;
        }
        self.overlay.discard();
        Ok(())
    }
}

/// Names in a sector of a directory, roughly: entries that are neither free nor deleted.
fn live(sector: &[u8]) -> i32 {
    let (entries, _) = sector.as_chunks::<{ raw::ENTRY }>();
    let live = entries.iter().filter(|[mark, ..]| *mark != 0 && *mark != 0xe5);
    i32::try_from(live.count()).unwrap_or(0)
}

/// A path from its parts.
pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

#[cfg(test)]
mod tests;

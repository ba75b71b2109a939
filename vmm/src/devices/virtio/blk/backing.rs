//! What a disk's bytes are in: a raw file or a block device, opened once and kept over resets.
//!
//! Two descriptors of the same file where O_DIRECT works: requests whose offset, length and buffers are aligned go past
//! the page cache, all others through it. The kernel keeps both views of a file the same.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use axion_api::vmm::metrics::QueueLatencies;
use axion_api::vmm::{DirectIo, DiskConfig, DiskStatus};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::{major, minor};

use super::counters::Counters;
use super::direct::{self, Alignment};
use super::request::SECTOR;
use crate::devices::virtio::queue::Segment;

/// Alignment that serves where the kernel does not tell one.
const SAFE: Alignment = Alignment {
    memory: 4096,
    offset: 4096,
};

/// A disk cannot be had. `disk` is its place in the config.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file cannot be opened or looked at.
    #[error("disks[{disk}].path: cannot open {}", path.display())]
    Open {
        /// Place in the config.
        disk: usize,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// It is no disk.
    #[error("disks[{disk}].path: {} is not allowed; a regular file or a block device", path.display())]
    Kind {
        /// Place in the config.
        disk: usize,
        /// The file.
        path: PathBuf,
    },
    /// Its size is no whole number of sectors.
    #[error("disks[{disk}].path: {} has {size} bytes; a multiple of {SECTOR}, and not 0", path.display())]
    Size {
        /// Place in the config.
        disk: usize,
        /// The file.
        path: PathBuf,
        /// Bytes.
        size: u64,
    },
    /// Another process has it.
    #[error("disks[{disk}].path: {} is in use by another process", path.display())]
    InUse {
        /// Place in the config.
        disk: usize,
        /// The file.
        path: PathBuf,
    },
    /// O_DIRECT was demanded.
    #[error("disks[{disk}].direct: {} cannot be opened past the page cache; off or auto", path.display())]
    NotDirect {
        /// Place in the config.
        disk: usize,
        /// The file.
        path: PathBuf,
    },
}

/// Sizes of a disk that its driver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes.
    pub capacity: u64,
    /// Bytes of a logical block: 512 for files, so that an image means the same on every host.
    pub block: u32,
    /// Bytes that are best read and written as one.
    pub physical: u32,
}

/// A disk.
pub struct Disk {
    /// Its file, for messages.
    pub path: PathBuf,
    /// What the guest is told as its serial number.
    pub serial: String,
    /// Nothing may be written.
    pub read_only: bool,
    /// Sizes.
    pub geometry: Geometry,
    /// By queue.
    pub counters: Vec<Counters>,
    file: File,
    direct: Option<(File, Alignment)>,
    /// Something was written through the page cache.
    cached_writes: AtomicBool,
}

impl Disk {
    /// Opens the disk `config`, which is at place `disk`, with `queues` queues.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(disk: usize, config: &DiskConfig, queues: u16) -> Result<Self, DiskError> {
        let path = PathBuf::from(&config.path);
        let failed = |source| DiskError::Open {
            disk,
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(!config.read_only);
        // Neither a terminal nor a pipe is waited for before its kind is known.
        let file = options
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&path)
            .map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(DiskError::Kind { disk, path });
        }
        // io_uring takes the flag for a wish to fail rather than to wait.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| failed(errno.into()))?;
        match lock(&file, config.read_only) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::InUse { disk, path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let opened = Self::from_file(file, config, queues).map_err(failed)?;
        let size = opened.geometry.capacity;
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(DiskError::Size { disk, path, size });
        }
        if config.direct == DirectIo::On && opened.direct.is_none() {
            return Err(DiskError::NotDirect { disk, path });
        }
        Ok(opened)
    }

    /// The disk in `file`, whatever that is.
    pub(super) fn from_file(mut file: File, config: &DiskConfig, queues: u16) -> io::Result<Self> {
        let direct = match config.direct {
            DirectIo::Off => None,
            DirectIo::Auto | DirectIo::On => open_direct(&file, config.read_only),
        };
        let capacity = file.seek(SeekFrom::End(0))?;
        let device = file
            .metadata()
            .ok()
            .filter(|data| data.file_type().is_block_device());
        let sector = u32::try_from(SECTOR).unwrap_or(u32::MAX);
        let block = device
            .as_ref()
            .map_or(sector, |data| limit(data.rdev(), "logical_block_size"));
        let physical = match (&device, &direct) {
            (Some(data), _) => limit(data.rdev(), "physical_block_size"),
            (None, Some((_, alignment))) => alignment.offset.max(SAFE.offset),
            (None, None) => SAFE.offset,
        };
        let serial = config.serial.clone().unwrap_or_default();
        Ok(Self {
            path: PathBuf::from(&config.path),
            serial,
            read_only: config.read_only,
            geometry: Geometry {
                capacity,
                block,
                physical: physical.max(block),
            },
            counters: (0..queues).map(|_| Counters::default()).collect(),
            file,
            direct,
            cached_writes: AtomicBool::new(false),
        })
    }

    /// Something is written through the page cache.
    pub(super) fn note_cached_write(&self) {
        if !self.has_cached_writes() {
            self.cached_writes.store(true, Ordering::Relaxed);
        }
    }

    /// Whether anything was written through the page cache.
    pub(super) fn has_cached_writes(&self) -> bool {
        self.cached_writes.load(Ordering::Relaxed)
    }

    /// Queues.
    pub fn queues(&self) -> u16 {
        u16::try_from(self.counters.len()).unwrap_or(u16::MAX)
    }

    /// The descriptor that goes through the page cache.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The descriptor that does not, if there is one.
    pub(super) fn direct(&self) -> Option<&File> {
        self.direct.as_ref().map(|(file, _)| file)
    }

    /// Whether a request may go past the page cache. Guest addresses are aligned as their host addresses are, up to a page.
    pub(super) fn fits_direct(&self, offset: u64, segments: &[Segment]) -> bool {
        let Some((_, alignment)) = &self.direct else {
            return false;
        };
        offset.is_multiple_of(alignment.offset.into())
            && segments.iter().all(|segment| {
                segment.len.is_multiple_of(alignment.offset)
                    && segment.address.is_multiple_of(alignment.memory.into())
            })
    }

    /// How long requests of each queue took.
    pub fn latencies(&self) -> Vec<QueueLatencies> {
        self.counters.iter().map(Counters::latencies).collect()
    }

    /// What the API tells of it.
    pub fn status(&self) -> DiskStatus {
        DiskStatus {
            path: self.path.display().to_string(),
            capacity: self.geometry.capacity,
            direct: self.direct.is_some(),
            queues: self.counters.iter().map(Counters::read).collect(),
        }
    }
}

/// Two machines that write to one disk destroy it.
fn lock(file: &File, read_only: bool) -> Result<(), TryLockError> {
    if read_only {
        file.try_lock_shared()
    } else {
        file.try_lock()
    }
}

/// The same file again, past the page cache, if that is possible.
fn open_direct(file: &File, read_only: bool) -> Option<(File, Alignment)> {
    let same = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut options = OpenOptions::new();
    options.read(true).write(!read_only).custom_flags(libc::O_DIRECT);
    let direct = options.open(same).ok()?;
    let alignment = direct::alignment(&direct).unwrap_or(SAFE);
    // Memory of the guest is aligned to pages and no better.
    (alignment.memory <= 4096).then_some((direct, alignment))
}

/// A limit of the block device `device`, from sysfs; of its disk, where it is a partition.
fn limit(device: u64, name: &str) -> u32 {
    let directory = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
    let read = |path: &Path| -> Option<u32> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    read(&directory.join("queue").join(name))
        .or_else(|| read(&directory.join("../queue").join(name)))
        .filter(|bytes| bytes.is_power_of_two() && u64::from(*bytes) >= SECTOR)
        .unwrap_or(512)
}

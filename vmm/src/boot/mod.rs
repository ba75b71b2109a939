//! Direct boot of a Linux kernel: what firmware and a boot loader would do.
//!
//! | file                   | protocol                                              | entry            |
//! |------------------------|-------------------------------------------------------|------------------|
//! | ELF with a PVH note    | Xen's docs/misc/pvh.pandoc                            | 32-bit, paging off |
//! | bzImage                | Documentation/arch/x86/boot.rst, 64-bit boot protocol | 64-bit           |
//!
//! The ELF is preferred where one has the choice: the guest decompresses nothing. Files are opened once, so that a reset
//! boots what the machine began with.

mod bzimage;
mod pvh;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axion_api::vmm::BootConfig;
use vm_memory::{Bytes, GuestAddress};

use crate::acpi::Tables;
use crate::arch::layout::{self, Layout};
use crate::arch::registers::Entry;
use crate::memory::GuestMemory;

/// The guest cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A file cannot be read.
    #[error("{field}: cannot read {}", path.display())]
    Read {
        /// Field of the config.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The kernel is of no known form.
    #[error("boot.kernel: {}: {reason}; an ELF vmlinux with a PVH note (CONFIG_PVH=y) or a 64-bit bzImage is needed",
        path.display())]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is empty or not a regular file.
    #[error("{field}: {} is {what}", path.display())]
    File {
        /// Field of the config.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Kernel and initrd do not fit.
    #[error(
        "memory.size: kernel (up to {kernel_end:#x}) and initrd ({initrd} bytes) do not fit below {limit:#x}"
    )]
    NoRoom {
        /// First address after the kernel.
        kernel_end: u64,
        /// Bytes of the initrd.
        initrd: u64,
        /// First address that the initrd may not reach.
        limit: u64,
    },
    /// The command line is too long or not text.
    #[error("boot.cmdline: {0}")]
    Cmdline(String),
    /// Guest memory could not be written.
    #[error("cannot write {what} to guest memory")]
    Write {
        /// What was written.
        what: &'static str,
        /// Cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Forms of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Elf,
    BzImage,
}

/// What a machine boots, opened.
#[derive(Debug)]
pub struct BootFiles {
    kernel: (PathBuf, File, Format),
    initrd: Option<(PathBuf, File, u64)>,
    cmdline: Vec<u8>,
}

/// An initrd in guest memory.
#[derive(Debug, Clone, Copy)]
struct Initrd {
    address: u64,
    size: u64,
}

impl BootFiles {
    /// Opens the files of `config` and checks what can be checked without loading them.
    ///
    /// # Errors
    /// [`BootError`] that names field, file and cause.
    pub fn open(config: &BootConfig) -> Result<Self, BootError> {
        let (path, mut file, _) = open("boot.kernel", &config.kernel)?;
        let format = recognize(&path, &mut file)?;
        let initrd = config
            .initrd
            .as_deref()
            .map(|path| open("boot.initrd", path))
            .transpose()?;
        Ok(Self {
            kernel: (path, file, format),
            initrd,
            cmdline: cmdline(&config.cmdline)?,
        })
    }

    /// Puts kernel, initrd, command line and `acpi` tables into clean guest memory; says where the kernel is entered.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn load(&mut self, memory: &GuestMemory, layout: &Layout, acpi: &Tables) -> Result<Entry, BootError> {
        write(memory, "the ACPI tables", layout::ACPI.start, acpi.bytes())?;
        write(memory, "the command line", layout::CMDLINE, &self.cmdline)?;
        let (path, file, format) = &mut self.kernel;
        match format {
            Format::Elf => {
                let kernel = pvh::load(memory, path, file)?;
                let initrd = load_initrd(&mut self.initrd, memory, layout, kernel.end, u64::MAX)?;
                pvh::configure(memory, layout, acpi, initrd)?;
                Ok(Entry::Pvh {
                    address: kernel.entry,
                })
            }
            Format::BzImage => {
                let kernel = bzimage::load(memory, path, file)?;
                let initrd = load_initrd(
                    &mut self.initrd,
                    memory,
                    layout,
                    kernel.end(),
                    kernel.initrd_limit(),
                )?;
                bzimage::configure(memory, layout, acpi, &kernel, initrd)?;
                Ok(Entry::Linux64 {
                    address: kernel.entry(),
                })
            }
        }
    }
}

fn write(memory: &GuestMemory, what: &'static str, address: u64, bytes: &[u8]) -> Result<(), BootError> {
    memory
        .write_slice(bytes, GuestAddress(address))
        .map_err(|error| BootError::Write {
            what,
            source: error.into(),
        })
}

/// Opens a file; returns its size too.
fn open(field: &'static str, path: &str) -> Result<(PathBuf, File, u64), BootError> {
    let path = PathBuf::from(path);
    // Without O_NONBLOCK, a named pipe would wait for a writer.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path);
    let opened = opened.and_then(|file| file.metadata().map(|data| (file, data)));
    match opened {
        Err(source) => Err(BootError::Read { field, path, source }),
        Ok((_, data)) if !data.is_file() => Err(BootError::File {
            field,
            path,
            what: "not a regular file",
        }),
        Ok((_, data)) if data.len() == 0 => Err(BootError::File {
            field,
            path,
            what: "empty",
        }),
        Ok((file, data)) => Ok((path, file, data.len())),
    }
}

/// Bytes at the start of a kernel that tell its form.
const HEAD: usize = 0x206;

fn recognize(path: &Path, file: &mut File) -> Result<Format, BootError> {
    let unreadable = |source| BootError::Read {
        field: "boot.kernel",
        path: path.to_owned(),
        source,
    };
    let mut head = Vec::with_capacity(HEAD);
    file.rewind().map_err(unreadable)?;
    file.take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    if head.starts_with(b"\x7fELF") {
        Ok(Format::Elf)
    } else if head.get(0x202..0x206) == Some(b"HdrS") {
        Ok(Format::BzImage)
    } else {
        Err(BootError::Kernel {
            path: path.to_owned(),
            reason: "is neither ELF nor bzImage".to_owned(),
        })
    }
}

/// The command line as the kernel reads it.
fn cmdline(text: &str) -> Result<Vec<u8>, BootError> {
    if text.len() > layout::CMDLINE_MAX {
        let message = format!(
            "{} bytes long; the kernel takes at most {}",
            text.len(),
            layout::CMDLINE_MAX
        );
        return Err(BootError::Cmdline(message));
    }
    if let Some(at) = text.bytes().position(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(BootError::Cmdline(format!("byte {at} is not printable ASCII")));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    Ok(bytes)
}

/// Puts the initrd at the top of low memory, below `limit`.
fn load_initrd(
    initrd: &mut Option<(PathBuf, File, u64)>,
    memory: &GuestMemory,
    layout: &Layout,
    kernel_end: u64,
    limit: u64,
) -> Result<Option<Initrd>, BootError> {
    let limit = layout.low.end.min(limit);
    let size = initrd.as_ref().map_or(0, |(_, _, size)| *size);
    let address = initrd_address(kernel_end, size, limit).ok_or(BootError::NoRoom {
        kernel_end,
        initrd: size,
        limit,
    })?;
    let Some((path, file, _)) = initrd else {
        return Ok(None);
    };
    let unreadable = |source| BootError::Read {
        field: "boot.initrd",
        path: path.clone(),
        source,
    };
    file.rewind().map_err(unreadable)?;
    let count = usize::try_from(size).map_err(|error| unreadable(io::Error::other(error)))?;
    memory
        .read_exact_volatile_from(GuestAddress(address), file, count)
        .map_err(|error| unreadable(io::Error::other(error)))?;
    Ok(Some(Initrd { address, size }))
}

/// The highest page where `size` bytes fit between the kernel and `limit`.
fn initrd_address(kernel_end: u64, size: u64, limit: u64) -> Option<u64> {
    const PAGE: u64 = 4096;
    let address = limit.checked_sub(size)? / PAGE * PAGE;
    (address >= kernel_end).then_some(address)
}

#[cfg(test)]
mod tests;

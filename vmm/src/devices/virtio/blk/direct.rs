//! What O_DIRECT asks of a file's requests (`statx(2)`, STATX_DIOALIGN): the system call.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::libc;

/// Alignment of direct requests, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alignment {
    /// Of buffers in memory.
    pub memory: u32,
    /// Of offsets and lengths.
    pub offset: u32,
}

/// The alignment of `file`, where the kernel and its file system tell; None also where it cannot be direct.
pub fn alignment(file: &File) -> Option<Alignment> {
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let flags: c_int = libc::AT_EMPTY_PATH;
    // SAFETY: the descriptor is open, the path an empty C string, and the buffer of the size that the kernel writes.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            flags,
            libc::STATX_DIOALIGN,
            &raw mut stat,
        )
    };
    let told = result == 0 && stat.stx_mask & libc::STATX_DIOALIGN != 0;
    let alignment = Alignment {
        memory: stat.stx_dio_mem_align,
        offset: stat.stx_dio_offset_align,
    };
    let valid = |bytes: u32| bytes.is_power_of_two() && bytes <= 64 << 10;
    (told && valid(alignment.memory) && valid(alignment.offset)).then_some(alignment)
}

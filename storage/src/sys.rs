//! Two requests to block devices that no safe crate wraps.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::libc::c_char;

/// Bytes of a dataset's name with its terminator: ZFS_MAX_DATASET_NAME_LEN.
const NAME: usize = 256;

/// Has the kernel read the partition table of a whole disk again (BLKRRPART, linux/fs.h).
///
/// # Errors
/// A partition is in use, or the device has none.
pub fn reread_partitions(disk: &File) -> nix::Result<()> {
    nix::ioctl_none!(blkrrpart, 0x12, 95);
    // SAFETY: the request has no argument; the descriptor is open for the whole call.
    unsafe { blkrrpart(disk.as_raw_fd()) }?;
    Ok(())
}

/// The dataset that a zvol's device is (BLKZNAME, sys/fs/zfs.h); `None` where it is no zvol.
pub(crate) fn zvol_name(device: &File) -> Option<String> {
    nix::ioctl_read!(blkzname, 0x12, 125, [c_char; NAME]);
    let mut name: [c_char; NAME] = [0; NAME];
    // SAFETY: the request writes NAME bytes at most, which `name` has for the whole call.
    unsafe { blkzname(device.as_raw_fd(), &raw mut name) }.ok()?;
    let bytes: Vec<u8> = name
        .iter()
        .map(|c| c.to_ne_bytes()[0])
        .take_while(|b| *b != 0)
        .collect();
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

//! What a machine boots from and finds plugged in: disk files, the `AXION-CFG` volume, initramfs overlays.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use cpio::newc;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::spec::DiskContent;
use crate::{Error, Result};

/// Size of a config volume: as small a USB stick as can be bought.
const CONFIG_VOLUME_BYTES: u64 = 16 << 20;
/// The label that the appliance looks for, padded as FAT wants it.
const CONFIG_LABEL: [u8; 11] = *b"AXION-CFG  ";
/// Mode of a regular file, rw-r--r-- (inode(7)).
const REGULAR: u32 = 0o100_644;

/// Makes the raw file of a disk in `dir`, or names the one that exists.
///
/// # Errors
/// The file cannot be made or written.
pub fn disk_file(dir: &Path, number: usize, content: &DiskContent) -> Result<PathBuf> {
    let path = dir.join(format!("disk{number}.img"));
    match content {
        DiskContent::Blank { mib } => sparse(&path, mib << 20).map(|_| path),
        DiskContent::ConfigVolume(files) => config_volume(&path, files).map(|()| path),
        DiskContent::File(file) => Ok(file.clone()),
    }
}

/// Makes a FAT volume labelled `AXION-CFG` with `files` (name, contents) in its root directory.
///
/// # Errors
/// The file cannot be made or written, or a name is none that FAT allows.
pub fn config_volume(path: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let fail = |action| Error::io(action, path);
    let disk = sparse(path, CONFIG_VOLUME_BYTES)?;
    let options = FormatVolumeOptions::new().volume_label(CONFIG_LABEL);
    fatfs::format_volume(&disk, options).map_err(fail("format the config volume"))?;
    let volume = FileSystem::new(&disk, FsOptions::new()).map_err(fail("open the config volume"))?;
    for (name, contents) in files {
        let mut file = volume
            .root_dir()
            .create_file(name)
            .map_err(fail("make a file on the config volume"))?;
        file.write_all(contents)
            .map_err(fail("write the config volume"))?;
    }
    volume.unmount().map_err(fail("finish the config volume"))
}

/// Writes `base` to `path` and an archive of `files` (path without the leading `/`, contents) behind it.
///
/// The kernel unpacks archives one after the other, so later files replace earlier ones
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
///
/// # Errors
/// A file cannot be read or written.
pub fn overlay(base: &Path, path: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let mut out = File::create(path).map_err(Error::io("create the initramfs", path))?;
    let mut input = File::open(base).map_err(Error::io("read the initramfs", base))?;
    let copied = std::io::copy(&mut input, &mut out).map_err(Error::io("copy the initramfs to", path))?;
    let pad = vec![0; usize::try_from(copied.next_multiple_of(4) - copied).unwrap_or(0)];
    out.write_all(&pad).map_err(Error::io("write", path))?;
    archive(&mut out, files).map_err(Error::io("write", path))
}

/// Writes the first `keep` bytes of `base` to `path`: a download that broke off.
///
/// # Errors
/// A file cannot be read or written.
pub fn truncated(base: &Path, path: &Path, keep: u64) -> Result<()> {
    let mut out = File::create(path).map_err(Error::io("create the initramfs", path))?;
    let input = File::open(base).map_err(Error::io("read the initramfs", base))?;
    std::io::copy(&mut input.take(keep), &mut out)
        .map_err(Error::io("copy the initramfs to", path))
        .map(|_| ())
}

fn archive(mut out: &mut File, files: &[(&str, &[u8])]) -> std::io::Result<()> {
    for (name, contents) in files {
        let size = u32::try_from(contents.len()).map_err(std::io::Error::other)?;
        let mut entry = newc::Builder::new(name).mode(REGULAR).nlink(1).write(out, size);
        entry.write_all(contents)?;
        out = entry.finish()?;
    }
    newc::trailer(out).map(|_| ())
}

fn sparse(path: &Path, bytes: u64) -> Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    let file = file.map_err(Error::io("create the disk", path))?;
    file.set_len(bytes).map_err(Error::io("size the disk", path))?;
    Ok(file)
}

#[cfg(test)]
mod tests;

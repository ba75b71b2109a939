//! What a machine boots from and finds plugged in: disk files, FAT volumes, the disk image's config, initramfs overlays.

use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cpio::newc;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use gpt::GptConfig;

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
        DiskContent::Recorded { disk, log } => {
            File::create(log).map_err(Error::io("make the log of writes", log))?;
            Ok(disk.clone())
        }
    }
}

/// An EFI signature list (UEFI 2.10 §32.4.1) with one X.509 certificate, DER.
pub fn signature_list(certificate: &[u8]) -> Vec<u8> {
    /// EFI_CERT_X509_GUID.
    const X509: [u8; 16] = [
        0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
    ];
    /// Of the certificate's owner, who is nobody.
    const OWNER: [u8; 16] = [0; 16];
    let signature = OWNER.len() + certificate.len();
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    // The type, the size of the list, of its header's rest and of each signature.
    let header = X509.len() + 3 * 4;
    let parts: [&[u8]; 6] = [
        &X509,
        &size(header + signature),
        &size(0),
        &size(signature),
        &OWNER,
        certificate,
    ];
    parts.concat()
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

/// Makes a FAT volume that UEFI starts the program `efi` from, without a partition table: a stick that a person has copied the
/// file to.
///
/// # Errors
/// A file cannot be read or written.
pub fn efi_volume(path: &Path, efi: &Path) -> Result<()> {
    let fail = |action| Error::io(action, path);
    let program = std::fs::read(efi).map_err(Error::io("read the EFI program", efi))?;
    let size = u64::try_from(program.len()).unwrap_or(u64::MAX);
    let disk = sparse(path, size.next_multiple_of(1 << 20) + (8 << 20))?;
    fatfs::format_volume(&disk, FormatVolumeOptions::new()).map_err(fail("format the EFI volume"))?;
    let volume = FileSystem::new(&disk, FsOptions::new()).map_err(fail("open the EFI volume"))?;
    let boot = volume
        .root_dir()
        .create_dir("EFI")
        .and_then(|efi| efi.create_dir("BOOT"));
    boot.and_then(|boot| boot.create_file("BOOTX64.EFI")?.write_all(&program))
        .map_err(fail("write the EFI volume"))?;
    volume.unmount().map_err(fail("finish the EFI volume"))
}

/// Copies the disk image `image` to `path` and replaces `axion.toml` on its config volume by `config`, as a person does on a
/// laptop.
///
/// # Errors
/// A file cannot be read or written, or the image has no config volume.
pub fn edited_image(image: &Path, path: &Path, config: &str) -> Result<()> {
    let fail = |action| Error::io(action, path);
    std::fs::copy(image, path).map_err(fail("copy the disk image to"))?;
    let (disk, start, mut bytes) = config_volume_of(path)?;
    let volume = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new())
        .map_err(fail("open the config volume of"))?;
    let mut file = volume
        .root_dir()
        .open_file("axion.toml")
        .map_err(fail("open axion.toml of"))?;
    file.truncate()
        .and_then(|()| file.write_all(config.as_bytes()))
        .map_err(fail("write axion.toml of"))?;
    drop(file);
    volume.unmount().map_err(fail("finish the config volume of"))?;
    disk.write_all_at(&bytes, start)
        .map_err(fail("write AXION-CFG of"))
}

/// The files in the root directory of the config volume of a disk image, by name, as a person finds them on a laptop.
///
/// # Errors
/// One cannot be read, or there is no config volume.
pub fn on_config_volume(image: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let fail = |action| Error::io(action, image);
    let (_, _, mut bytes) = config_volume_of(image)?;
    let volume = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new())
        .map_err(fail("open the config volume of"))?;
    let mut files = Vec::new();
    for entry in volume.root_dir().iter() {
        let entry = entry.map_err(fail("list AXION-CFG of"))?;
        if entry.is_file() {
            let mut content = Vec::new();
            let read = entry.to_file().read_to_end(&mut content);
            read.map_err(fail("read a file on AXION-CFG of"))?;
            files.push((entry.file_name(), content));
        }
    }
    Ok(files)
}

/// The config volume of a disk image: the file, where it begins there, and its bytes.
fn config_volume_of(path: &Path) -> Result<(File, u64, Vec<u8>)> {
    let fail = |action| Error::io(action, path);
    let table = GptConfig::new()
        .open(path)
        .map_err(|e| fail("read the partitions of")(std::io::Error::other(e)))?;
    let partition = table.partitions().values().find(|p| p.name == "AXION-CFG");
    let none = || fail("find AXION-CFG on")(std::io::ErrorKind::NotFound.into());
    let (partition, sector) = (partition.ok_or_else(none)?, *table.logical_block_size());
    let start = partition.bytes_start(sector).map_err(fail("find AXION-CFG on"))?;
    let length = partition.bytes_len(sector).map_err(fail("find AXION-CFG on"))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let disk = File::options().read(true).write(true).open(path);
    let disk = disk.map_err(fail("open the disk image"))?;
    disk.read_exact_at(&mut bytes, start)
        .map_err(fail("read AXION-CFG of"))?;
    Ok((disk, start, bytes))
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

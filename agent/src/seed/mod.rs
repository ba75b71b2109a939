//! The disk that cloud-init in a guest reads (its NoCloud data source): a small FAT volume labelled `CIDATA` with
//! `user-data`, `meta-data` and, where it was given, `network-config`.
//!
//! The same texts give the same bytes: nothing in it is random or says when it was made.

use std::io::{self, Cursor, Write};

use axion_api::vm::CloudInit;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use sha2::{Digest, Sha256};

/// Size of the volume, bytes: the texts at their longest, and room for the file system.
const SIZE: usize = 512 << 10;
/// The label, padded as FAT wants it.
const LABEL: [u8; 11] = *b"CIDATA     ";
/// Longest `user-data`, bytes.
pub const LONGEST_USER_DATA: usize = 64 << 10;
/// Longest `meta-data` and `network-config`, bytes each.
pub const LONGEST_OTHER: usize = 16 << 10;

/// The volume for VM `name`.
///
/// # Errors
/// The texts are longer than they may be, and do not fit.
pub fn image(name: &str, told: &CloudInit) -> io::Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; SIZE]);
    let options = FormatVolumeOptions::new().volume_label(LABEL);
    fatfs::format_volume(&mut volume, options)?;
    {
        let volume = FileSystem::new(&mut volume, FsOptions::new().update_accessed_date(false))?;
        let write = |file: &str, text: &str| volume.root_dir().create_file(file)?.write_all(text.as_bytes());
        let meta_data = told.meta_data.clone();
        write(
            "meta-data",
            &meta_data.unwrap_or_else(|| default_meta_data(name, told)),
        )?;
        write("user-data", &told.user_data)?;
        if let Some(network_config) = &told.network_config {
            write("network-config", network_config)?;
        }
        volume.unmount()?;
    }
    Ok(volume.into_inner())
}

/// cloud-init does its work once for each instance id, so a new text is a new instance.
fn default_meta_data(name: &str, told: &CloudInit) -> String {
    let mut hash = Sha256::new();
    hash.update(&told.user_data);
    hash.update([0]);
    hash.update(told.network_config.as_deref().unwrap_or_default());
    let digest = hex::encode(hash.finalize());
    let digest = digest.get(..16).unwrap_or_default();
    format!("instance-id: {name}-{digest}\nlocal-hostname: {name}\n")
}

#[cfg(test)]
mod tests;

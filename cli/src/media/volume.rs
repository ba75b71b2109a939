//! The config volume of a disk image, with another `axion.toml` on it. The image itself stays as it is.

use std::io::{Cursor, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fatfs::{FileSystem, FsOptions};
use gpt::GptConfig;

use super::open;
use crate::error::Error;

/// Name of the partition, and label of the volume.
const NAME: &str = "AXION-CFG";
const FILE: &str = "axion.toml";
/// Bytes of the largest volume that is held in memory.
const LARGEST: u64 = 256 << 20;

/// Bytes that stand in the image's place from `at` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Offset, bytes.
    pub at: u64,
    /// Content.
    pub content: Vec<u8>,
}

/// The image's config volume with the document `config`.
///
/// # Errors
/// The image has no such volume, as an ISO has none, or the volume is broken.
pub fn with_config(image: &Path, config: &str) -> Result<Patch, Error> {
    let failed = |what: &str| {
        let what = format!("cannot {what} of {}", image.display());
        move |source: std::io::Error| Error::io(what, source)
    };
    let none = || {
        Error::Usage(format!(
            "{} has no volume {NAME} for a config; axion.img has one",
            image.display()
        ))
    };
    let table = GptConfig::new().open(image).map_err(|_| none())?;
    let partition = table.partitions().values().find(|part| part.name == NAME);
    let partition = partition.ok_or_else(none)?;
    let sector = *table.logical_block_size();
    let at = partition
        .bytes_start(sector)
        .map_err(failed("find the config volume"))?;
    let length = partition
        .bytes_len(sector)
        .map_err(failed("find the config volume"))?;
    let length = usize::try_from(length.min(LARGEST)).unwrap_or_default();
    let mut content = vec![0; length];
    let file = open(image)?;
    file.read_exact_at(&mut content, at)
        .map_err(failed("read the config volume"))?;
    let volume = FileSystem::new(Cursor::new(&mut content), FsOptions::new());
    let volume = volume.map_err(failed("open the config volume"))?;
    let mut document = volume
        .root_dir()
        .create_file(FILE)
        .map_err(failed("open axion.toml"))?;
    document
        .truncate()
        .and_then(|()| document.write_all(config.as_bytes()))
        .map_err(failed("write axion.toml"))?;
    drop(document);
    volume.unmount().map_err(failed("finish the config volume"))?;
    Ok(Patch { at, content })
}

#[cfg(test)]
mod tests;

//! FAT volumes, the same bytes every time: fixed serial number, one time stamp.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use anyhow::{Context, Result};
use axion_install::fat::date::FIXED;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

/// FAT16 has at least 4085 clusters (FAT specification 1.03, "FAT Type Determination"); a few sectors are tables.
const MIN_CLUSTERS: u64 = 4500;
/// Bytes of a cluster that every implementation takes.
const CLUSTERS: std::ops::RangeInclusive<u32> = 512..=32 << 10;
/// Bytes of the smallest volume.
const MIN_BYTES: u64 = 8 << 20;

/// A file's path on the volume, and its content.
pub type File<'a> = (String, &'a [u8]);

/// A volume to be made.
pub struct Volume {
    /// Label, padded as FAT wants it.
    pub label: [u8; 11],
    /// Serial number.
    pub id: u32,
    /// Size: whole MiB, at least 8.
    pub bytes: u64,
}

impl Volume {
    /// Makes the volume with `files`, in their order; directories of theirs are made.
    pub fn build(&self, files: &[File<'_>]) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.bytes)?];
        let label = String::from_utf8_lossy(&self.label).trim_end().to_owned();
        self.fill(&mut bytes, files)
            .with_context(|| format!("making the FAT volume {label} of {} MiB", self.bytes >> 20))?;
        Ok(bytes)
    }

    fn fill(&self, bytes: &mut [u8], files: &[File<'_>]) -> std::io::Result<()> {
        let options = FormatVolumeOptions::new()
            .volume_label(self.label)
            .volume_id(self.id)
            .fat_type(FatType::Fat16)
            .bytes_per_cluster(cluster_size(self.bytes));
        fatfs::format_volume(Cursor::new(&mut *bytes), options)?;
        let options = FsOptions::new().time_provider(&FIXED);
        let volume = FileSystem::new(Cursor::new(bytes), options)?;
        let mut made = BTreeSet::new();
        for (path, content) in files {
            for (end, _) in path.match_indices('/') {
                if made.insert(&path[..end]) {
                    volume.root_dir().create_dir(&path[..end])?;
                }
            }
            volume.root_dir().create_file(path)?.write_all(content)?;
        }
        volume.unmount()
    }
}

/// Size of a volume that holds `files`: with room for its tables, in whole MiB.
pub fn size_for(files: &[File<'_>]) -> u64 {
    let content: u64 = files.iter().map(|(_, content)| content.len() as u64).sum();
    (content + content / 64 + (2 << 20))
        .next_multiple_of(1 << 20)
        .max(MIN_BYTES)
}

/// The largest cluster that leaves FAT16 enough of them: firmware reads large ones in fewer steps.
fn cluster_size(bytes: u64) -> u32 {
    let sizes = (0..).map(|n| *CLUSTERS.start() << n);
    sizes
        .take_while(|size| CLUSTERS.contains(size) && bytes / u64::from(*size) >= MIN_CLUSTERS)
        .last()
        .unwrap_or(*CLUSTERS.start())
}

#[cfg(test)]
mod tests;

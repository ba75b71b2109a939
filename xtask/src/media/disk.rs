//! `axion.img`: a disk with a volume that any computer can edit.
//!
//! ```text
//! sector 0       GRUB's boot sector, protective MBR
//! 1 AXION-CFG    FAT: axion.toml. First, and of the type "basic data", because Windows gives no letter to an ESP and, on old
//!                versions, to nothing but the first partition of a stick
//! 2 AXION-EFI    FAT, ESP: EFI/BOOT/BOOTX64.EFI; kernel, initramfs and menu for GRUB
//! 3 AXION-BIOS   the rest of GRUB
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use gpt::GptConfig;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{self, Type};

use super::fat::{self, Volume};
use super::grub::Grub;
use crate::step::Step;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Partitions start at multiples of this many sectors: 1 MiB.
const ALIGNMENT: u64 = 2048;
/// Bytes of the config volume.
const CONFIG_BYTES: u64 = 16 << 20;
/// Bytes of the BIOS boot partition.
const BIOS_BYTES: u64 = 1 << 20;
/// Number of the partition that GRUB reads.
const ESP: u32 = 2;

/// GUID of the disk; those of its partitions follow it.
const DISK_GUID: u128 = 0x6178_696f_6e00_4000_8000_6469_736b_0000;

/// A partition to be made.
struct Partition {
    name: &'static str,
    kind: Type,
    /// First sector.
    first: u64,
    /// Bytes.
    size: u64,
}

impl Partition {
    /// First sector behind it, aligned.
    fn end(&self) -> u64 {
        (self.first + self.size.div_ceil(SECTOR)).next_multiple_of(ALIGNMENT)
    }
}

/// Builds the disk with the files `config` on its config volume and the files `esp` on its ESP.
pub fn build(
    step: &Step,
    grub: &Grub,
    config: &[fat::File<'_>],
    esp: &[fat::File<'_>],
    out: &Path,
) -> Result<()> {
    let partitions = layout(fat::size_for(esp));
    let [config_at, esp_at, bios_at] = &partitions;
    let volume = |label: &[u8; 11], id, at: &Partition| Volume {
        label: *label,
        id,
        bytes: at.size,
    };
    let config = volume(b"AXION-CFG  ", 0x4158_4346, config_at).build(config)?;
    let esp = volume(b"AXION-EFI  ", 0x4158_4546, esp_at).build(esp)?;
    let loader = grub.for_disk(step, bios_at.first, ESP)?;

    drop(std::fs::remove_file(out));
    let disk = File::options().read(true).write(true).create_new(true).open(out);
    let disk = disk.with_context(|| format!("creating {}", out.display()))?;
    // The backup of the table takes the last sectors.
    let sectors = bios_at.end() + ALIGNMENT;
    disk.set_len(sectors * SECTOR)?;
    write_table(&disk, sectors, &partitions, loader.boot_code)?;
    for (partition, content) in partitions.iter().zip([&config, &esp, &loader.partition]) {
        disk.write_all_at(content, partition.first * SECTOR)
            .with_context(|| format!("writing {}", partition.name))?;
    }
    Ok(())
}

fn layout(esp_bytes: u64) -> [Partition; 3] {
    let config = Partition {
        name: "AXION-CFG",
        kind: partition_types::BASIC,
        first: ALIGNMENT,
        size: CONFIG_BYTES,
    };
    let esp = Partition {
        name: "AXION-EFI",
        kind: partition_types::EFI,
        first: config.end(),
        size: esp_bytes,
    };
    let bios = Partition {
        name: "AXION-BIOS",
        kind: partition_types::BIOS,
        first: esp.end(),
        size: BIOS_BYTES,
    };
    [config, esp, bios]
}

fn write_table(mut disk: &File, sectors: u64, partitions: &[Partition], boot_code: [u8; 440]) -> Result<()> {
    let mut mbr = ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1)?);
    mbr.set_bootcode(boot_code);
    mbr.overwrite_lba0(&mut disk)?;
    let guid = |n: u32| uuid::Uuid::from_u128(DISK_GUID + u128::from(n));
    let mut table = GptConfig::new()
        .writable(true)
        .create_from_device(disk, Some(guid(0)))?;
    for (id, partition) in (1..).zip(partitions) {
        let length = partition.size.div_ceil(SECTOR);
        table.add_partition_at(
            partition.name,
            id,
            partition.first,
            length,
            partition.kind.clone(),
            0,
        )?;
    }
    let mut entries = table.take_partitions();
    for (id, entry) in &mut entries {
        entry.part_guid = guid(*id);
    }
    table.update_partitions(entries)?;
    table.write()?;
    Ok(())
}

#[cfg(test)]
mod tests;

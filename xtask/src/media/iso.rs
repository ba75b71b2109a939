//! `axion.iso`: a CD that is a disk too when it is written to a USB stick.
//!
//! | machine | as a CD                       | as a disk                                    |
//! |---------|-------------------------------|----------------------------------------------|
//! | BIOS    | El Torito: GRUB               | GRUB's boot sector, then the same GRUB        |
//! | UEFI    | El Torito: the ESP behind it  | GPT: the same ESP                            |

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::fat::{self, Volume};
use super::grub::Grub;
use crate::layout;
use crate::step::Step;

/// Name of the CD.
const LABEL: &str = "AXION";
/// GRUB on the CD.
const LOADER: &str = "boot/grub/eltorito.img";

/// Builds the ISO with the files `bios` and an ESP with the files `uefi`; `staging` is a directory to work in.
pub fn build(
    step: &Step,
    grub: &Grub,
    bios: &[fat::File<'_>],
    uefi: &[fat::File<'_>],
    staging: &Path,
    out: &Path,
) -> Result<()> {
    let tree = staging.join("tree");
    let loader = grub.for_cd(step)?;
    let loader = [(LOADER.to_owned(), loader.as_slice())];
    for (path, content) in bios.iter().chain(&loader) {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&tree))?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    set_times(&tree)?;
    let esp = staging.join("esp.img");
    let volume = Volume {
        label: *b"AXION-EFI  ",
        id: 0x4158_4344,
        bytes: fat::size_for(uefi),
    };
    fs::write(&esp, volume.build(uefi)?)?;
    drop(fs::remove_file(out));
    step.run(
        Command::new("xorriso")
            .env("SOURCE_DATE_EPOCH", layout::SOURCE_DATE_EPOCH.to_string())
            .env("TZ", "UTC")
            .args([
                "-no_rc",
                "-as",
                "mkisofs",
                "-quiet",
                "-iso-level",
                "3",
                "-rational-rock",
            ])
            .args(["-volid", LABEL, "-preparer", LABEL, "-appid", LABEL])
            // The first partition begins behind the partition table, so that the disk's own sectors stay untouched.
            .args(["-partition_offset", "16", "--grub2-mbr"])
            .arg(grub.hybrid_boot_sector())
            .args(["-b", LOADER, "-no-emul-boot", "-boot-load-size", "4"])
            .args(["-boot-info-table", "--grub2-boot-info"])
            .args(["-append_partition", "2", "0xef"])
            .arg(&esp)
            .args(["-appended_part_as_gpt", "-eltorito-alt-boot"])
            .args(["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"])
            .arg("-o")
            .arg(out)
            .arg(&tree),
    )
}

/// One time for every file and directory: the ISO records it.
fn set_times(tree: &Path) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(layout::SOURCE_DATE_EPOCH));
    for entry in walkdir::WalkDir::new(tree).contents_first(true) {
        let entry = entry?;
        File::open(entry.path())?
            .set_modified(time)
            .with_context(|| format!("setting the time of {}", entry.path().display()))?;
    }
    Ok(())
}

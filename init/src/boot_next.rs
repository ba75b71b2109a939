//! Has UEFI firmware start an installed disk the next time, once: `BootNext` (UEFI 2.10 §3.1.2, §3.3). The order in which firmware
//! starts things is not changed.
//!
//! ```text
//! Boot####   name ─ disk partition (GUID, place) ─ \EFI\BOOT\BOOTX64.EFI      made once for a disk, then the same is taken again
//! BootNext   ####                                                              firmware forgets it as it starts it
//! ```

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use axion_install::table::Partition;
use nix::mount::{MntFlags, MsFlags, umount2};
use uuid::Uuid;

use crate::mounts::{Mount, MountError};

/// Firmware's variables, for a moment.
const VARIABLES: Mount = Mount {
    source: "efivarfs",
    target: "/run/axion/boot-next",
    kind: "efivarfs",
    flags: MsFlags::MS_NOSUID
        .union(MsFlags::MS_NODEV)
        .union(MsFlags::MS_NOEXEC),
    options: "",
};
/// `EFI_GLOBAL_VARIABLE`.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Kept, and there for boot services and the running system.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
/// What the entry is called in firmware's menus.
const NAME: &str = "Axion";
const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";
/// The first number that is looked at: low ones are firmware's own on many machines.
const FIRST: u16 = 0x0a00;

/// Firmware was told nothing.
#[derive(Debug, thiserror::Error)]
pub enum BootNextError {
    /// It has no variables that the kernel can write.
    #[error("the firmware's variables cannot be used")]
    Variables(#[from] MountError),
    /// One cannot be read or written.
    #[error("cannot {action} the firmware's variable {variable}")]
    Variable {
        /// What was tried.
        action: &'static str,
        /// Which.
        variable: String,
        /// Why.
        source: io::Error,
    },
    /// Every number is taken.
    #[error("the firmware has no number left for a boot entry")]
    Full,
}

/// Has firmware start the loader on `esp`, a partition of a disk with sectors of `sector` bytes, the next time.
///
/// # Errors
/// Firmware is a BIOS, or takes no variable.
pub fn set(esp: &Partition, sector: u32) -> Result<(), BootNextError> {
    VARIABLES.perform()?;
    let told = tell(Path::new(VARIABLES.target), &entry(esp, sector));
    let _ = umount2(VARIABLES.target, MntFlags::MNT_DETACH);
    let _ = std::fs::remove_dir(VARIABLES.target);
    told
}

fn tell(variables: &Path, entry: &[u8]) -> Result<(), BootNextError> {
    let number = number_of(variables, entry)?;
    write(variables, "BootNext", &number.to_le_bytes())
}

/// The number of the entry, which is made where there is none that is the same; one of ours for a disk that was laid out anew since is
/// taken for it.
fn number_of(variables: &Path, entry: &[u8]) -> Result<u16, BootNextError> {
    let listed = std::fs::read_dir(variables).map_err(|source| BootNextError::Variable {
        action: "list",
        variable: "Boot####".to_owned(),
        source,
    })?;
    let names = listed
        .flatten()
        .filter_map(|found| found.file_name().into_string().ok());
    let mut taken = Vec::new();
    let mut ours = None;
    for number in names.filter_map(|name| number_in(&name)) {
        taken.push(number);
        let content = std::fs::read(path(variables, &variable(number))).unwrap_or_default();
        let content = content.get(ATTRIBUTES.len()..).unwrap_or_default();
        if content == entry {
            return Ok(number);
        }
        if name_of(content).as_deref() == Some(NAME) {
            ours = Some(number);
        }
    }
    let free = || (FIRST..=u16::MAX).find(|number| !taken.contains(number));
    let number = ours.or_else(free).ok_or(BootNextError::Full)?;
    write(variables, &variable(number), entry)?;
    Ok(number)
}

fn variable(number: u16) -> String {
    format!("Boot{number:04X}")
}

fn path(variables: &Path, variable: &str) -> PathBuf {
    variables.join(format!("{variable}-{GLOBAL}"))
}

/// The number in `Boot####-GUID`.
fn number_in(file: &str) -> Option<u16> {
    let digits = file
        .strip_prefix("Boot")?
        .strip_suffix(GLOBAL)?
        .strip_suffix('-')?;
    (digits.len() == 4).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The name in an entry (`EFI_LOAD_OPTION`).
fn name_of(entry: &[u8]) -> Option<String> {
    let (units, _) = entry.get(6..)?.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).ok()
}

fn write(variables: &Path, variable: &str, content: &[u8]) -> Result<(), BootNextError> {
    // Attributes and content in one call (Documentation/filesystems/efivarfs.rst).
    let content = [&ATTRIBUTES, content].concat();
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path(variables, variable))
        .and_then(|mut file| file.write_all(&content));
    written.map_err(|source| BootNextError::Variable {
        action: "write",
        variable: variable.to_owned(),
        source,
    })
}

/// `EFI_LOAD_OPTION` (UEFI 2.10 §3.1.3) with the path of the loader on a partition (§10.3.5.1, §10.3.5.4).
fn entry(esp: &Partition, sector: u32) -> Vec<u8> {
    const ACTIVE: u32 = 1;
    /// Media device path; a hard drive, a file.
    const MEDIA: u8 = 4;
    const HARD_DRIVE: u8 = 1;
    const FILE: u8 = 4;
    const END: [u8; 4] = [0x7f, 0xff, 4, 0];
    /// The table is a GPT, and the signature a GUID.
    const GPT: [u8; 2] = [2, 2];

    let sector = u64::from(sector.max(1));
    let drive = [
        esp.number.to_le_bytes().as_slice(),
        &(esp.start / sector).to_le_bytes(),
        &(esp.length / sector).to_le_bytes(),
        &Uuid::from_u128(esp.guid).to_bytes_le(),
        &GPT,
    ]
    .concat();
    let path = [
        node(MEDIA, HARD_DRIVE, &drive),
        node(MEDIA, FILE, &utf16(LOADER)),
        END.to_vec(),
    ]
    .concat();
    // Constants and a path of a fixed length: far below 64 KiB.
    let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
    [
        ACTIVE.to_le_bytes().as_slice(),
        &length.to_le_bytes(),
        &utf16(NAME),
        &path,
    ]
    .concat()
}

/// A node of a device path: type, subtype, length with its header, data.
fn node(kind: u8, of: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX);
    [&[kind, of], length.to_le_bytes().as_slice(), data].concat()
}

/// With a NUL at its end.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests;

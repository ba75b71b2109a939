//! What systemd-stub measures of a UKI into PCR 11 (systemd-stub(7)), so that somebody can vouch for it before it was ever started.
//!
//! Each section of a known name, in a fixed order wherever it lies in the file: its name with a NUL, then its content as the
//! firmware has loaded it, zeros included.

use object::LittleEndian as LE;
use object::read::pe::PeFile64;
use sha2::{Digest, Sha256};

use super::{UkiError, position};

/// The sections, in the stub's order. `.pcrsig` is none of them.
const SECTIONS: [&str; 12] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
    ".profile", ".dtbauto",
];
/// What is hashed at once where the file has no more of a section.
const ZEROS: [u8; 4096] = [0; 4096];

/// PCR 11, in its SHA-256 bank, once the stub of `uki` hands over to the kernel.
///
/// # Errors
/// It is no UKI, or is cut off.
pub fn measured(uki: &[u8]) -> Result<[u8; 32], UkiError> {
    let file = PeFile64::parse(uki).map_err(|_| UkiError::NoUki)?;
    let mut register = [0; 32];
    for name in SECTIONS {
        let mut sections = file.section_table().iter();
        let Some(section) = sections.find(|section| section.raw_name() == name.as_bytes()) else {
            continue;
        };
        extend(&mut register, Sha256::digest([name.as_bytes(), &[0]].concat()));
        let length = position(section.virtual_size.get(LE))?;
        let start = position(section.pointer_to_raw_data.get(LE))?;
        let raw = position(section.size_of_raw_data.get(LE))?.min(length);
        let content = uki.get(start..).and_then(|rest| rest.get(..raw));
        let mut hash = Sha256::new_with_prefix(content.ok_or(UkiError::NoUki)?);
        let mut missing = length - raw;
        while let Some(zeros) = ZEROS
            .get(..missing.min(ZEROS.len()))
            .filter(|zeros| !zeros.is_empty())
        {
            hash.update(zeros);
            missing -= zeros.len();
        }
        extend(&mut register, hash.finalize());
    }
    Ok(register)
}

/// Adds a digest to a register (TPM 2.0 Library, Part 1, 11.4.5.4).
fn extend(register: &mut [u8; 32], digest: impl AsRef<[u8]>) {
    *register = Sha256::digest([&register[..], digest.as_ref()].concat()).into();
}

#[cfg(test)]
mod tests;

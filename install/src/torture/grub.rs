//! A loader for a BIOS to test with.

use crate::bios;
use crate::plan::BIOS_START;

/// A loader for a BIOS, as far as it is looked at.
pub(crate) struct Grub {
    boot_code: [u8; bios::BOOT_CODE],
    core: Vec<u8>,
}

impl Grub {
    pub(crate) fn new() -> Self {
        let first = BIOS_START / bios::SECTOR;
        let (mut boot_code, mut core) = ([0x90; bios::BOOT_CODE], vec![0x47; 3 * 512]);
        put(&mut boot_code, 0x5c, &first.to_le_bytes());
        put(&mut core, 500, &(first + 1).to_le_bytes());
        put(&mut core, 508, &2_u16.to_le_bytes());
        Self { boot_code, core }
    }

    pub(crate) fn loader(&self) -> bios::Loader<'_> {
        bios::Loader {
            boot_code: &self.boot_code,
            core: &self.core,
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

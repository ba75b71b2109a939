//! An address space (I/O ports or memory) and the devices in it.
//!
//! What nobody answers reads as ones and ignores writes, as on a PC.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::BusDevice;

/// Two devices want the same addresses.
#[derive(Debug, thiserror::Error)]
#[error("device range {base:#x}+{size:#x} overlaps another")]
pub struct Overlap {
    base: u64,
    size: u64,
}

/// One address space.
#[derive(Default)]
pub struct Bus {
    /// By first address: size and device.
    ranges: BTreeMap<u64, (u64, Arc<dyn BusDevice>)>,
}

impl Bus {
    /// Puts `device` at `base..base + size`.
    ///
    /// # Errors
    /// [`Overlap`] with a device that is there already.
    pub fn insert(&mut self, base: u64, size: u64, device: Arc<dyn BusDevice>) -> Result<(), Overlap> {
        let end = base.saturating_add(size);
        let clash = self
            .ranges
            .range(..end)
            .next_back()
            .is_some_and(|(start, (len, _))| start + len > base);
        if clash {
            return Err(Overlap { base, size });
        }
        self.ranges.insert(base, (size, device));
        Ok(())
    }

    /// The guest reads.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((offset, device)) = self.find(address) {
            device.read(offset, data);
        }
    }

    /// The guest writes.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address) {
            device.write(offset, data);
        }
    }

    fn find(&self, address: u64) -> Option<(u64, &dyn BusDevice)> {
        let (base, (size, device)) = self.ranges.range(..=address).next_back()?;
        let offset = address - base;
        (offset < *size).then_some((offset, device.as_ref()))
    }
}

#[cfg(test)]
mod tests;

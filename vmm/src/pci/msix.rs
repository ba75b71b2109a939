//! MSI-X (PCI local bus specification 3.0 §6.8.2): table and pending bits of a function.
//!
//! ```text
//! raise ──> enabled? ──no──> lost (there is no interrupt pin)
//!              │yes
//!              ▼
//!          masked, by entry or function? ──yes──> pending bit, delivered when unmasked
//!              │no
//!              ▼
//!          [`MsiVector`], routed to the entry's address and data when the entry was last unmasked or changed
//! ```
//!
//! A vector may be given to somebody else (the kernel's own devices), who raises it past the table, by an eventfd. It is
//! then disconnected while it is masked: what comes meanwhile waits in the eventfd.
//!
//! Each vector has a lock of its own: queues of a device do not wait for each other, and no interrupt is delivered any
//! more once the write that masks it has returned.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use super::registers::Registers;
use crate::devices::ioapic::Msi;

/// Most vectors of a function of ours: what fits in a page of the table.
pub const MAX_VECTORS: u16 = 256;
/// Bytes of a table entry.
const ENTRY: usize = 16;

const CAPABILITY: u8 = 0x11;
const CONTROL_ENABLE: u16 = 1 << 15;
const CONTROL_MASK: u16 = 1 << 14;
/// Mask bit of an entry's vector control.
const ENTRY_MASK: u32 = 1;

/// One interrupt into the machine's local APICs.
pub trait MsiVector: Send + Sync {
    /// From now on it delivers `msi`.
    fn route(&self, msi: Msi);
    /// Delivers it.
    fn raise(&self);
    /// Whose signals deliver it.
    fn event(&self) -> Arc<EventFd>;
    /// Whether they do; until then they wait.
    fn connect(&self, connected: bool);
}

/// What the function lets its vectors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Disabled,
    Masked,
    Open,
}

struct Vector {
    entry: Mutex<Entry>,
    target: Box<dyn MsiVector>,
}

struct Entry {
    /// Address low and high, data, vector control.
    words: [u32; 4],
    gate: Gate,
    pending: bool,
    routed: Option<Msi>,
    /// Somebody else raises it.
    given: bool,
    connected: bool,
}

impl Entry {
    fn is_open(&self) -> bool {
        let [.., control] = self.words;
        self.gate == Gate::Open && control & ENTRY_MASK == 0
    }

    /// The entry as an MSI. Address bits 11:5 are bits 14:8 of the APIC id (`KVM_FEATURE_MSI_EXT_DEST_ID`), which KVM
    /// takes in the high half.
    fn msi(&self) -> Msi {
        const EXTENDED: u32 = 0xfe0;
        const REMAPPABLE: u32 = 1 << 4;
        let [low, high, data, _] = self.words;
        let high = high & !0xff;
        if high == 0 && low & REMAPPABLE == 0 {
            Msi {
                address_low: low & !EXTENDED,
                address_high: (low & EXTENDED) << 3,
                data,
            }
        } else {
            Msi {
                address_low: low,
                address_high: high,
                data,
            }
        }
    }

    /// After any change: routes, and delivers what waited.
    fn settle(&mut self, target: &dyn MsiVector) {
        if !self.is_open() {
            self.connect(target, !self.given);
            return;
        }
        let msi = self.msi();
        if self.routed != Some(msi) {
            target.route(msi);
            self.routed = Some(msi);
        }
        self.connect(target, true);
        if std::mem::take(&mut self.pending) {
            target.raise();
        }
    }

    fn connect(&mut self, target: &dyn MsiVector, connected: bool) {
        if self.connected != connected {
            target.connect(connected);
            self.connected = connected;
        }
    }
}

/// The vectors of a function.
pub struct Msix {
    vectors: Vec<Vector>,
}

impl Msix {
    /// Vectors that are all masked, as after reset.
    pub fn new(targets: Vec<Box<dyn MsiVector>>) -> Self {
        let vector = |target| {
            let entry = Entry {
                words: [0, 0, 0, ENTRY_MASK],
                gate: Gate::Disabled,
                pending: false,
                routed: None,
                given: false,
                connected: true,
            };
            Vector {
                entry: Mutex::new(entry),
                target,
            }
        };
        Self {
            vectors: targets.into_iter().map(vector).collect(),
        }
    }

    /// Vectors.
    pub fn len(&self) -> u16 {
        u16::try_from(self.vectors.len()).unwrap_or(u16::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// Adds the capability, with table and pending bits at these offsets of BAR 0. Returns the offset of its message
    /// control register.
    pub fn add_capability(&self, registers: &mut Registers, table: u32, pending: u32) -> usize {
        let mut body = [0; 10];
        let words = (self.len().saturating_sub(1)).to_le_bytes().into_iter();
        let bytes = words.chain(table.to_le_bytes()).chain(pending.to_le_bytes());
        for (to, from) in body.iter_mut().zip(bytes) {
            *to = from;
        }
        let writable = (CONTROL_ENABLE | CONTROL_MASK).to_le_bytes();
        registers.add_capability(CAPABILITY, &body, &writable) + 2
    }

    /// The message control register is now `control`.
    pub fn set_control(&self, control: u16) {
        let gate = match (control & CONTROL_ENABLE != 0, control & CONTROL_MASK != 0) {
            (false, _) => Gate::Disabled,
            (true, true) => Gate::Masked,
            (true, false) => Gate::Open,
        };
        for vector in &self.vectors {
            let mut entry = vector.entry();
            if entry.gate != gate {
                entry.gate = gate;
                entry.pending &= gate != Gate::Disabled;
                entry.settle(vector.target.as_ref());
            }
        }
    }

    /// Raises `vector`; says whether MSI-X is enabled.
    pub fn raise(&self, vector: u16) -> bool {
        let Some(vector) = self.vectors.get(usize::from(vector)) else {
            return true;
        };
        let mut entry = vector.entry();
        if entry.is_open() {
            vector.target.raise();
        } else {
            entry.pending = entry.gate != Gate::Disabled;
        }
        entry.gate != Gate::Disabled
    }

    /// Gives `vector` away: whoever signals the eventfd raises it.
    pub fn give(&self, vector: u16) -> Option<Arc<EventFd>> {
        let vector = self.vectors.get(usize::from(vector))?;
        let mut entry = vector.entry();
        entry.given = true;
        entry.settle(vector.target.as_ref());
        Some(vector.target.event())
    }

    /// The guest reads the table.
    pub fn read_table(&self, offset: usize, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            let words = self.vectors.get(at / ENTRY).map_or([0; 4], |v| v.entry().words);
            let word = words.get(at % ENTRY / 4).copied().unwrap_or(0);
            *byte = word.to_le_bytes().get(at % 4).copied().unwrap_or(0);
        }
    }

    /// The guest writes the table: one or two whole words, as the specification demands; all else is ignored.
    pub fn write_table(&self, offset: usize, data: &[u8]) {
        if !offset.is_multiple_of(4) || !matches!(data.len(), 4 | 8) {
            return;
        }
        let Some(vector) = self.vectors.get(offset / ENTRY) else {
            return;
        };
        let mut entry = vector.entry();
        let words = entry.words.iter_mut().skip(offset % ENTRY / 4);
        for (word, bytes) in words.zip(data.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
        }
        let [.., control] = &mut entry.words;
        *control &= ENTRY_MASK;
        entry.settle(vector.target.as_ref());
    }

    /// The guest reads the pending bits.
    pub fn read_pending(&self, offset: usize, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            let bits = self.vectors.iter().skip(at * 8).take(8).enumerate();
            *byte = bits.fold(0, |byte, (bit, v)| byte | u8::from(v.entry().pending) << bit);
        }
    }
}

impl Vector {
    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

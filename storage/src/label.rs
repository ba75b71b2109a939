//! Which pool a device says it is of.
//!
//! A device of a pool carries four copies of a label of 256 KiB, two at each end; the label's second 16 KiB-block to its 128th
//! KiB is a list of names and values in XDR (vdev_label.c: "The on-disk label"). Only what decides about imports is read here.
//!
//! ```text
//! label   0 ── 8 KiB blank ── 16 KiB boot header ── 128 KiB name/value list ── 256 KiB uberblocks of 1 KiB and more
//! list    encoding (1 = XDR), byte order, 2 reserved │ version u32, flags u32 │ pair … │ 0u32 0u32
//! pair    size u32, decoded size u32 │ name: length u32, bytes, padding │ type u32, elements u32 │ value
//! ```

/// Bytes of a label.
pub const LABEL: u64 = 256 << 10;
/// Where the list is in a label, and where it ends.
const LIST: std::ops::Range<usize> = (16 << 10)..(128 << 10);
/// Where the uberblocks are.
const UBERBLOCKS: std::ops::Range<usize> = (128 << 10)..(256 << 10);
/// First number of an uberblock.
const UBERBLOCK_MAGIC: u64 = 0x00ba_b10c;
/// Types of values (nvpair.h).
const UINT64: u32 = 8;
const STRING: u32 = 9;
/// `pool_state_t`: whoever has the pool has not given it back.
const ACTIVE: u64 = 0;
const DESTROYED: u64 = 2;

/// What a label says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    /// The pool's name.
    pub pool: String,
    /// The pool's id.
    pub pool_guid: u64,
    /// The device's id.
    pub guid: u64,
    /// Transaction group; the highest is the newest.
    pub txg: u64,
    /// `pool_state_t`.
    pub state: u64,
    /// The host that had it last; 0: none is named.
    pub hostid: u32,
    /// Name of that host.
    pub hostname: String,
}

impl Label {
    /// Whether whoever had it last has not given it back.
    pub fn is_active(&self) -> bool {
        self.state == ACTIVE
    }

    /// Whether the pool was destroyed.
    pub fn is_destroyed(&self) -> bool {
        self.state == DESTROYED
    }

    /// Reads a label of [`LABEL`] bytes.
    pub fn read(label: &[u8]) -> Option<Self> {
        let list = label.get(LIST)?;
        if list.first() != Some(&1) {
            return None;
        }
        // Behind the 4 bytes of the encoding and the 8 of version and flags.
        let mut rest = list.get(12..)?;
        let mut read = Self::default();
        loop {
            let size = usize::try_from(word(rest, 0)?).ok()?;
            if size == 0 {
                break;
            }
            let pair = rest.get(..size)?;
            read.take(pair);
            rest = rest.get(size..)?;
        }
        (!read.pool.is_empty() && read.pool_guid != 0).then_some(read)
    }

    /// Takes over a pair that counts.
    fn take(&mut self, pair: &[u8]) -> Option<()> {
        let length = usize::try_from(word(pair, 8)?).ok()?;
        let name = pair.get(12..12 + length)?;
        let value = pair.get(12 + length.next_multiple_of(4)..)?;
        let kind = word(value, 0)?;
        let value = value.get(8..)?;
        match (name, kind) {
            (b"name", STRING) => self.pool = string(value)?,
            (b"hostname", STRING) => self.hostname = string(value)?,
            (b"pool_guid", UINT64) => self.pool_guid = long(value)?,
            (b"guid", UINT64) => self.guid = long(value)?,
            (b"txg", UINT64) => self.txg = long(value)?,
            (b"state", UINT64) => self.state = long(value)?,
            (b"hostid", UINT64) => self.hostid = u32::try_from(long(value)?).ok()?,
            _ => {}
        }
        Some(())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?))
}

fn string(bytes: &[u8]) -> Option<String> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    Some(String::from_utf8_lossy(bytes.get(4..4 + length)?).into_owned())
}

/// Whether a label that cannot be read any more was one: its uberblocks are there.
pub fn has_uberblock(label: &[u8]) -> bool {
    let area = label.get(UBERBLOCKS).unwrap_or_default();
    area.chunks(1024).any(|block| {
        let magic: Option<[u8; 8]> = block.get(..8).and_then(|magic| magic.try_into().ok());
        magic.is_some_and(|magic| {
            [u64::from_le_bytes(magic), u64::from_be_bytes(magic)].contains(&UBERBLOCK_MAGIC)
        })
    })
}

#[cfg(test)]
mod tests;

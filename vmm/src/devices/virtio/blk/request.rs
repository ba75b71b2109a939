//! Requests (virtio 1.3 §5.2.6), from chains of descriptors. Decides what is to be done; does nothing.
//!
//! ```text
//! readable: header (type, sector) │ data of a write, or ranges of a discard
//! writable: data of a read, or id │ status
//! ```
//!
//! Framing is free (§2.7.4): header and status may lie anywhere in the segments.

use super::backing::Geometry;
use crate::devices::virtio::queue::segments::{take_first, take_last};
use crate::devices::virtio::queue::{Chain, RingError, Segment};
use crate::memory::GuestMemory;

/// Bytes of a sector, the unit of all positions whatever the block size is.
pub const SECTOR: u64 = 512;
/// Most data segments of a request.
pub const SEG_MAX: u32 = 254;
/// Most bytes of a segment.
pub const SIZE_MAX: u32 = 1 << 20;
/// Most bytes of data: what the two above make.
const DATA_MAX: u64 = SEG_MAX as u64 * SIZE_MAX as u64;
/// Most bytes that one request discards or zeroes.
pub const RANGE_MAX: u64 = 256 << 20;
/// Bytes of the id.
pub const ID: usize = 20;

const HEADER: usize = 16;
const RANGE: usize = 16;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;
const TYPE_DISCARD: u32 = 11;
const TYPE_WRITE_ZEROES: u32 = 13;

/// Flag of a range: what is zeroed may be deallocated.
const UNMAP: u32 = 1;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Well.
    Ok = 0,
    /// Not.
    IoError = 1,
    /// The device does not do that.
    Unsupported = 2,
}

/// What is to be done with the data segments that are left in the chain. Positions and lengths are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read `len` bytes at `offset`.
    Read {
        /// Position.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Write `len` bytes at `offset`.
    Write {
        /// Position.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Make durable what was written.
    Flush,
    /// Tell the serial number.
    Id,
    /// The range may lose its contents.
    Discard {
        /// Position.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// The range becomes zero.
    WriteZeroes {
        /// Position.
        offset: u64,
        /// Bytes.
        len: u64,
        /// It may be deallocated.
        unmap: bool,
    },
    /// Nothing: it has ended.
    End(Status),
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// Guest address of its status byte.
    pub status: u64,
}

/// Parses the request in `chain`, in which only its data is left.
///
/// # Errors
/// [`RingError::Buffer`] where there is no whole header, or no place for the status.
pub fn parse(
    memory: &GuestMemory,
    chain: &mut Chain,
    geometry: Geometry,
    read_only: bool,
) -> Result<Request, RingError> {
    let status = take_last(&mut chain.writable).ok_or(RingError::Buffer)?;
    let header: [u8; HEADER] = take_first(memory, &mut chain.readable).ok_or(RingError::Buffer)?;
    let [a, b, c, d, _, _, _, _, sector @ ..] = header;
    let kind = u32::from_le_bytes([a, b, c, d]);
    let sector = u64::from_le_bytes(sector);
    let action = match kind {
        TYPE_IN => match data(sector, &chain.writable, geometry) {
            Ok((offset, len)) => Action::Read { offset, len },
            Err(status) => Action::End(status),
        },
        TYPE_OUT if read_only => Action::End(Status::IoError),
        TYPE_OUT => match data(sector, &chain.readable, geometry) {
            Ok((offset, len)) => Action::Write { offset, len },
            Err(status) => Action::End(status),
        },
        TYPE_FLUSH if read_only => Action::End(Status::Ok),
        TYPE_FLUSH => Action::Flush,
        TYPE_GET_ID => Action::Id,
        TYPE_DISCARD | TYPE_WRITE_ZEROES if read_only => Action::End(Status::IoError),
        TYPE_DISCARD | TYPE_WRITE_ZEROES => {
            let zeroes = kind == TYPE_WRITE_ZEROES;
            range(memory, chain, geometry, zeroes).unwrap_or_else(Action::End)
        }
        _ => Action::End(Status::Unsupported),
    };
    Ok(Request { action, status })
}

/// Position and length of the data of a read or write.
fn data(sector: u64, segments: &[Segment], geometry: Geometry) -> Result<(u64, u64), Status> {
    let len: u64 = segments.iter().map(|segment| u64::from(segment.len)).sum();
    if len == 0 || len > DATA_MAX || !len.is_multiple_of(SECTOR) {
        return Err(Status::IoError);
    }
    inside(sector, len, geometry).map(|offset| (offset, len))
}

/// The position of `sector`, if `len` bytes from there are on the disk.
fn inside(sector: u64, len: u64, geometry: Geometry) -> Result<u64, Status> {
    let offset = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
    match offset.checked_add(len) {
        Some(end) if end <= geometry.capacity => Ok(offset),
        _ => Err(Status::IoError),
    }
}

/// The one range of a discard or zeroing.
fn range(
    memory: &GuestMemory,
    chain: &mut Chain,
    geometry: Geometry,
    zeroes: bool,
) -> Result<Action, Status> {
    let bytes: [u8; RANGE] = take_first(memory, &mut chain.readable).ok_or(Status::IoError)?;
    if !chain.readable.is_empty() {
        return Err(Status::IoError);
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, flags @ ..] = bytes;
    let sector = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let len = u64::from(u32::from_le_bytes([i, j, k, l])) * SECTOR;
    let flags = u32::from_le_bytes(flags);
    let allowed = if zeroes { UNMAP } else { 0 };
    if flags & !allowed != 0 {
        return Err(Status::Unsupported);
    }
    if len > RANGE_MAX {
        return Err(Status::IoError);
    }
    let offset = inside(sector, len, geometry)?;
    if len == 0 {
        return Err(Status::Ok);
    }
    Ok(if zeroes {
        Action::WriteZeroes {
            offset,
            len,
            unmap: flags & UNMAP != 0,
        }
    } else {
        Action::Discard { offset, len }
    })
}

#[cfg(test)]
mod tests;

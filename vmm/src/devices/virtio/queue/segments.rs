//! What devices do with the segments of a chain. Framing is free (§2.7.4): headers may lie anywhere in them.

use vm_memory::{Bytes, GuestAddress};

use super::Segment;
use crate::memory::GuestMemory;

/// Bytes of `segments`.
pub fn total(segments: &[Segment]) -> usize {
    let lengths = segments.iter().map(|segment| usize::try_from(segment.len));
    lengths
        .map(|len| len.unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add)
}

/// Takes the first `N` bytes away from `segments`.
pub fn take_first<const N: usize>(memory: &GuestMemory, segments: &mut Vec<Segment>) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut taken = 0;
    while taken < N {
        let segment = segments.get_mut(0)?;
        let len = usize::try_from(segment.len).unwrap_or(usize::MAX).min(N - taken);
        let place = bytes.get_mut(taken..taken + len)?;
        memory.read_slice(place, GuestAddress(segment.address)).ok()?;
        taken += len;
        advance(segments, len as u64);
    }
    Some(bytes)
}

/// Takes the last byte away from `segments`; returns its address.
pub fn take_last(segments: &mut Vec<Segment>) -> Option<u64> {
    let segment = segments.last_mut()?;
    segment.len -= 1;
    let address = segment.address + u64::from(segment.len);
    if segment.len == 0 {
        segments.pop();
    }
    Some(address)
}

/// Takes the first `count` bytes away from `segments`.
pub fn advance(segments: &mut Vec<Segment>, mut count: u64) {
    let mut whole = 0;
    for segment in segments.iter_mut() {
        let len = u64::from(segment.len);
        if count < len {
            segment.address += count;
            segment.len -= u32::try_from(count).unwrap_or(0);
            break;
        }
        count -= len;
        whole += 1;
    }
    segments.drain(..whole);
}

/// Writes `bytes` from byte `offset` of `segments` on, as many as there is room for; returns their number.
pub fn write(memory: &GuestMemory, segments: &[Segment], mut offset: usize, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    for segment in segments {
        let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
        if offset >= len {
            offset -= len;
            continue;
        }
        let count = (len - offset).min(rest.len());
        let (part, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        let address = GuestAddress(segment.address + offset as u64);
        // It was guest memory when it was taken, and guest memory stays.
        let _ = memory.write_slice(part, address);
        (rest, offset) = (after, 0);
        if rest.is_empty() {
            break;
        }
    }
    bytes.len() - rest.len()
}

//! Marks that file systems, volume managers and partition tables leave at fixed places.

/// A mark: bytes from the device's start, the bytes there, and whose they are.
struct Mark {
    at: usize,
    bytes: &'static [u8],
    name: &'static str,
}

const fn mark(at: usize, bytes: &'static [u8], name: &'static str) -> Mark {
    Mark { at, bytes, name }
}

const MARKS: [Mark; 23] = [
    mark(0x438, &[0x53, 0xef], "ext2, ext3 or ext4"),
    mark(0, b"XFSB", "XFS"),
    mark(0x1_0040, b"_BHRfS_M", "Btrfs"),
    mark(0, b"LUKS\xba\xbe", "LUKS"),
    mark(0x200, b"LABELONE", "LVM"),
    mark(0x18, b"LVM2 001", "LVM"),
    mark(0x218, b"LVM2 001", "LVM"),
    mark(0xff6, b"SWAPSPACE2", "swap"),
    mark(0xff6, b"SWAP-SPACE", "swap"),
    mark(0x1000, &[0xfc, 0x4e, 0x2b, 0xa9], "Linux RAID"),
    mark(0, &[0xfc, 0x4e, 0x2b, 0xa9], "Linux RAID"),
    mark(3, b"NTFS    ", "NTFS"),
    mark(3, b"EXFAT   ", "exFAT"),
    mark(0x36, b"FAT1", "FAT"),
    mark(0x52, b"FAT32", "FAT"),
    mark(0x8001, b"CD001", "ISO 9660"),
    mark(0, b"hsqs", "SquashFS"),
    mark(0x400, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    mark(0x400, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    mark(
        0x1018,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca],
        "bcache",
    ),
    mark(
        0x1018,
        &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9],
        "bcachefs",
    ),
    mark(0, b"BlueStor", "Ceph"),
    mark(0, b"ceph bluestore", "Ceph"),
];

/// Whose marks are in the first bytes of a device.
pub(crate) fn at_start(head: &[u8]) -> Vec<&'static str> {
    let there = |mark: &&Mark| {
        head.get(mark.at..)
            .is_some_and(|rest| rest.starts_with(mark.bytes))
    };
    let mut names: Vec<_> = MARKS.iter().filter(there).map(|mark| mark.name).collect();
    names.dedup();
    names
}

/// Whether the device has a GPT, at its start or its end.
pub(crate) fn is_gpt(head: &[u8], tail: &[u8], sector: usize) -> bool {
    const GPT: &[u8] = b"EFI PART";
    let first = head.get(sector..).is_some_and(|rest| rest.starts_with(GPT));
    let last = tail.len().checked_sub(sector).and_then(|at| tail.get(at..));
    first || last.is_some_and(|rest| rest.starts_with(GPT))
}

/// Whether the first sector has a DOS partition table with an entry: a file system's boot sector ends the same way, but has no
/// sound entries (a status of 0x00 or 0x80 and a type).
pub(crate) fn is_mbr(head: &[u8]) -> bool {
    let signed = head.get(510..512) == Some(&[0x55, 0xaa]);
    let entries = head.get(446..510).unwrap_or_default();
    let sound = entries
        .chunks(16)
        .all(|e| e.first().is_some_and(|status| status & 0x7f == 0));
    let used = entries
        .chunks(16)
        .any(|e| e.get(4).is_some_and(|kind| *kind != 0));
    signed && sound && used
}

#[cfg(test)]
mod tests;

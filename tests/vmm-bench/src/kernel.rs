//! A guest kernel of ten instructions: it writes one byte to the first serial port and halts.
//!
//! An ELF file with a PVH note (Xen's `XEN_ELFNOTE_PHYS32_ENTRY`), which every VMM at hand boots.

/// Where it is loaded and entered, in 32-bit protected mode.
const ENTRY: u32 = 0x10_0000;
/// The byte.
pub const BYTE: u8 = b'!';

/// `mov dx, 0x3f8; mov al, BYTE; out dx, al; cli; 1: hlt; jmp 1b`
const CODE: [u8; 13] = [
    0x66, 0xba, 0xf8, 0x03, 0xb0, BYTE, 0xee, 0xfa, 0xf4, 0xeb, 0xfd, 0x90, 0x90,
];

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// Header, name and value of the note.
const NOTE: u64 = 12 + 4 + 8;

/// The file.
pub fn file() -> Vec<u8> {
    let note = HEADER + 2 * PROGRAM_HEADER;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // An executable for x86-64.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [u64::from(ENTRY), HEADER, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64u16, 56, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut segment = |kind: u32, offset: u64, address: u64, size: u64| {
        file.extend([kind.to_le_bytes(), 7u32.to_le_bytes()].concat());
        for word in [offset, address, address, size, size, 4] {
            file.extend(word.to_le_bytes());
        }
    };
    segment(1, note + NOTE, ENTRY.into(), CODE.len() as u64);
    segment(4, note, 0, NOTE);
    for word in [4, 8, 18, u32::from_le_bytes(*b"Xen\0"), ENTRY, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(CODE);
    file
}

use axion_install::table::Kind;

use super::*;

fn esp() -> Partition {
    Partition {
        number: 2,
        name: "AXION-EFI".to_owned(),
        kind: Kind::Esp,
        start: 1 << 20,
        length: 512 << 20,
        guid: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
    }
}

fn read(variables: &Path, name: &str) -> Vec<u8> {
    std::fs::read(path(variables, name)).unwrap()
}

#[test]
fn an_entry_is_laid_out_as_firmware_reads_it() {
    let entry = entry(&esp(), 512);
    assert_eq!(entry[..4], [1, 0, 0, 0]);
    assert_eq!(name_of(&entry).as_deref(), Some("Axion"));
    let path = &entry[6 + 12..];
    assert_eq!(usize::from(u16::from_le_bytes([entry[4], entry[5]])), path.len());
    // A hard drive of 42 bytes: partition 2, from sector 2048 on, 1048576 sectors.
    assert_eq!(path[..4], [4, 1, 42, 0]);
    assert_eq!(path[4..8], [2, 0, 0, 0]);
    assert_eq!(path[8..16], 2048_u64.to_le_bytes());
    assert_eq!(path[16..24], (1_u64 << 20).to_le_bytes());
    // The first three parts of a GUID are little-endian.
    assert_eq!(path[24..32], [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]);
    assert_eq!(
        path[32..42],
        [0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 2, 2]
    );
    assert_eq!(path[42..44], [4, 4]);
    assert!(path.ends_with(&[0, 0, 0x7f, 0xff, 4, 0]));
    let sectors = super::entry(&esp(), 4096);
    assert_eq!(sectors[18 + 8..18 + 16], 256_u64.to_le_bytes());
}

#[test]
fn one_entry_is_made_and_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let variables = dir.path();
    std::fs::write(
        path(variables, "Boot0A00"),
        b"\x07\0\0\0\x01\0\0\0\0\0P\0X\0E\0\0\0",
    )
    .unwrap();
    std::fs::write(
        variables.join("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c"),
        b"",
    )
    .unwrap();
    let first = entry(&esp(), 512);
    tell(variables, &first).unwrap();
    assert_eq!(read(variables, "BootNext"), [7, 0, 0, 0, 0x01, 0x0a]);
    assert_eq!(read(variables, "Boot0A01")[4..], first);
    std::fs::remove_file(path(variables, "BootNext")).unwrap();
    tell(variables, &first).unwrap();
    assert_eq!(read(variables, "BootNext"), [7, 0, 0, 0, 0x01, 0x0a]);
    // The disk was laid out anew: the old entry leads nowhere any more.
    let other = entry(&Partition { guid: 7, ..esp() }, 512);
    tell(variables, &other).unwrap();
    assert_eq!(read(variables, "BootNext"), [7, 0, 0, 0, 0x01, 0x0a]);
    assert_eq!(read(variables, "Boot0A01")[4..], other);
    assert!(!path(variables, "Boot0A02").exists());
    // What is firmware's own stays.
    assert_eq!(name_of(&read(variables, "Boot0A00")[4..]).as_deref(), Some("PXE"));
}

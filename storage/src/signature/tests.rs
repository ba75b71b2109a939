use super::*;

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 1 << 20];
    head[at..at + bytes.len()].copy_from_slice(bytes);
    head
}

#[test]
fn file_systems_are_known_by_their_marks() {
    assert!(at_start(&vec![0; 1 << 20]).is_empty());
    assert_eq!(at_start(&with(0x438, &[0x53, 0xef])), ["ext2, ext3 or ext4"]);
    assert_eq!(at_start(&with(0, b"XFSB")), ["XFS"]);
    assert_eq!(at_start(&with(0x1_0040, b"_BHRfS_M")), ["Btrfs"]);
    assert_eq!(at_start(&with(0x218, b"LVM2 001")), ["LVM"]);
    assert_eq!(at_start(&with(0x8001, b"CD001")), ["ISO 9660"]);
    assert_eq!(at_start(b"XFS"), Vec::<&str>::new());
}

#[test]
fn tables_are_known() {
    let tail = with((1 << 20) - 512, b"EFI PART");
    let nothing = vec![0; 1 << 20];
    assert!(is_gpt(&with(512, b"EFI PART"), &nothing, 512));
    assert!(is_gpt(&nothing, &tail, 512));
    assert!(is_gpt(&with(4096, b"EFI PART"), &nothing, 4096));
    assert!(!is_gpt(&nothing, &nothing, 512));
    assert!(!is_gpt(&nothing, &[], 512));

    let mut mbr = with(510, &[0x55, 0xaa]);
    assert!(!is_mbr(&mbr));
    mbr[446 + 4] = 0x83;
    assert!(is_mbr(&mbr));
    // The code of a boot sector.
    mbr[446] = 0x12;
    assert!(!is_mbr(&mbr));
}

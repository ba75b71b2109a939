use super::*;

#[test]
fn the_boot_sector_finds_the_loader_and_the_loader_its_rest() {
    let mut boot = vec![0; SECTOR];
    boot[..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
    let loader = place(&boot, vec![0xaa; 3 * SECTOR + 1], 0x0001_0000_0800).unwrap();
    assert_eq!(loader.boot_code[..3], [0xeb, 0x63, 0x90]);
    assert_eq!(loader.boot_code[0x5c..0x64], [0, 8, 0, 0, 1, 0, 0, 0]);
    assert_eq!(loader.boot_code[0x66..0x68], [0x90, 0x90]);
    assert_eq!(loader.partition.len(), 4 * SECTOR);
    assert_eq!(loader.partition[500..508], [1, 8, 0, 0, 1, 0, 0, 0]);
    assert!(place(&boot, vec![0; SECTOR], 2048).is_err());
}

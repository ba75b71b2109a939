use std::path::Path;

use proptest::prelude::{ProptestConfig, any, proptest};

use super::{FatVolume, find, label_entry, scan};

fn sector(fat32: bool, label: &[u8; 11]) -> [u8; 512] {
    let mut s = [0; 512];
    s[11..13].copy_from_slice(&512u16.to_le_bytes());
    s[13] = 4;
    s[14..16].copy_from_slice(&32u16.to_le_bytes());
    s[16] = 2;
    if fat32 {
        s[36..40].copy_from_slice(&100u32.to_le_bytes());
        s[44..48].copy_from_slice(&3u32.to_le_bytes());
        s[66] = 0x29;
        s[67..71].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
        s[71..82].copy_from_slice(label);
    } else {
        s[22..24].copy_from_slice(&100u16.to_le_bytes());
        s[38] = 0x29;
        s[39..43].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
        s[43..54].copy_from_slice(label);
    }
    s[510..512].copy_from_slice(&[0x55, 0xaa]);
    s
}

#[test]
fn both_layouts_say_their_label_and_where_the_root_directory_is() {
    let fat16 = FatVolume::parse(&sector(false, b"AXION-CFG  ")).unwrap();
    assert_eq!(
        (fat16.label.as_str(), fat16.root_at),
        ("AXION-CFG", (32 + 200) * 512)
    );
    let fat32 = FatVolume::parse(&sector(true, b"AXION-CFG  ")).unwrap();
    assert_eq!(
        (fat32.label.as_str(), fat32.root_at),
        ("AXION-CFG", (32 + 200 + 4) * 512)
    );
    assert_eq!([fat16.serial, fat32.serial], [0x1234_abcd; 2]);
    let mut bare = sector(true, b"AXION-CFG  ");
    bare[66] = 0;
    assert_eq!(FatVolume::parse(&bare).unwrap().serial, 0);
}

#[test]
fn the_directory_entry_is_the_label_that_counts() {
    let mut directory = vec![0; 4 * 32];
    directory[..11].copy_from_slice(b"\xe5XION-OLD  ");
    directory[11] = 0x08;
    directory[32..43].copy_from_slice(b"AXION   TOM");
    directory[43] = 0x20;
    directory[64..75].copy_from_slice(b"AXION-CFG  ");
    directory[75] = 0x08;
    assert_eq!(label_entry(&directory).as_deref(), Some("AXION-CFG"));
    // Parts of a long name have the label attribute among others.
    directory[75] = 0x0f;
    assert_eq!(label_entry(&directory), None);
}

/// A volume that is as small as it can be: boot sector and root directory.
fn volume(boot_label: &[u8; 11], directory_label: Option<&[u8; 11]>) -> Vec<u8> {
    let boot = sector(false, boot_label);
    let root_at = usize::try_from(FatVolume::parse(&boot).unwrap().root_at).unwrap();
    let mut image = vec![0; root_at + 64];
    image[..512].copy_from_slice(&boot);
    if let Some(label) = directory_label {
        image[root_at..root_at + 11].copy_from_slice(label);
        image[root_at + 11] = 0x08;
    }
    image
}

#[test]
fn devices_are_found_by_their_label() {
    let root = tempfile::tempdir().unwrap();
    let dev = root.path().join("dev");
    std::fs::create_dir_all(&dev).unwrap();
    let cfg = b"AXION-CFG  ";
    for (name, image) in [
        ("sda", vec![0xff; 4096]),
        ("sda1", volume(cfg, None)),
        ("sdb1", volume(b"OTHER      ", None)),
        ("sdc1", volume(b"NO NAME    ", Some(cfg))),
        ("sdd1", volume(cfg, Some(b"RENAMED    "))),
        ("loop0", volume(cfg, None)),
        ("sde", Vec::new()),
    ] {
        std::fs::create_dir_all(root.path().join("sys/class/block").join(name)).unwrap();
        std::fs::write(dev.join(name), image).unwrap();
    }
    assert_eq!(scan(root.path()).found, ["sda1", "sdc1"]);
}

#[test]
fn a_machine_without_disks_waits_for_nothing() {
    assert!(find(Path::new("/nonexistent"), |_| true).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_sector_breaks_the_reader(bytes: Vec<u8>, fat32: bool, label in any::<[u8; 11]>()) {
        let mut s = sector(fat32, &label);
        for (at, byte) in bytes.iter().take(500).enumerate() {
            s[at + 11] = *byte;
        }
        let _ = FatVolume::parse(&s);
        let _ = label_entry(&bytes);
    }
}

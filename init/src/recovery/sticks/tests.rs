use super::*;

/// A boot sector of FAT16 or FAT32 with this label.
fn boot(kind: &[u8; 5], label: &[u8; 11]) -> [u8; 512] {
    let mut boot = [0; 512];
    let (name, at) = if kind == b"FAT32" { (82, 71) } else { (54, 43) };
    boot[11..13].copy_from_slice(&512u16.to_le_bytes());
    boot[32..36].copy_from_slice(&65_536u32.to_le_bytes());
    boot[at..at + 11].copy_from_slice(label);
    boot[name..name + 5].copy_from_slice(kind);
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    boot
}

fn disk(root: &Path, name: &str, removable: bool, head: &[u8]) {
    let write = |path: String, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write(format!("sys/block/{name}/size"), b"65536");
    write(
        format!("sys/block/{name}/removable"),
        if removable { b"1" } else { b"0" },
    );
    write(format!("sys/block/{name}/device/model"), b"Stick");
    let mut bytes = head.to_vec();
    bytes.resize(4 << 20, 0);
    write(format!("dev/{name}"), &bytes);
}

#[test]
fn only_removable_disks_with_fat_are_sticks() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    disk(root, "sda", false, &boot(b"FAT32", b"INTERNAL   "));
    disk(root, "sdb", true, &boot(b"FAT16", b"MY STICK   "));
    disk(root, "sdc", true, &[0; 512]);
    let found = find(root);
    let names: Vec<(&str, &str)> = found
        .iter()
        .map(|stick| (stick.device.as_str(), stick.label.as_str()))
        .collect();
    assert_eq!(names, [("sdb", "MY STICK")]);
    assert_eq!(found[0].size, 32 << 20);
}

#[test]
fn a_boot_sector_is_read_as_it_is_written() {
    assert_eq!(parse(&boot(b"FAT32", b"AXION-CFG  ")).unwrap().0, "AXION-CFG");
    let mut none = boot(b"FAT32", b"AXION-CFG  ");
    none[510] = 0;
    assert_eq!(parse(&none), None);
    assert_eq!(parse(&[0; 512]), None);
    assert_eq!(parse(&boot(b"EXFAT", b"x          ")), None);
}

#[test]
fn nothing_is_written_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    disk(root.path(), "sda", false, &boot(b"FAT32", b"INTERNAL   "));
    for (device, name) in [("sda", "a.tar"), ("../sda", "a.tar"), ("", "a.tar")] {
        let problem = save(root.path(), device, name, &b"x"[..]).unwrap_err();
        assert_eq!(problem.status, 404, "{device}");
    }
    for name in ["", ".hidden", "../x", "a/b", "a b"] {
        assert_eq!(
            save(root.path(), "sda", name, &b"x"[..]).unwrap_err().status,
            422,
            "{name}"
        );
    }
}

#[test]
fn a_part_is_not_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    assert_eq!(write(&path, &b"abc"[..]).unwrap(), 3);
    assert!(write(&path, &b"abc"[..]).is_err(), "what is there stays");
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    let other = directory.path().join("b.tar");
    assert!(write(&other, io::empty()).is_err());
    assert!(!other.exists());
}

use super::*;

#[test]
fn a_driver_is_a_row_of_its_section() {
    let driver = |name: &str, file: &str, firmware: &[&str]| Driver {
        name: name.to_owned(),
        file: file.to_owned(),
        description: "Gigabit | Ethernet".to_owned(),
        firmware: firmware.iter().map(|file| (*file).to_owned()).collect(),
    };
    let igb = "drivers/net/ethernet/intel/igb/igb";
    let tg3 = "drivers/net/ethernet/broadcom/tg3";
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let tables = [
        (igb.to_owned(), ids(&["8086:1521", "8086:1522"])),
        (tg3.to_owned(), ids(&["14e4:1639", "10de:*", "class 0106*"])),
    ];
    let text = document(
        &[
            driver("igb", igb, &[]),
            driver("tg3", tg3, &["tigon/x.bin"]),
            driver("libeth", "drivers/net/ethernet/intel/libeth/libeth", &[]),
            driver("virtio_net", "drivers/net/virtio_net", &[]),
            driver("ext4", "fs/ext4/ext4", &[]),
        ],
        &Tables::from(tables),
    );
    let table = "| driver | drives | firmware | ids |\n|---|---|---|---|\n\
                 | `tg3` | Gigabit \\| Ethernet | yes | class 0106*; 10de: *; 14e4: 1639 |\n\
                 | `igb` | Gigabit \\| Ethernet |  | 8086: 1521 1522 |\n\
                 | `virtio_net` | Gigabit \\| Ethernet |  |  |\n";
    assert!(text.contains("## Network cards"), "{text}");
    assert!(text.ends_with(table), "{text}");
}

/// The committed file is what the kernel says. Where no kernel of this configuration is built, nobody can tell.
#[test]
fn the_committed_document_is_current() {
    let Some((built, tree)) = kernel::HOST.found() else {
        eprintln!("no kernel of this configuration is built; not checked");
        return;
    };
    let drivers = modinfo::read(&built).unwrap();
    let tables = tables::read(&tree, &kernel::HOST.build_tree()).unwrap();
    let committed = fs::read_to_string(path()).unwrap_or_default();
    assert!(
        committed == document(&drivers, &tables),
        "run: cargo xtask hardware"
    );
}

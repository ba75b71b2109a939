use std::io::Write;

use fatfs::FormatVolumeOptions;

use super::*;
use crate::recording::Disk;
use crate::table::{ALIGNMENT, Partition};
use crate::uki::samples;

fn medium(file: Option<&[u8]>) -> Disk {
    let disk = Disk::new(16 << 20);
    let esp = Partition {
        number: 1,
        name: "AXION-EFI".to_owned(),
        kind: Kind::Esp,
        start: ALIGNMENT,
        length: 8 << 20,
        guid: 2,
    };
    table::write(&disk, 1, std::slice::from_ref(&esp), None).unwrap();
    let volume = || Stream::new(Part::new(&disk, esp.start, esp.length));
    fatfs::format_volume(volume(), FormatVolumeOptions::new()).unwrap();
    if let Some(content) = file {
        let volume = FileSystem::new(volume(), FsOptions::new()).unwrap();
        let root = volume.root_dir();
        root.create_dir("EFI").unwrap().create_dir("BOOT").unwrap();
        root.create_file(LOADER).unwrap().write_all(content).unwrap();
    }
    disk
}

#[test]
fn what_is_no_medium_is_told_apart() {
    let cases = [
        (Disk::new(16 << 20), "no partition table"),
        (medium(None), "cannot read EFI/BOOT/BOOTX64.EFI"),
        (medium(Some(b"MZ")), "is not what Axion's media have"),
    ];
    for (disk, why) in cases {
        let error = initramfs(&disk).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn the_initramfs_is_read_from_where_firmware_starts() {
    let kernel = samples::kernel();
    let parts = uki::Parts {
        os_release: b"ID=axion\n",
        cmdline: "console=tty0",
        kernel: &kernel,
        initramfs: b"070701",
        policy: None,
    };
    let image = uki::assemble(&samples::program(5), &parts).unwrap();
    assert_eq!(initramfs(&medium(Some(&image))).unwrap(), b"070701");
}

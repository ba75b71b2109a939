use super::*;
use crate::fat::{Format, Volume};
use crate::recording::Disk;

const FORMAT: Format = Format {
    label: *b"TEST       ",
    id: 1,
    // Room for 128 entries in a directory.
    cluster: 4096,
};

fn volume() -> Disk {
    let disk = Disk::new(300 << 20);
    let mut volume = Volume::format(&disk, &FORMAT).unwrap();
    for path in ["loader", "loader/entries"] {
        volume.make_directory(path).unwrap();
    }
    volume.finish().unwrap();
    disk
}

fn add(disk: &Disk, path: &str, content: &[u8]) {
    let volume = Volume::open(disk).unwrap();
    let length = u64::try_from(content.len()).unwrap();
    volume.write(path, &mut &*content, length, &mut |_| {}).unwrap();
}

#[test]
fn names_are_read_as_the_library_writes_them_and_the_other_way_round() {
    let disk = volume();
    for name in [
        "axion-a+3.conf",
        "B.EFI",
        "a",
        "exactly13char",
        "ünïcode-name.long",
    ] {
        add(&disk, &format!("loader/entries/{name}"), b"x");
    }
    let raw = Raw::open(&disk).unwrap();
    let first = raw.directory("loader/entries").unwrap().unwrap();
    for (from, to) in [
        ("axion-a+3.conf", "axion-a+2-1.conf"),
        ("a", "twentysix-letters-in-a-row"),
    ] {
        let entry = raw.find(&format!("loader/entries/{from}")).unwrap().unwrap();
        raw.rename(first, &entry, to).unwrap();
    }
    let mut ours: Vec<_> = raw.entries(first).unwrap().into_iter().map(|e| e.name).collect();
    let system = fatfs::FileSystem::new(crate::storage::Stream::new(&disk), fatfs::FsOptions::new()).unwrap();
    let directory = system.root_dir().open_dir("loader/entries").unwrap();
    let mut theirs: Vec<_> = directory
        .iter()
        .map(|e| e.unwrap().file_name())
        .filter(|name| !name.starts_with('.'))
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert_eq!(
        ours,
        [
            "B.EFI",
            "axion-a+2-1.conf",
            "exactly13char",
            "twentysix-letters-in-a-row",
            "ünïcode-name.long"
        ]
    );
}

#[test]
fn a_directory_that_is_nearly_full_still_gets_names_in_one_sector() {
    let disk = volume();
    for number in 0..20 {
        add(&disk, &format!("loader/entries/other-{number:03}.conf"), b"x");
        let volume = Volume::open(&disk).unwrap();
        let (from, to) = (
            format!("other-{number:03}.conf"),
            format!("renamed-to-this-{number}.conf"),
        );
        volume.rename("loader/entries", &from, &to).unwrap();
        assert!(volume.list("loader/entries").unwrap().contains(&to), "{number}");
    }
    let raw = Raw::open(&disk).unwrap();
    let first = raw.directory("loader/entries").unwrap().unwrap();
    let entries = raw.entries(first).unwrap();
    assert_eq!(entries.len(), 20);
    for entry in entries {
        let sectors: BTreeSet<u64> = entry.places.iter().map(|place| place / 512).collect();
        assert_eq!(sectors.len(), 1, "{entry:?}");
    }
}

#[test]
fn a_sweep_frees_what_nothing_leads_to_and_nothing_else() {
    let disk = volume();
    add(&disk, "keep", &[1; 5000]);
    let before = Raw::open(&disk).unwrap().free().unwrap();
    add(&disk, "loader/gone", &[2; 70_000]);
    let volume = Volume::open(&disk).unwrap();
    volume.unlink("loader/gone").unwrap();
    assert!(Raw::open(&disk).unwrap().free().unwrap() < before);
    volume.sweep().unwrap();
    assert_eq!(Raw::open(&disk).unwrap().free().unwrap(), before);
    assert_eq!(volume.read("keep", 5000).unwrap().unwrap(), [1; 5000]);
    assert_eq!(volume.list("loader").unwrap(), ["entries"]);
}

#[test]
fn no_boot_sector_leads_astray() {
    let disk = volume();
    let mut boot = [0; 512];
    disk.read_at(0, &mut boot).unwrap();
    assert!(Geometry::parse(&boot, disk.size()).is_some());
    assert_eq!(Geometry::parse(&boot, disk.size() - 512), None);
    for at in [11, 13, 16, 22, 510] {
        let mut broken = boot;
        broken[at] ^= 0x55;
        assert_eq!(Geometry::parse(&broken, disk.size()), None, "{at}");
    }
    assert_eq!(Geometry::parse(&boot[..100], disk.size()), None);
}

#[test]
fn a_directory_begins_with_itself_and_the_one_above_it() {
    let disk = volume();
    let raw = Raw::open(&disk).unwrap();
    let first = raw.directory("loader/entries").unwrap().unwrap();
    let above = raw.directory("loader").unwrap().unwrap();
    let slots = raw.slots(first).unwrap();
    let names: Vec<&[u8]> = slots.iter().take(3).map(|(_, slot)| &slot[..2]).collect();
    assert_eq!(names, [b". ", b"..", &[0, 0]]);
    let cluster = |slot: &[u8; ENTRY]| u32::from(u16::from_le_bytes([slot[26], slot[27]]));
    assert_eq!([cluster(&slots[0].1), cluster(&slots[1].1)], [first, above]);
}

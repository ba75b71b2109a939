use super::*;
use crate::fat::Format;
use crate::recording::Disk;

fn volume(disk: &Disk) -> Volume<&Disk> {
    let format = Format {
        label: *b"AXION-CFG  ",
        id: 1,
        cluster: 512,
    };
    let mut volume = Volume::format(disk, &format).unwrap();
    volume.finish().unwrap();
    volume
}

fn texts(volume: &Volume<&Disk>) -> [Option<String>; 2] {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    [
        read(volume).unwrap().map(text),
        read_previous(volume).unwrap().map(text),
    ]
}

#[test]
fn the_config_before_is_kept() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    assert_eq!(texts(&volume), [None, None]);
    assert!(replace(&volume, "a = 1\n").unwrap());
    assert_eq!(texts(&volume), [Some("a = 1\n".to_owned()), None]);
    assert!(replace(&volume, "a = 2\n").unwrap());
    // The same again is no change, and does not cost the one before.
    assert!(!replace(&volume, "a = 2\n").unwrap());
    assert_eq!(
        texts(&volume),
        [Some("a = 2\n".to_owned()), Some("a = 1\n".to_owned())]
    );
    assert!(replace(&volume, "a = 3\n").unwrap());
    assert_eq!(
        texts(&volume),
        [Some("a = 3\n".to_owned()), Some("a = 2\n".to_owned())]
    );
    assert_eq!(volume.list("").unwrap().len(), 2);
}

#[test]
fn what_does_not_fit_leaves_the_config_as_it_was() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    replace(&volume, "a = 1\n").unwrap();
    let full = volume.room("x", 1 << 40, &[]).unwrap_err();
    let FatError::Full { free, .. } = full else {
        panic!("{full}")
    };
    let filler = vec![7; usize::try_from(free - 4096).unwrap()];
    let length = u64::try_from(filler.len()).unwrap();
    volume
        .write("filler", &mut filler.as_slice(), length, &mut |_| {})
        .unwrap();
    let long = "# x\n".repeat(10_000);
    assert!(matches!(replace(&volume, &long), Err(FatError::Full { .. })));
    assert_eq!(texts(&volume), [Some("a = 1\n".to_owned()), None]);
}

use super::*;
use crate::fat::Format;
use crate::inspect::digest;
use crate::recording::Disk;

fn esp(disk: &Disk) -> Esp<&Disk> {
    let format = Format {
        label: *b"AXION-EFI  ",
        id: 1,
        cluster: 512,
    };
    let mut volume = Volume::format(disk, &format).unwrap();
    for directory in ["EFI", IMAGES, "loader", ENTRIES] {
        volume.make_directory(directory).unwrap();
    }
    volume.finish().unwrap();
    let esp = Esp::new(volume);
    let (content, update) = image(0);
    esp.write_slot(
        Name::confirmed(Slot::A),
        1,
        &update,
        &mut content.as_slice(),
        &mut |_| {},
    )
    .unwrap();
    esp
}

fn image(number: u8) -> (Vec<u8>, Update) {
    let content = vec![number; 3000];
    let update = Update {
        version: format!("0.{number}.0"),
        size: 3000,
        digest: digest(&content),
        options: "console=tty0 axion.slot=x".to_owned(),
    };
    (content, update)
}

fn stage(esp: &Esp<&Disk>, running: Slot, number: u8) -> Result<Slot, EspError> {
    let (content, update) = image(number);
    esp.stage(Some(running), &update, &mut content.as_slice(), &mut |_| {})
}

fn files(esp: &Esp<&Disk>) -> Vec<String> {
    let mut files = esp.volume().list(ENTRIES).unwrap();
    files.extend(esp.volume().list(IMAGES).unwrap());
    files.sort();
    files
}

#[test]
fn an_update_is_tried_and_confirmed() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    assert_eq!(stage(&esp, Slot::A, 1).unwrap(), Slot::B);
    assert_eq!(files(&esp), ["a.efi", "axion-a.conf", "axion-b+3.conf", "b.efi"]);
    assert_eq!(esp.count_start().unwrap(), Some(Slot::B));
    assert_eq!(
        files(&esp),
        ["a.efi", "axion-a.conf", "axion-b+2-1.conf", "b.efi"]
    );
    assert!(esp.confirm(Slot::B).unwrap());
    assert!(!esp.confirm(Slot::B).unwrap());
    assert_eq!(files(&esp), ["a.efi", "axion-a.conf", "axion-b.conf", "b.efi"]);
    assert_eq!(stage(&esp, Slot::B, 2).unwrap(), Slot::A);
}

/// Bytes that were written since the disk had `seen` operations behind it.
fn written(disk: &Disk, seen: usize) -> u64 {
    let log = disk.log();
    let since = log.iter().skip(seen).map(|operation| match operation {
        crate::recording::Operation::Write { bytes, .. } => bytes.len() as u64,
        crate::recording::Operation::Flush => 0,
    });
    since.sum()
}

#[test]
fn an_update_writes_its_image_once_and_little_besides() {
    let disk = Disk::new(48 << 20);
    let esp = esp(&disk);
    // The second one replaces what the first has written.
    for number in 1..=2 {
        let sector = |n: u8| [n.wrapping_add(number); 512];
        let content = (0..=u8::MAX).cycle().take(4 << 11).flat_map(sector);
        let content: Vec<u8> = content.collect();
        let update = Update {
            version: format!("0.{number}.0"),
            size: content.len() as u64,
            digest: digest(&content),
            options: "console=tty0".to_owned(),
        };
        let seen = disk.log().len();
        esp.stage(Some(Slot::A), &update, &mut content.as_slice(), &mut |_| {})
            .unwrap();
        let written = written(&disk, seen);
        assert!(written >= update.size, "{written}");
        // Both tables have 4 bytes for a cluster, which are written when it is freed and when it is taken: with clusters of 512
        // bytes, 1/32. Names and the entry take some sectors.
        let besides = written - update.size;
        assert!(
            besides <= update.size / 32 + (64 << 10),
            "{besides} bytes besides {}",
            update.size
        );
    }
}

#[test]
fn an_update_that_is_never_confirmed_gives_way_to_the_last_good_slot() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    let started: Vec<_> = (0..5).map(|_| esp.count_start().unwrap().unwrap()).collect();
    assert_eq!(started, [Slot::B, Slot::B, Slot::B, Slot::A, Slot::A]);
    let state = esp.state().unwrap();
    assert!(state.of(Slot::B).unwrap().name.failed());
}

#[test]
fn the_slot_on_trial_is_not_overwritten() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    esp.count_start().unwrap();
    let refused = stage(&esp, Slot::B, 2);
    assert!(matches!(
        refused,
        Err(EspError::Refused(Refusal::OnTrial(Slot::B)))
    ));
    assert_eq!(esp.roll_back().unwrap(), Slot::A);
    assert_eq!(esp.state().unwrap().next().unwrap().name.slot, Slot::A);
}

#[test]
fn a_wrong_image_leaves_the_slot_empty() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    let (mut content, update) = image(1);
    content[1500] ^= 1;
    let wrong = esp.stage(Some(Slot::A), &update, &mut content.as_slice(), &mut |_| {});
    assert!(matches!(wrong, Err(EspError::Digest { .. })));
    assert_eq!(files(&esp), ["a.efi", "axion-a.conf"]);
    assert!(
        esp.stage(Some(Slot::A), &update, &mut &content[..100], &mut |_| {})
            .is_err()
    );
    assert_eq!(files(&esp), ["a.efi", "axion-a.conf"]);
}

#[test]
fn arguments_belong_to_their_slot() {
    assert_eq!(options_of("a axion.slot=b  c", Slot::A), "a c axion.slot=a");
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    esp.set_options(Slot::A, "isolcpus=2").unwrap();
    assert_eq!(
        esp.state().unwrap().of(Slot::A).unwrap().entry.options,
        "isolcpus=2 axion.slot=a"
    );
    assert_eq!(files(&esp), ["a.efi", "axion-a.conf"]);
    let refused = esp.set_options(Slot::B, "x");
    assert!(matches!(
        refused,
        Err(EspError::Refused(Refusal::NoSuchSlot(Slot::B)))
    ));
}

#[test]
fn repair_leaves_what_is_not_its_own() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    for path in [
        "loader/entries/other.conf",
        "loader/entries/axion-a+1.conf",
        "EFI/axion/stray",
        "loader/x",
    ] {
        esp.volume().write(path, &mut &b"x"[..], 1, &mut |_| {}).unwrap();
    }
    esp.repair().unwrap();
    assert_eq!(files(&esp), ["a.efi", "axion-a.conf", "other.conf"]);
    assert_eq!(esp.volume().list("loader").unwrap(), ["entries", "x"]);
}

#[test]
fn what_is_noted_of_a_slot_is_kept_until_it_is_written_again() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    for note in Note::ALL {
        assert_eq!(esp.note(Slot::B, note).unwrap(), None);
        for text in ["agent: not ready", "attestation: irqs"] {
            esp.set_note(Slot::B, note, text).unwrap();
            esp.repair().unwrap();
            assert_eq!(esp.note(Slot::B, note).unwrap().as_deref(), Some(text));
        }
    }
    let long = "\u{e9}".repeat(MAX_NOTE);
    esp.set_note(Slot::B, Note::Log, &long).unwrap();
    let kept = esp.note(Slot::B, Note::Log).unwrap().unwrap();
    assert_eq!(kept.len(), MAX_NOTE);
    assert!(long.ends_with(&kept));
    stage(&esp, Slot::A, 2).unwrap();
    for note in Note::ALL {
        assert_eq!(esp.note(Slot::B, note).unwrap(), None);
    }
}

#[test]
fn a_slot_that_is_given_up_is_not_tried_again() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    esp.count_start().unwrap();
    assert!(esp.give_up(Slot::B).unwrap());
    assert!(!esp.give_up(Slot::B).unwrap());
    assert_eq!(
        files(&esp),
        ["a.efi", "axion-a.conf", "axion-b+0-3.conf", "b.efi"]
    );
    assert_eq!(esp.count_start().unwrap(), Some(Slot::A));
    let refused = esp.give_up(Slot::A);
    assert!(matches!(
        refused,
        Err(EspError::Refused(Refusal::Confirmed(Slot::A)))
    ));
}

#[test]
fn an_esp_that_is_full_keeps_what_it_has() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    let free = || {
        let full = esp.volume().room("x", 1 << 40, &[]).unwrap_err();
        match full {
            crate::fat::FatError::Full { free, .. } => free,
            other => panic!("{other}"),
        }
    };
    // The update that is there is as large as the next one, so it may still be replaced.
    let filler = usize::try_from(free() - 1024).unwrap();
    let filler = vec![7; filler];
    let length = u64::try_from(filler.len()).unwrap();
    esp.volume()
        .write("filler", &mut filler.as_slice(), length, &mut |_| {})
        .unwrap();
    stage(&esp, Slot::A, 2).unwrap();
    let mut large = image(3).1;
    large.size = 1 << 20;
    let refused = esp.stage(Some(Slot::A), &large, &mut std::io::empty(), &mut |_| {});
    assert!(
        matches!(&refused, Err(EspError::Fat(crate::fat::FatError::Full { .. }))),
        "{refused:?}"
    );
    let state = esp.state().unwrap();
    assert_eq!(state.of(Slot::B).unwrap().entry.version, "0.2.0");
    assert_eq!(state.next().unwrap().name.slot, Slot::B);
}

/// The image of a slot is another one than it was.
fn rot(esp: &Esp<&Disk>, slot: Slot) {
    let image = join(IMAGES, &slot.image());
    esp.volume().rewrite(&image, &[0xee; 512]).unwrap();
}

#[test]
fn a_slot_that_has_rotted_is_not_rolled_back_to() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    esp.confirm(Slot::B).unwrap();
    rot(&esp, Slot::A);
    let before = esp.state().unwrap();
    let refused = esp.roll_back();
    assert!(matches!(refused, Err(EspError::Damaged(Slot::A))), "{refused:?}");
    assert_eq!(esp.state().unwrap(), before);
    assert_eq!(esp.count_start().unwrap(), Some(Slot::B));
    // An update takes its place.
    assert_eq!(stage(&esp, Slot::B, 2).unwrap(), Slot::A);
}

#[test]
fn an_update_does_not_take_the_place_of_the_only_good_image() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 1).unwrap();
    esp.confirm(Slot::B).unwrap();
    assert_eq!(esp.roll_back().unwrap(), Slot::A);
    rot(&esp, Slot::A);
    let before = esp.state().unwrap();
    let refused = stage(&esp, Slot::B, 2).unwrap_err();
    assert!(
        refused.to_string().contains("roll back to slot b first"),
        "{refused}"
    );
    assert_eq!(esp.state().unwrap(), before);
    assert!(esp.is_whole(before.of(Slot::B).unwrap()));
    assert_eq!(esp.roll_back().unwrap(), Slot::B);
    assert_eq!(stage(&esp, Slot::B, 2).unwrap(), Slot::A);
}

#[test]
fn an_update_mends_a_disk_whose_only_image_has_rotted() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    rot(&esp, Slot::A);
    assert_eq!(stage(&esp, Slot::A, 1).unwrap(), Slot::B);
    assert_eq!(esp.count_start().unwrap(), Some(Slot::B));
}

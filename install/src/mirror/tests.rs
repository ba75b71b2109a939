use super::*;
use crate::esp::{Esp, Note, Update};
use crate::fat::Format;
use crate::inspect::digest;
use crate::recording::Disk;
use crate::reset;
use crate::slot::{ENTRIES, IMAGES, Name};

const FIRST: u128 = 0x11;
const SECOND: u128 = 0x22;

fn record() -> Record {
    Record {
        set: 7,
        own: FIRST,
        other: SECOND,
        name: "serial:S2".to_owned(),
        alone: false,
    }
}

#[test]
fn a_record_is_read_as_it_was_written_by_this_version_and_a_later_one() {
    let record = Record {
        alone: true,
        ..record()
    };
    assert_eq!(Record::parse(&record.text()).unwrap(), record);
    let later = record.text().replace("alone yes", "colour blue\nalone yes");
    assert_eq!(Record::parse(&later).unwrap(), record);
    for wrong in ["alone yes", "set ", "own ", "other "] {
        assert_eq!(Record::parse(&record.text().replace(wrong, "x")), None);
    }
    let odd = Record {
        name: "a\nalone no\u{1b}".to_owned(),
        ..record.clone()
    };
    assert!(Record::parse(&odd.text()).unwrap().alone);
}

#[test]
fn who_went_on_alone_follows_nobody() {
    let own = record();
    let other = own.of_the_other("first");
    assert_eq!(may_follow(&own, Some(&other)), Ok(()));
    let alone = |record: &Record| Record {
        alone: true,
        ..record.clone()
    };
    assert_eq!(may_follow(&alone(&own), Some(&other)), Ok(()));
    assert_eq!(may_follow(&own, Some(&alone(&other))), Err(Apart::Ahead));
    assert_eq!(may_follow(&alone(&own), Some(&alone(&other))), Err(Apart::Both));
    assert_eq!(may_follow(&own, None), Err(Apart::Foreign));
    for foreign in [
        Record {
            set: 8,
            ..other.clone()
        },
        Record {
            other: 3,
            ..other.clone()
        },
        Record { own: 3, ..other },
    ] {
        assert_eq!(may_follow(&own, Some(&foreign)), Err(Apart::Foreign));
    }
}

#[test]
fn entries_name_the_disk_that_they_are_on() {
    let (first, second) = (started::text(FIRST), started::text(SECOND));
    let options = format!("console=tty0 axion.esp={first} dyndbg=\"a b\" axion.slot=a");
    assert_eq!(
        options_on(&options, SECOND),
        format!("console=tty0 axion.esp={second} dyndbg=\"a b\" axion.slot=a")
    );
    assert_eq!(options_on("quiet", SECOND), format!("axion.esp={second} quiet"));
}

fn volume<'d>(disk: &'d Disk, directories: &[&str]) -> Volume<&'d Disk> {
    let format = Format {
        label: *b"AXION      ",
        id: 1,
        cluster: 512,
    };
    let mut volume = Volume::format(disk, &format).unwrap();
    for directory in directories {
        volume.make_directory(directory).unwrap();
    }
    volume.finish().unwrap();
    volume
}

fn side(disks: &[Disk; 2], guid: u128) -> Side<&Disk> {
    let [esp, config] = disks;
    let directories = ["EFI", "EFI/BOOT", IMAGES, "loader", ENTRIES];
    Side {
        esp: Esp::new(volume(esp, &directories)),
        config: volume(config, &[]),
        guid,
    }
}

fn blank() -> [Disk; 2] {
    [Disk::new(40 << 20), Disk::new(40 << 20)]
}

fn image(number: u8) -> (Vec<u8>, Update) {
    let content = vec![number; 3000];
    let update = Update {
        version: format!("0.{number}.0"),
        size: 3000,
        digest: digest(&content),
        options: format!("axion.esp={} console=tty0", started::text(FIRST)),
    };
    (content, update)
}

fn install(side: &Side<&Disk>, slot: Slot, generation: u64, number: u8) {
    let (content, update) = image(number);
    let name = Name::confirmed(slot);
    side.esp
        .write_slot(name, generation, &update, &mut content.as_slice(), &mut |_| {})
        .unwrap();
}

/// Two disks that hold the same.
fn pair(disks: &[[Disk; 2]; 2]) -> (Side<&Disk>, Side<&Disk>) {
    let [first, second] = disks;
    let (from, to) = (side(first, FIRST), side(second, SECOND));
    install(&from, Slot::A, 1, 1);
    crate::config::replace(&from.config, "hostname = \"x\"\n").unwrap();
    write(from.esp.volume(), &record()).unwrap();
    write(to.esp.volume(), &record().of_the_other("first")).unwrap();
    synchronise(&from, &to, ("first", "second")).unwrap();
    (from, to)
}

#[test]
fn the_other_disk_follows_every_change_and_says_so() {
    let disks = [blank(), blank()];
    let (from, to) = pair(&disks);
    assert!(!synchronise(&from, &to, ("first", "second")).unwrap());
    let (content, update) = image(2);
    let staged = from
        .esp
        .stage(Some(Slot::A), &update, &mut content.as_slice(), &mut |_| {});
    assert_eq!(staged.unwrap(), Slot::B);
    from.esp.set_note(Slot::B, Note::Before, "{}").unwrap();
    crate::config::replace(&from.config, "hostname = \"y\"\n").unwrap();
    // An order that was left over on it.
    reset::order(to.esp.volume(), "{}").unwrap();
    assert!(synchronise(&from, &to, ("first", "second")).unwrap());
    assert_eq!(
        to.esp.state().unwrap().next().unwrap().name,
        Name::untried(Slot::B)
    );
    let options = to.esp.state().unwrap().of(Slot::B).unwrap().entry.options.clone();
    assert!(options.contains(&started::text(SECOND)), "{options}");
    assert_eq!(to.esp.note(Slot::B, Note::Before).unwrap().unwrap(), "{}");
    assert_eq!(
        crate::config::read(&to.config).unwrap().unwrap(),
        b"hostname = \"y\"\n"
    );
    assert_eq!(
        crate::config::read_previous(&to.config).unwrap().unwrap(),
        b"hostname = \"x\"\n"
    );
    assert_eq!(reset::pending(to.esp.volume()).unwrap(), None);
    assert!(!read(from.esp.volume()).unwrap().unwrap().alone);
    assert!(!read(to.esp.volume()).unwrap().unwrap().alone);
}

fn the_other_has_followed(side: &Side<&Disk>) {
    let record = read(side.esp.volume()).unwrap().unwrap();
    write(
        side.esp.volume(),
        &Record {
            alone: false,
            ..record
        },
    )
    .unwrap();
}

#[test]
fn a_change_that_the_other_disk_did_not_follow_is_not_overwritten_when_that_one_is_started() {
    type Change = fn(&Side<&Disk>);
    let changes: [Change; 5] = [
        |side| {
            let (content, update) = image(2);
            let staged = side
                .esp
                .stage(Some(Slot::A), &update, &mut content.as_slice(), &mut |_| {});
            staged.unwrap();
        },
        |side| assert!(side.esp.confirm(Slot::B).unwrap()),
        |side| assert_eq!(side.esp.roll_back().unwrap(), Slot::A),
        |side| {
            let text = "hostname = \"y\"\n";
            assert!(crate::config::replace_on(side.esp.volume(), &side.config, text).unwrap());
        },
        |side| {
            let (content, update) = image(3);
            let staged = side
                .esp
                .stage(Some(Slot::A), &update, &mut content.as_slice(), &mut |_| {});
            staged.unwrap();
            the_other_has_followed(side);
            assert!(side.esp.give_up(Slot::B).unwrap());
        },
    ];
    let disks = [blank(), blank()];
    let (from, to) = pair(&disks);
    for change in changes {
        change(&from);
        let config = crate::config::read(&from.config).unwrap();
        let slots = from.esp.state().unwrap();
        // The disk hangs, the machine is reset, and firmware starts the other one.
        let refused = synchronise(&to, &from, ("second", "first"));
        assert!(
            matches!(refused, Err(MirrorError::Apart(Apart::Ahead))),
            "{refused:?}"
        );
        assert_eq!(from.esp.state().unwrap(), slots);
        assert_eq!(crate::config::read(&from.config).unwrap(), config);
        // It is started again, and is followed.
        assert!(synchronise(&from, &to, ("first", "second")).unwrap());
        assert!(!read(from.esp.volume()).unwrap().unwrap().alone);
    }
}

#[test]
fn what_changes_nothing_leaves_the_two_together() {
    let disks = [blank(), blank()];
    let (from, _) = pair(&disks);
    assert!(!from.esp.confirm(Slot::A).unwrap());
    assert!(from.esp.roll_back().is_err());
    assert!(from.esp.give_up(Slot::A).is_err());
    let text = "hostname = \"x\"\n";
    assert!(!crate::config::replace_on(from.esp.volume(), &from.config, text).unwrap());
    assert!(!read(from.esp.volume()).unwrap().unwrap().alone);
}

#[test]
fn a_factory_reset_takes_the_config_of_both() {
    let disks = [blank(), blank()];
    let (from, to) = pair(&disks);
    reset::take_config(&from.config).unwrap();
    assert!(synchronise(&from, &to, ("first", "second")).unwrap());
    assert_eq!(crate::config::read(&to.config).unwrap(), None);
}

#[test]
fn what_went_on_alone_is_not_overwritten_unless_it_came_to_the_same() {
    let disks = [blank(), blank()];
    let (from, to) = pair(&disks);
    go_on_alone(to.esp.volume()).unwrap();
    crate::config::replace(&to.config, "hostname = \"newer\"\n").unwrap();
    let refused = synchronise(&from, &to, ("first", "second"));
    assert!(
        matches!(refused, Err(MirrorError::Apart(Apart::Ahead))),
        "{refused:?}"
    );
    // The other way round it does.
    assert!(synchronise(&to, &from, ("second", "first")).unwrap());
    go_on_alone(from.esp.volume()).unwrap();
    go_on_alone(to.esp.volume()).unwrap();
    assert!(!synchronise(&from, &to, ("first", "second")).unwrap());
    forget(to.esp.volume()).unwrap();
    let refused = synchronise(&from, &to, ("first", "second"));
    assert!(
        matches!(refused, Err(MirrorError::Apart(Apart::Foreign))),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_image_is_not_copied_over_a_good_one() {
    let disks = [blank(), blank()];
    let (from, to) = pair(&disks);
    // Another image in its place, of which the entry knows nothing.
    let path = crate::fat::join(IMAGES, "a.efi");
    from.esp.volume().remove(&path).unwrap();
    from.esp
        .volume()
        .write(&path, &mut [9; 3000].as_slice(), 3000, &mut |_| {})
        .unwrap();
    assert!(!synchronise(&from, &to, ("first", "second")).unwrap());
    install(&to, Slot::B, 5, 4);
    to.esp.volume().unlink(&path).unwrap();
    let refused = synchronise(&from, &to, ("first", "second"));
    assert!(
        matches!(refused, Err(MirrorError::Damaged(Slot::A))),
        "{refused:?}"
    );
    assert!(to.esp.state().unwrap().of(Slot::B).is_some());
    let nothing = side(&disks[0], FIRST);
    write(nothing.esp.volume(), &record()).unwrap();
    let refused = synchronise(&nothing, &to, ("first", "second"));
    assert!(
        matches!(refused, Err(MirrorError::NothingConfirmed)),
        "{refused:?}"
    );
}

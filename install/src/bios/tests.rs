use super::*;
use crate::esp::{Esp, Update};
use crate::fat::{Format, Volume, join};
use crate::recording::Disk;
use crate::slot::{ENTRIES, Slot, Tries};
use crate::uki;

fn named(slot: Slot, left: Option<u32>, generation: u64, options: &str) -> Named {
    Named {
        name: Name {
            slot,
            tries: left.map(|left| Tries { left, done: 0 }),
        },
        entry: Entry {
            generation,
            version: "0.1.0".to_owned(),
            size: 100,
            digest: [7; 32],
            options: options.to_owned(),
        },
    }
}

fn places() -> Places {
    Places {
        kernel: Extent {
            start: 5 * 512,
            length: 20 * 512,
        },
        initramfs: Extent {
            start: 25 * 512,
            length: 300 * 512,
        },
    }
}

fn menu(entries: &[Named]) -> Menu {
    Menu::new(&State(entries.to_vec()), |_| Some(places()))
}

fn slot_and_count(menu: &Menu, count: Option<Count>) -> (Slot, Option<u32>) {
    let (choice, count) = menu.next(count.as_ref()).unwrap();
    (choice.named.name.slot, count.map(|count| count.starts))
}

#[test]
fn a_menu_tries_what_is_on_trial_and_falls_back() {
    let menu = menu(&[named(Slot::A, None, 1, "a"), named(Slot::B, Some(3), 2, "b")]);
    let count = |generation, left, starts| {
        Some(Count {
            generation,
            left,
            starts,
        })
    };
    assert_eq!(slot_and_count(&menu, None), (Slot::B, Some(1)));
    assert_eq!(slot_and_count(&menu, count(2, 3, 2)), (Slot::B, Some(3)));
    assert_eq!(slot_and_count(&menu, count(2, 3, 3)), (Slot::A, None));
    // What was counted of another entry, or before its name was changed, is about that.
    assert_eq!(slot_and_count(&menu, count(1, 3, 3)), (Slot::B, Some(1)));
    assert_eq!(slot_and_count(&menu, count(2, 2, 3)), (Slot::B, Some(1)));
    assert!(Menu::default().next(None).is_none());
}

#[test]
fn rather_what_has_failed_is_started_than_nothing() {
    let failed = menu(&[named(Slot::B, Some(0), 2, "b")]);
    assert_eq!(slot_and_count(&failed, None), (Slot::B, None));
    let used_up = menu(&[named(Slot::B, Some(1), 2, "b")]);
    let count = Count {
        generation: 2,
        left: 1,
        starts: 1,
    };
    assert_eq!(slot_and_count(&used_up, Some(count)), (Slot::B, None));
}

#[test]
fn a_menu_is_commands_of_grubs_and_can_be_read_again() {
    let menu = menu(&[
        named(Slot::A, None, 1, "console=tty0 axion.slot=a"),
        named(
            Slot::B,
            Some(3),
            2,
            "dyndbg=\"file a.c +p\" x='$y' axion.slot=b -- z",
        ),
    ]);
    let text = menu.text();
    for part in [
        "# entry axion-b+3.conf 5+20 25+300\n#| title Axion 0.1.0 (slot b)\n",
        "  if loopback slot_b /EFI/axion/b.efi; then\n    \
         if linux (slot_b)5+20 'dyndbg=file a.c +p' 'x='\\''$y'\\''' 'axion.slot=b' '--' 'z'; then\n      \
         if initrd (slot_b)25+300; then\n",
        "if [ \"$trial\" != 2.3 ]; then\n  set trial=2.3\n  set starts=0\nfi\nset next=\n\
         if [ \"$starts\" = 0 ]; then set next=1\nelif [ \"$starts\" = 1 ]; then set next=2\n\
         elif [ \"$starts\" = 2 ]; then set next=3\nfi\n",
        "  if save_env --file /loader/grubenv trial starts; then\n    start_b\n  fi\n",
        "\nstart_a\n",
    ] {
        assert!(text.contains(part), "{part}\n is not in\n{text}");
    }
    assert!(text.find("    start_b\n") < text.find("\nstart_a\n"));
    assert_eq!(Menu::parse(&text), Some(menu));
    assert_eq!(Menu::parse(&text.replace("set next=3", "set next=2")), None);
    assert_eq!(Menu::parse(&text[..text.len() - 1]), None);
    assert_eq!(Menu::parse(""), None);
}

#[test]
fn a_count_is_a_block_of_one_sector() {
    let count = Count {
        generation: 12,
        left: 3,
        starts: 2,
    };
    let block = count.block();
    assert_eq!(block.len(), 512);
    assert!(block.starts_with(b"# GRUB Environment Block\ntrial=12.3\nstarts=2\n###"));
    assert!(is_block(&block));
    assert_eq!(Count::parse(&block), Some(count));
    assert_eq!(Count::parse(&no_count()), None);
    assert!(is_block(&no_count()));
    assert!(!is_block(&[0; 512]) && !is_block(&block[..511]));
    // As GRUB writes it: the variables in another order, and others beside them.
    let other = padded(format!("{SIGNATURE}starts=2\nx=y\ntrial=12.3\n"));
    assert_eq!(Count::parse(&other), Some(count));
}

#[test]
fn disks_with_large_sectors_are_refused_by_name() {
    assert_eq!(check("nvme0n1", 512), Ok(()));
    let refused = check("nvme0n1 100.0 GiB", 4096).unwrap_err().to_string();
    assert!(
        refused.starts_with(
            "nvme0n1 100.0 GiB has sectors of 4096 bytes, and a BIOS starts no such disk; switch"
        ),
        "{refused}"
    );
}

#[test]
fn a_loader_for_another_place_is_refused() {
    let first = BIOS_START / SECTOR;
    let (mut boot_code, mut core) = (vec![0; BOOT_CODE], vec![0; 1024]);
    boot_code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&first.to_le_bytes());
    core[REST..REST + 8].copy_from_slice(&(first + 1).to_le_bytes());
    core[REST + 8] = 1;
    assert!(Loader::new(&boot_code, &core).is_ok());
    assert!(Loader::new(&boot_code, &core[..512]).is_err());
    assert!(Loader::new(&boot_code[1..], &core).is_err());
    core[REST] += 1;
    assert!(Loader::new(&boot_code, &core).is_err());
}

/// An ESP with slot a, and GRUB.
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
    let (content, update) = image(1);
    let mut content = content.as_slice();
    esp.write_slot(Name::confirmed(Slot::A), 1, &update, &mut content, &mut |_| {})
        .unwrap();
    esp.add_grub().unwrap();
    esp
}

fn image(number: u8) -> (Vec<u8>, Update) {
    let mut content = uki::example(number.into());
    content.resize(4000, number);
    let update = Update {
        version: format!("0.{number}.0"),
        size: 4000,
        digest: inspect::digest(&content),
        options: "console=tty0".to_owned(),
    };
    (content, update)
}

fn stage(esp: &Esp<&Disk>, running: Slot, number: u8) -> Slot {
    let (content, update) = image(number);
    esp.stage(Some(running), &update, &mut content.as_slice(), &mut |_| {})
        .unwrap()
}

fn entries(esp: &Esp<&Disk>) -> Vec<String> {
    let mut entries = esp.volume().list(ENTRIES).unwrap();
    entries.sort();
    entries
}

#[test]
fn three_starts_that_fail_are_counted_and_taken_over_into_the_name() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    assert_eq!(stage(&esp, Slot::A, 2), Slot::B);
    let mut left = Vec::new();
    for _ in 0..5 {
        let slot = esp.count_start_of_grub().unwrap().unwrap();
        let state = esp.state().unwrap();
        left.push((slot, state.of(Slot::B).unwrap().name.tries.unwrap().left));
    }
    assert_eq!(
        left,
        [
            (Slot::B, 2),
            (Slot::B, 1),
            (Slot::B, 0),
            (Slot::A, 0),
            (Slot::A, 0)
        ]
    );
    assert_eq!(entries(&esp), ["axion-a.conf", "axion-b+3.conf"]);
    assert!(
        esp.settle()
            .unwrap()
            .of(Slot::B)
            .is_some_and(|named| named.name.failed())
    );
    assert_eq!(entries(&esp), ["axion-a.conf", "axion-b+0-3.conf"]);
    assert_eq!(esp.count_start_of_grub().unwrap(), Some(Slot::A));
    assert_eq!(esp.count_start().unwrap(), Some(Slot::A));
}

#[test]
fn a_count_that_was_taken_over_does_not_count_twice() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 2);
    esp.count_start_of_grub().unwrap();
    esp.settle().unwrap();
    assert_eq!(entries(&esp), ["axion-a.conf", "axion-b+2-1.conf"]);
    // Nothing is left to be done.
    let log = disk.log().len();
    esp.settle().unwrap();
    assert_eq!(disk.log().len(), log);
    let starts: Vec<_> = (0..3)
        .map(|_| esp.count_start_of_grub().unwrap().unwrap())
        .collect();
    assert_eq!(starts, [Slot::B, Slot::B, Slot::A]);
}

#[test]
fn a_confirmed_slot_is_started_without_counting() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 2);
    esp.count_start_of_grub().unwrap();
    assert!(esp.confirm(Slot::B).unwrap());
    let count = esp.count().unwrap();
    for _ in 0..5 {
        assert_eq!(esp.count_start_of_grub().unwrap(), Some(Slot::B));
    }
    assert_eq!(esp.count().unwrap(), count);
    assert_eq!(esp.roll_back().unwrap(), Slot::A);
    assert_eq!(esp.count_start_of_grub().unwrap(), Some(Slot::A));
}

#[test]
fn what_was_counted_of_an_entry_is_not_about_one_of_the_same_generation() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 2);
    for _ in 0..3 {
        esp.count_start_of_grub().unwrap();
    }
    // A cut right behind the first step of the next update.
    esp.volume().unlink(&join(ENTRIES, "axion-b+3.conf")).unwrap();
    stage(&esp, Slot::A, 3);
    assert_eq!(esp.count_start_of_grub().unwrap(), Some(Slot::B));
}

#[test]
fn what_grub_cannot_read_is_made_again() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    stage(&esp, Slot::A, 2);
    esp.volume().rewrite("loader/grubenv", &[0; 512]).unwrap();
    esp.volume().remove("loader/grub.cfg").unwrap();
    assert_eq!(esp.count_start_of_grub().unwrap(), None);
    esp.settle().unwrap();
    assert_eq!(esp.count_start_of_grub().unwrap(), Some(Slot::B));
    assert!(esp.count().unwrap().is_some());
}

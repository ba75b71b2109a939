use super::*;
use crate::fat::Format;
use crate::recording::{Disk, Operation};

const ORDER: &str = r#"{"config":true,"state":"tank","pools":[]}"#;

fn volume(disk: &Disk, directories: &[&str], file: Option<&str>) {
    let format = Format {
        label: *b"AXION-TEST ",
        id: 1,
        cluster: 512,
    };
    let mut volume = Volume::format(disk, &format).unwrap();
    for directory in directories {
        volume.make_directory(directory).unwrap();
    }
    volume.finish().unwrap();
    if let Some(name) = file {
        volume
            .write(name, &mut &b"hostname = \"x\"\n"[..], 15, &mut |_| {})
            .unwrap();
    }
}

fn disks() -> (Disk, Disk) {
    let (esp, config) = (Disk::new(40 << 20), Disk::new(40 << 20));
    volume(&esp, &["EFI", "loader"], Some("loader/loader.conf"));
    volume(&config, &[], Some(CONFIG));
    for name in ["axion.toml.old", "axion.new", "axion.bak"] {
        let text = b"token_hashes = []\n";
        open(&config)
            .write(name, &mut &text[..], 18, &mut |_| {})
            .unwrap();
    }
    (esp.settled(), config.settled())
}

fn open(disk: &Disk) -> Volume<&Disk> {
    Volume::open(disk).unwrap()
}

/// What stages 1 and 2 do of it.
fn carry_out(esp: &Disk, config: &Disk) {
    let (esp, config) = (open(esp), open(config));
    let Some(found) = pending(&esp).unwrap() else {
        return;
    };
    assert_eq!(found.order, ORDER);
    if !found.config_is_done {
        take_config(&config).unwrap();
        config_is_done(&esp).unwrap();
    }
    done(&esp).unwrap();
}

#[test]
fn an_order_is_carried_out_once() {
    let (esp, config) = disks();
    assert_eq!(pending(&open(&esp)).unwrap(), None);
    order(&open(&esp), ORDER).unwrap();
    let found = pending(&open(&esp)).unwrap().unwrap();
    assert_eq!((found.order.as_str(), found.config_is_done), (ORDER, false));
    take_config(&open(&config)).unwrap();
    assert!(open(&config).list("").unwrap().is_empty());
    take_config(&open(&config)).unwrap();
    config_is_done(&open(&esp)).unwrap();
    assert!(pending(&open(&esp)).unwrap().unwrap().config_is_done);
    done(&open(&esp)).unwrap();
    done(&open(&esp)).unwrap();
    assert_eq!(pending(&open(&esp)).unwrap(), None);
    assert_eq!(open(&esp).list(DIRECTORY).unwrap(), ["loader.conf"]);
    // What an order that was never finished has left is in nobody's way.
    open(&esp)
        .write("loader/reset.new", &mut &b"x"[..], 1, &mut |_| {})
        .unwrap();
    order(&open(&esp), ORDER).unwrap();
    assert!(pending(&open(&esp)).unwrap().is_some());
}

/// The disk as a cut leaves it behind the first `count` of its operations; of those not flushed, `keep` says which are there.
fn cut(before: &Disk, log: &[Operation], count: usize, keep: bool) -> Disk {
    let disk = before.fresh();
    let done = &log[..count];
    let flushed = done
        .iter()
        .rposition(|o| matches!(o, Operation::Flush))
        .unwrap_or(0);
    for operation in &done[..flushed] {
        disk.apply(operation).unwrap();
    }
    let choose = |versions: usize| if keep { versions - 1 } else { 0 };
    disk.cut(&done[flushed..], choose).unwrap()
}

#[test]
fn wherever_the_power_is_cut_it_is_ordered_whole_or_not_at_all() {
    let (esp, _) = disks();
    let before = esp.settled();
    order(&open(&esp), ORDER).unwrap();
    let log = esp.log();
    let mut seen = [false; 2];
    for count in 0..=log.len() {
        for keep in [false, true] {
            let left = cut(&before, &log, count, keep);
            let found = pending(&open(&left)).unwrap();
            seen[usize::from(found.is_some())] = true;
            assert!(
                found.is_none_or(|found| found.order == ORDER),
                "behind {count} of {}",
                log.len()
            );
        }
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn wherever_the_power_is_cut_the_next_boot_goes_on() {
    let (esp, config) = disks();
    order(&open(&esp), ORDER).unwrap();
    let (esp, config) = (esp.settled(), config.settled());
    let (before, config_before) = (esp.settled(), config.settled());
    carry_out(&esp, &config);
    let (log, config_log) = (esp.log(), config.log());
    assert!(!log.is_empty() && !config_log.is_empty());
    // The config goes first, so it is cut while the order is as it was, and the other way round.
    let mut states: Vec<(Disk, Disk)> = Vec::new();
    for keep in [false, true] {
        for count in 0..=config_log.len() {
            states.push((before.fresh(), cut(&config_before, &config_log, count, keep)));
        }
        for count in 0..=log.len() {
            states.push((cut(&before, &log, count, keep), config.fresh()));
        }
    }
    for (esp, config) in states {
        carry_out(&esp, &config);
        assert_eq!(pending(&open(&esp)).unwrap(), None);
        assert!(open(&config).list("").unwrap().is_empty());
        assert_eq!(open(&esp).list(DIRECTORY).unwrap(), ["loader.conf"]);
    }
}

#[test]
fn what_is_left_of_an_order_takes_its_place() {
    const LEFT: &str = r#"{"config":true,"state":null,"pools":["data"]}"#;
    let (esp, _) = disks();
    order(&open(&esp), ORDER).unwrap();
    config_is_done(&open(&esp)).unwrap();
    let esp = esp.settled();
    let before = esp.settled();
    rest(&open(&esp), LEFT).unwrap();
    let log = esp.log();
    let mut seen = [false; 2];
    for count in 0..=log.len() {
        for keep in [false, true] {
            let left = cut(&before, &log, count, keep);
            let found = pending(&open(&left)).unwrap().unwrap();
            assert!(found.config_is_done);
            seen[usize::from(found.order == LEFT)] = true;
            assert!([LEFT, ORDER].contains(&found.order.as_str()), "{found:?}");
        }
    }
    assert_eq!(seen, [true, true]);
    assert_eq!(open(&esp).list(DIRECTORY).unwrap().len(), 2);
}

#[test]
fn wherever_the_power_is_cut_the_config_goes_last() {
    let (_, config) = disks();
    let before = config.settled();
    take_config(&open(&config)).unwrap();
    let log = config.log();
    for count in 0..=log.len() {
        for keep in [false, true] {
            let left = open(&cut(&before, &log, count, keep)).list("").unwrap();
            let whole = left.iter().any(|name| name == CONFIG);
            assert!(whole || left.is_empty(), "behind {count}: {left:?}");
        }
    }
}

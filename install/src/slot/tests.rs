use proptest::prelude::*;

use super::*;

fn named(file: &str, generation: u64) -> Named {
    Named {
        name: Name::parse(file).unwrap(),
        entry: entry(generation),
    }
}

fn entry(generation: u64) -> Entry {
    Entry {
        generation,
        version: "0.1.0".to_owned(),
        size: 5,
        digest: [7; 32],
        options: "console=tty0 axion.slot=a".to_owned(),
    }
}

fn state(entries: &[(&str, u64)]) -> State {
    State(
        entries
            .iter()
            .map(|(file, generation)| named(file, *generation))
            .collect(),
    )
}

#[test]
fn names() {
    for file in [
        "axion-a.conf",
        "axion-b+3.conf",
        "axion-b+2-1.conf",
        "axion-a+0-3.conf",
    ] {
        assert_eq!(Name::parse(file).unwrap().to_string(), file);
    }
    for file in [
        "axion-c.conf",
        "axion-a",
        "axion-a+.conf",
        "axion-a+x.conf",
        "axion-a+1-.conf",
        "a.conf",
        "axion-a+-1.conf",
    ] {
        assert_eq!(Name::parse(file), None, "{file}");
    }
}

#[test]
fn the_loader_counts_to_nothing_and_stays_there() {
    let mut name = Name::untried(Slot::B);
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(name.to_string());
        name = name.after_start();
    }
    let expected = ["+3", "+2-1", "+1-2", "+0-3", "+0-3"].map(|t| format!("axion-b{t}.conf"));
    assert_eq!(seen, expected);
    let confirmed = Name::confirmed(Slot::A);
    assert_eq!(confirmed.after_start(), confirmed);
}

#[test]
fn entries_are_what_was_written_for_their_slot() {
    let entry = entry(12);
    let text = entry.text(Slot::A);
    assert_eq!(Entry::parse(&text, Slot::A), Some(entry));
    assert_eq!(Entry::parse(&text, Slot::B), None);
    assert_eq!(
        Entry::parse(&text.replace("tty0", "tty1 "), Slot::A)
            .unwrap()
            .options,
        "console=tty1  axion.slot=a"
    );
    assert_eq!(Entry::parse(&format!("{text}x"), Slot::A), None);
    assert_eq!(Entry::parse("", Slot::A), None);
}

#[test]
fn what_starts_next_what_is_good_and_what_is_written() {
    use Slot::{A, B};
    // Entries, running; what starts, what is good, the target.
    type Row<'a> = (
        &'a [(&'a str, u64)],
        Option<Slot>,
        Option<Slot>,
        Option<Slot>,
        Result<Slot, Refusal>,
    );
    let table: &[Row<'_>] = &[
        (&[], None, None, None, Err(Refusal::NothingConfirmed)),
        (&[("axion-a.conf", 1)], Some(A), Some(A), Some(A), Ok(B)),
        (
            &[("axion-a.conf", 1), ("axion-b+3.conf", 2)],
            Some(A),
            Some(B),
            Some(A),
            Ok(B),
        ),
        (
            &[("axion-a.conf", 1), ("axion-b+2-1.conf", 2)],
            Some(B),
            Some(B),
            Some(A),
            Err(Refusal::OnTrial(B)),
        ),
        (
            &[("axion-a.conf", 1), ("axion-b+0-3.conf", 2)],
            Some(A),
            Some(A),
            Some(A),
            Ok(B),
        ),
        (
            &[("axion-a.conf", 1), ("axion-b.conf", 2)],
            Some(B),
            Some(B),
            Some(B),
            Ok(A),
        ),
        (
            &[("axion-a.conf", 3), ("axion-b.conf", 2)],
            Some(B),
            Some(A),
            Some(A),
            Ok(B),
        ),
        (
            &[("axion-a+3.conf", 10), ("axion-b.conf", 9)],
            None,
            Some(A),
            Some(B),
            Ok(A),
        ),
        (
            &[("axion-b+0-3.conf", 9)],
            None,
            Some(B),
            None,
            Err(Refusal::NothingConfirmed),
        ),
    ];
    for (entries, running, next, good, target) in table {
        let state = state(entries);
        let slot = |named: Option<&Named>| named.map(|n| n.name.slot);
        assert_eq!(slot(state.next()), *next, "{entries:?}");
        assert_eq!(slot(state.good()), *good, "{entries:?}");
        assert_eq!(state.target(*running), *target, "{entries:?}");
    }
}

#[test]
fn rolling_back() {
    let both = state(&[("axion-a.conf", 1), ("axion-b.conf", 2)]);
    let to = both.to_roll_back_to().unwrap();
    assert_eq!((to.name.slot, to.entry.generation), (Slot::A, 3));
    let trial = state(&[("axion-a.conf", 1), ("axion-b+2-1.conf", 2)]);
    assert_eq!(trial.to_roll_back_to().unwrap().name.slot, Slot::A);
    let one = state(&[("axion-a.conf", 1), ("axion-b+0-3.conf", 2)]);
    assert_eq!(one.to_roll_back_to(), Err(Refusal::NothingToRollBackTo));
}

#[test]
fn confirming() {
    let trial = state(&[("axion-a.conf", 1), ("axion-b+2-1.conf", 2)]);
    assert_eq!(
        trial.to_confirm(Slot::B).unwrap().unwrap().to_string(),
        "axion-b+2-1.conf"
    );
    assert_eq!(trial.to_confirm(Slot::A), Ok(None));
    assert_eq!(
        State::default().to_confirm(Slot::A),
        Err(Refusal::NoSuchSlot(Slot::A))
    );
}

proptest! {
    #[test]
    fn the_last_confirmed_slot_is_never_the_target(
        a in proptest::option::of((0_u64..5, proptest::option::of(0_u32..4))),
        b in proptest::option::of((5_u64..9, proptest::option::of(0_u32..4))),
        running in proptest::option::of(prop_oneof![Just(Slot::A), Just(Slot::B)]),
    ) {
        let make = |slot, of: Option<(u64, Option<u32>)>| of.map(|(generation, left)| Named {
            name: Name { slot, tries: left.map(|left| Tries { left, done: 1 }) },
            entry: entry(generation),
        });
        let state = State(make(Slot::A, a).into_iter().chain(make(Slot::B, b)).collect());
        if let Ok(target) = state.target(running) {
            prop_assert_ne!(state.good().unwrap().name.slot, target);
        }
        if let (Some(next), Some(_)) = (state.next(), state.good()) {
            prop_assert!(!next.name.failed());
        }
    }
}

/// What 0.1.0 has written: earlier and later versions share a disk, and each must read the other's entries.
#[test]
fn an_entry_of_the_first_version_is_read_and_written_alike() {
    let golden = include_str!("golden/entry-1.conf");
    let read = Entry::parse(golden, Slot::B).unwrap();
    assert_eq!(read.generation, 4);
    assert_eq!(read.version, "0.1.0");
    assert_eq!(read.size, 56_623_104);
    assert_eq!(
        read.options,
        "console=tty0 isolcpus=managed_irq,domain,2-3 axion.slot=b"
    );
    assert_eq!(read.text(Slot::B), golden);
}

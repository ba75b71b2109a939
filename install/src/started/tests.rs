use super::*;

fn disks(guids: &[u128]) -> Vec<Found> {
    let names = ["nvme0n1", "nvme1n1", "sda"];
    let found = guids.iter().zip(names);
    found
        .map(|(esp, name)| Found {
            name: name.to_owned(),
            esp: *esp,
            other: None,
        })
        .collect()
}

#[test]
fn the_disk_that_was_started_from_is_chosen_among_others() {
    for hint in [Hint::Loader(2), Hint::Argument(2)] {
        assert_eq!(choose(&disks(&[1, 2, 3]), hint), Ok(1));
        assert_eq!(choose(&disks(&[2]), hint), Ok(0));
    }
}

#[test]
fn without_a_hint_there_must_be_one_alone() {
    assert_eq!(choose(&disks(&[1]), Hint::Nothing), Ok(0));
    // A disk that was copied, and got GUIDs of its own, has the arguments of the one before.
    assert_eq!(choose(&disks(&[1]), Hint::Argument(7)), Ok(0));
    for hint in [Hint::Nothing, Hint::Argument(7)] {
        let unclear = choose(&disks(&[1, 2]), hint).unwrap_err();
        assert!(matches!(unclear, Unclear::Several { .. }), "{unclear}");
        assert!(
            unclear.to_string().starts_with("nvme0n1 and nvme1n1 hold"),
            "{unclear}"
        );
    }
    assert_eq!(choose(&[], Hint::Nothing), Err(Unclear::None));
    assert_eq!(choose(&[], Hint::Loader(1)), Err(Unclear::None));
}

#[test]
fn a_disk_that_was_not_started_from_is_never_taken_against_the_loaders_word() {
    let unclear = choose(&disks(&[1]), Hint::Loader(7)).unwrap_err();
    assert_eq!(
        unclear.to_string(),
        "the node was started from the partition 00000000-0000-0000-0000-000000000007, which no disk has; the installation of \
         Axion on nvme0n1 is another one, and left alone"
    );
}

#[test]
fn the_other_disk_of_a_mirror_is_not_the_one_that_was_started() {
    let mirror = |other| {
        let mut disks = disks(&[1]);
        disks[0].other = Some(other);
        disks
    };
    for hint in [Hint::Argument(7), Hint::Loader(7)] {
        let unclear = choose(&mirror(7), hint).unwrap_err();
        assert!(
            matches!(&unclear, Unclear::Gone { others, several: false, .. } if others == "nvme0n1"),
            "{unclear}"
        );
    }
    // The partner of some other disk was copied, and got GUIDs of its own.
    assert_eq!(choose(&mirror(8), Hint::Argument(7)), Ok(0));
    assert_eq!(choose(&mirror(7), Hint::Argument(1)), Ok(0));
    assert_eq!(choose(&mirror(7), Hint::Nothing), Ok(0));
}

#[test]
fn a_copy_is_told() {
    let unclear = choose(&disks(&[1, 2, 2]), Hint::Loader(2)).unwrap_err();
    assert!(
        matches!(&unclear, Unclear::Copies { disks, .. } if disks == "nvme1n1 and sda"),
        "{unclear}"
    );
}

#[test]
fn the_loaders_word_counts_before_the_arguments() {
    let (one, two) = (
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-00000000000B",
    );
    assert_eq!(Hint::of(Some(one), Some(two)), Hint::Loader(1));
    assert_eq!(Hint::of(None, Some(two)), Hint::Argument(11));
    assert_eq!(Hint::of(Some("x"), Some(two)), Hint::Argument(11));
    assert_eq!(Hint::of(None, Some("")), Hint::Nothing);
    assert_eq!(parse(&text(0x1234)), Some(0x1234));
}

use super::*;

const ALONE: Start = Start::Other { documents: false };
const TOLD: Start = Start::Other { documents: true };

fn volumes(places: &[(&str, Place)]) -> Vec<Volume> {
    let volume = |(device, place): &(&str, Place)| Volume {
        device: (*device).to_owned(),
        place: *place,
    };
    places.iter().map(volume).collect()
}

fn taken(places: &[(&str, Place)], start: Start) -> Vec<String> {
    let volumes = volumes(places);
    let choice = choose(&volumes, start);
    assert_eq!(choice.taken.len() + choice.left.len(), volumes.len());
    choice.taken
}

#[test]
fn a_disk_that_a_guest_has_written_says_nothing_to_an_installed_node() {
    let places = [
        ("nvme0n1p1", Place::Own),
        ("nvme1n1", Place::Disk),
        ("nvme2n1p1", Place::Partner),
        ("sda1", Place::Stick),
        ("sdb1", Place::Installation),
    ];
    assert_eq!(taken(&places, Start::Installed), ["nvme0n1p1"]);
    // Not even where the disk that was started is not there.
    assert_eq!(taken(&places[1..], Start::Installed), [""; 0]);
    assert_eq!(taken(&places[1..], Start::Unclear), ["sdb1"]);
}

#[test]
fn the_medium_that_was_started_wins_over_what_is_on_the_disks() {
    let places = [
        ("nvme0n1p1", Place::Installation),
        ("nvme1n1", Place::Disk),
        ("sda1", Place::Medium),
        ("sdb1", Place::Stick),
    ];
    for start in [ALONE, TOLD] {
        assert_eq!(taken(&places, start), ["sdb1", "sda1"]);
    }
}

#[test]
fn a_stick_wins_over_a_disk_and_a_disk_over_an_installation() {
    let places = [
        ("nvme0n1p1", Place::Installation),
        ("sda1", Place::Stick),
        ("vda", Place::Disk),
    ];
    assert_eq!(taken(&places, ALONE), ["vda", "sda1"]);
    assert_eq!(taken(&places[..1], ALONE), ["nvme0n1p1"]);
    // The URL says what the node is, and not what was on its disk before.
    assert_eq!(taken(&places[..1], TOLD), [""; 0]);
}

#[test]
fn what_is_left_out_says_why() {
    let places = volumes(&[
        ("sda1", Place::Own),
        ("sdb1", Place::Partner),
        ("sdc", Place::Disk),
    ]);
    let left = choose(&places, Start::Installed).left;
    assert_eq!(left[0].0, "sdb1");
    assert!(left[0].1.contains("mirror"), "{left:?}");
    assert!(left[1].1.contains("the disk that was started"), "{left:?}");
}

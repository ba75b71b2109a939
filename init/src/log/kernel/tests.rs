use super::{Record, attribute, parse};

#[test]
fn a_record_of_the_kernel() {
    let record =
        parse(b"4,339,5140900,-;pci 0000:00:1f.0: quirk\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1f.0\n")
            .unwrap();
    assert_eq!(
        record,
        Record {
            severity: 4,
            facility: 0,
            at_us: 5_140_900,
            message: "pci 0000:00:1f.0: quirk".into()
        }
    );
    assert_eq!(attribute(&record), ("kernel", "pci 0000:00:1f.0: quirk"));
}

#[test]
fn a_line_of_stage_1_keeps_its_source() {
    let record = parse(b"14,1,7,-;axion: init: stage 1\n").unwrap();
    assert_eq!((record.severity, record.facility), (6, 1));
    assert_eq!(attribute(&record), ("init", "stage 1"));
}

#[test]
fn the_kernel_cannot_be_made_to_speak_for_init() {
    let record = parse(b"6,1,7,-;axion: init: x\n").unwrap();
    assert_eq!(attribute(&record).0, "kernel");
}

#[test]
fn anything_else_is_no_record() {
    for bad in [&b""[..], b";", b"x,1,2,-;m", b"6,1;m", b"6,1,2", b"\xff\xfe"] {
        assert_eq!(parse(bad), None, "{bad:?}");
    }
}

#[test]
fn a_record_is_shown_as_people_know_it() {
    let record = parse(b"4,339,5140900,-;pci 0000:00:1f.0: quirk\x1b[2J\n").unwrap();
    assert_eq!(
        super::shown(&record),
        "<4>[    5.140900] pci 0000:00:1f.0: quirk[2J\n"
    );
}

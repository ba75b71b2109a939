use super::*;

fn status(why: Option<&str>) -> MirrorStatus {
    MirrorStatus {
        started: "nvme0n1, serial:S1".to_owned(),
        other: "nvme1n1, serial:S2".to_owned(),
        state: match why {
            None => MirrorState::InSync,
            Some(_) => MirrorState::Degraded,
        },
        why: why.map(str::to_owned),
    }
}

#[test]
fn a_mirror_is_told_of_when_it_changes() {
    let (good, gone) = (status(None), status(Some("it is not there")));
    assert_eq!(news(None, None), None);
    assert_eq!(news(Some(&good), None), None);
    assert_eq!(news(Some(&gone), Some(&gone)), None);
    assert_eq!(
        news(Some(&good), Some(&gone)).unwrap(),
        "system disk mirror degraded: nvme1n1, serial:S2 does not follow nvme0n1, serial:S1, which was started: it is not there"
    );
    assert_eq!(
        news(Some(&gone), Some(&good)).unwrap(),
        "system disk mirror: nvme1n1, serial:S2 holds the same as nvme0n1, serial:S1"
    );
}

#[test]
fn a_refusal_says_what_to_do() {
    let disk: DiskChoice = "serial:S3".parse().unwrap();
    let refused = Refused::NotOne { disk, count: 0 };
    assert_eq!(refused.kind(), Kind::NotFound);
    assert!(refused.to_string().contains("axctl pool disks"));
    assert_eq!(Refused::Word("abcd".to_owned()).kind(), Kind::Conflict);
}

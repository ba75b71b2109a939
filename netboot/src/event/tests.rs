use super::*;
use crate::fixture::MAC;

fn who() -> Who {
    Who {
        mac: Some(MAC),
        address: Some(Ipv4Addr::new(10, 0, 0, 100)),
        architecture: Some(Architecture::Uefi),
    }
}

#[test]
fn a_transfer_is_told_once_a_quarter() {
    let mut progress = Progress::new(who(), "vmlinuz".to_owned(), 1000);
    let said: Vec<_> = (0..100)
        .filter_map(|_| progress.advance(10))
        .map(|event| event.to_string())
        .collect();
    assert_eq!(
        said,
        [25, 50, 75, 100].map(|n| format!("52:54:00:12:34:56  10.0.0.100       UEFI       vmlinuz  {n} %"))
    );
    // One that jumps says where it is.
    let mut progress = Progress::new(Who::default(), "x".to_owned(), 3);
    assert_eq!(
        progress.reach(9).unwrap().to_string(),
        "-                  -                -          x  100 %"
    );
    assert_eq!(progress.reach(9), None);
}

#[test]
fn an_event_is_a_line_of_json_for_programs() {
    let event = Event::Boots {
        who: who(),
        file: "undionly.kpxe".to_owned(),
    };
    assert_eq!(
        serde_json::to_value(&event).unwrap(),
        serde_json::json!({
            "event": "boots",
            "mac": "52:54:00:12:34:56",
            "address": "10.0.0.100",
            "architecture": "uefi",
            "file": "undionly.kpxe",
        })
    );
}

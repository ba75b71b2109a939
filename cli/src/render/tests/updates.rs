//! The slots of an installed node.

use axion_api::update::{
    MirrorPlan, MirrorState, MirrorStatus, SlotFailure, SlotState, SlotStatus, UpdateStatus,
};

use super::{SCREEN, assert_screen};
use crate::render::update::show;

fn slot(slot: &str, version: &str, state: SlotState, tries_left: Option<u32>) -> SlotStatus {
    SlotStatus {
        slot: slot.to_owned(),
        version: version.to_owned(),
        state,
        tries_left,
        size: 54 << 20,
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        arguments: "console=tty0 axion.slot=a".to_owned(),
        failure: None,
    }
}

#[test]
fn an_update_that_waits_for_its_start() {
    let status = UpdateStatus {
        running: "a".to_owned(),
        next: Some("b".to_owned()),
        slots: vec![
            slot("a", "0.1.0", SlotState::Confirmed, None),
            slot("b", "0.2.0", SlotState::Staged, Some(3)),
        ],
        trusted_keys: vec!["E7620F1842B4E81F".to_owned()],
        mirror: None,
    };
    assert_screen(
        &show(&status, false, &SCREEN),
        "
Runs          slot a, Axion 0.1.0
Next start    slot b, Axion 0.2.0
Trusted keys  E7620F1842B4E81F

SLOT  VERSION  STATE      TRIES       SIZE  DIGEST
a     0.1.0    confirmed      -  54.00 MiB  sha256:0123456789abcdef0123456789ab…
b     0.2.0    staged         3  54.00 MiB  sha256:0123456789abcdef0123456789ab…
",
    );
}

#[test]
fn an_update_that_was_given_up_says_why() {
    let failed = SlotStatus {
        failure: Some(SlotFailure {
            why: "agent: the agent is not ready after 30 s".to_owned(),
            log: "init: phase services degraded in 30012 ms\ninit: ready\x1b[2J\n".to_owned(),
        }),
        ..slot("b", "0.2.0", SlotState::Failed, Some(0))
    };
    let status = UpdateStatus {
        running: "a".to_owned(),
        next: None,
        slots: vec![failed],
        trusted_keys: Vec::new(),
        mirror: Some(MirrorStatus {
            started: "nvme0n1, serial:S1".to_owned(),
            other: "nvme1n1, serial:S2".to_owned(),
            state: MirrorState::Degraded,
            why: Some("it is not there".to_owned()),
        }),
    };
    let text = show(&status, false, &SCREEN);
    assert!(text.ends_with(
        "
Slot b, Axion 0.2.0, was not confirmed
  agent: the agent is not ready after 30 s
  `axctl update status --log` shows the end of its log
"
    ));
    assert!(text.contains("Next start    nothing\n"), "{text}");
    assert!(
        text.contains("Mirror        nvme1n1, serial:S2, degraded: it is not there\n"),
        "{text}"
    );
    let text = show(&status, true, &SCREEN);
    assert!(text.ends_with("  | init: ready\u{fffd}[2J\n"), "{text}");
}

#[test]
fn what_becomes_of_a_mirror_is_told_with_its_word() {
    let plan = MirrorPlan {
        text: "kept on a second disk as well,\n  sda 1.0 TiB\n".to_owned(),
        token: "kxpj".to_owned(),
    };
    assert_eq!(
        crate::render::update::plan(&plan),
        "kept on a second disk as well,\n  sda 1.0 TiB\n\nIts word is kxpj\n"
    );
}

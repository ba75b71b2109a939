use axion_api::update::{SlotState, SlotStatus};

use super::*;

fn stick(device: &str) -> Stick {
    Stick {
        device: device.to_owned(),
        disk: "Ultra".to_owned(),
        serial: None,
        label: "KEYS".to_owned(),
        size: 1 << 30,
    }
}

fn plan() -> ResetPlan {
    ResetPlan {
        scope: ResetScope::State,
        pools: false,
        hostname: "rack7".to_owned(),
        lost: Vec::new(),
        kept: Vec::new(),
    }
}

/// Where keys lead from `question`.
fn press(question: Trouble, keys: &str) -> Step {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\x08' => KeyCode::Backspace,
        c => KeyCode::Char(c),
    };
    keys.chars().fold(Step::Next(question), |step, c| match step {
        Step::Next(question) => question.key(code(c)),
        other => panic!("{c} was pressed after {other:?}"),
    })
}

#[test]
fn a_bundle_goes_to_the_stick_that_is_chosen() {
    assert_eq!(press(Trouble::Menu, "b"), Step::Ask(Ask::Sticks));
    let sticks = || Trouble::Sticks(vec![stick("sda1"), stick("sdb1")]);
    assert_eq!(press(sticks(), "2"), Step::Ask(Ask::Save(stick("sdb1"))));
    for other in ["0", "3", "x"] {
        assert_eq!(press(sticks(), other), Step::Next(sticks()));
    }
    assert_eq!(press(sticks(), "\x1b"), Step::Close);
}

#[test]
fn a_reset_needs_the_host_name() {
    assert_eq!(
        press(Trouble::Menu, "fs"),
        Step::Ask(Ask::Plan(ResetScope::State))
    );
    assert_eq!(
        press(Trouble::Menu, "fc"),
        Step::Ask(Ask::Plan(ResetScope::Config))
    );
    assert_eq!(press(Trouble::Menu, "fa"), Step::Ask(Ask::Plan(ResetScope::All)));
    let asking = |typed: &str| Trouble::Reset {
        plan: plan(),
        typed: typed.to_owned(),
    };
    assert_eq!(press(asking(""), "\n"), Step::Next(asking("")));
    assert_eq!(press(asking(""), "rack8\n"), Step::Next(asking("")));
    let ordered = Step::Ask(Ask::Reset(ResetScope::State, "rack7".to_owned()));
    assert_eq!(press(asking(""), "rack8\x087\n"), ordered);
    assert_eq!(press(asking("rack7"), "\x1b"), Step::Close);
}

/// Slot b, which is next, and a, which is `before`.
fn slots(before: SlotState) -> Trouble {
    let slot = |slot: &str, state| SlotStatus {
        slot: slot.to_owned(),
        version: "0.4.0".to_owned(),
        state,
        tries_left: None,
        size: 0,
        digest: String::new(),
        arguments: String::new(),
        failure: None,
    };
    let status = UpdateStatus {
        running: "b".to_owned(),
        next: Some("b".to_owned()),
        slots: vec![slot("a", before), slot("b", SlotState::Confirmed)],
        ..UpdateStatus::default()
    };
    Trouble::Slots {
        status: Box::new(status),
        typed: String::new(),
    }
}

#[test]
fn the_version_before_needs_its_words_and_a_slot_that_is_confirmed() {
    assert_eq!(press(Trouble::Menu, "v"), Step::Ask(Ask::Slots));
    let back = Step::Ask(Ask::RollBack("a".to_owned()));
    assert_eq!(press(slots(SlotState::Confirmed), "roll back\n"), back);
    for keys in ["\n", "roll\n", "reboot\n"] {
        let again = Step::Next(slots(SlotState::Confirmed));
        assert_eq!(press(slots(SlotState::Confirmed), keys), again);
    }
    for state in [SlotState::Failed, SlotState::Staged, SlotState::Trying] {
        assert_eq!(press(slots(state), "roll back\n"), Step::Next(slots(state)));
    }
    let none = || Trouble::NoSlots("it was started over the network".to_owned());
    assert_eq!(press(none(), "roll back\n"), Step::Next(none()));
    assert_eq!(press(none(), "\x1b"), Step::Close);
}

#[test]
fn a_shell_needs_its_word() {
    assert_eq!(press(Trouble::Menu, "sshell\n"), Step::Ask(Ask::Shell));
    let begun = Trouble::Shell { typed: String::new() };
    assert_eq!(press(Trouble::Menu, "ssh\n"), Step::Next(begun));
}

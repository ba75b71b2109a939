use MachineState::{Paused, Running, Starting, Stopped};

use super::*;

#[test]
fn power_can_always_be_cut() {
    for state in [Starting, Running, Paused] {
        assert_eq!(decide(state, Request::Stop), Ok(Action::End));
    }
    assert_eq!(decide(Stopped, Request::Stop), Ok(Action::Nothing));
}

#[test]
fn nothing_else_before_and_after_the_guest_runs() {
    for state in [Starting, Stopped] {
        for request in [
            Request::PowerButton,
            Request::Reset,
            Request::Pause,
            Request::Resume,
        ] {
            assert_eq!(decide(state, request), Err(Refusal { state, request }));
        }
    }
}

#[test]
fn pause_and_resume_are_idempotent() {
    assert_eq!(decide(Running, Request::Pause), Ok(Action::Pause));
    assert_eq!(decide(Paused, Request::Pause), Ok(Action::Nothing));
    assert_eq!(decide(Paused, Request::Resume), Ok(Action::Resume));
    assert_eq!(decide(Running, Request::Resume), Ok(Action::Nothing));
}

#[test]
fn refusal_says_why() {
    let refusal = decide(Starting, Request::Pause).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the machine is starting; pause needs it running or paused"
    );
}

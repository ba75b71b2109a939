use axion_api::init::{UnitState, UnitStatus};
use axion_api::vm::{VmSpec, VmState};

use crate::init::Unit;
use crate::vm::plan::{Action, plan};
use crate::vm::record::{End, Goal, Record, Stored};

fn record(goal: Goal) -> Record {
    Record {
        spec: VmSpec::default(),
        goal,
        slot: 0,
        macs: Vec::new(),
        memory: None,
        placement: None,
        end: None,
        written_unix_us: 1,
    }
}

fn unit(state: UnitState, exit: Option<(&str, Option<i32>)>, was_stopped: bool) -> Unit {
    let status = UnitStatus {
        name: "vm-a".to_owned(),
        description: String::new(),
        transient: true,
        state,
        pid: None,
        restarts: 0,
        since_unix_us: 9,
        exit: exit.map(|(text, _)| text.to_owned()),
        exit_status: exit.and_then(|(_, status)| status),
        last_line: None,
    };
    Unit { status, was_stopped }
}

#[test]
fn the_table() {
    use Action::{CutPower, Forget, PressPower, Rest, Start};
    let ok = Some(("exited with status 0", Some(0)));
    let bad = Some(("exited with status 1", Some(1)));
    let killed = Some(("killed by SIGKILL", None));
    let end = |why: &str, failed| {
        Action::Record(End {
            why: why.to_owned(),
            failed,
            unix_us: 9,
        })
    };
    let (run, off, cut) = (Goal::Run, Goal::PowerOff, Goal::Cut);
    for (goal, unit, action) in [
        (run, None, Start),
        (off, None, Rest),
        (cut, None, Rest),
        (run, Some(unit(UnitState::Running, None, false)), Rest),
        (off, Some(unit(UnitState::Running, None, false)), PressPower),
        (cut, Some(unit(UnitState::Running, None, false)), CutPower),
        (run, Some(unit(UnitState::Stopping, None, true)), Rest),
        (off, Some(unit(UnitState::Stopping, None, true)), Rest),
        (cut, Some(unit(UnitState::Stopping, None, true)), CutPower),
        (run, Some(unit(UnitState::BackOff, bad, false)), Rest),
        (off, Some(unit(UnitState::BackOff, bad, false)), CutPower),
        (cut, Some(unit(UnitState::BackOff, bad, false)), CutPower),
        (
            run,
            Some(unit(UnitState::Inactive, ok, false)),
            end("guest powered off", false),
        ),
        (
            off,
            Some(unit(UnitState::Inactive, ok, false)),
            end("guest powered off", false),
        ),
        (
            off,
            Some(unit(UnitState::Inactive, ok, true)),
            end("guest powered off", false),
        ),
        (
            run,
            Some(unit(UnitState::Failed, bad, false)),
            end("exited with status 1", true),
        ),
        (
            off,
            Some(unit(UnitState::Failed, killed, true)),
            end("killed by SIGKILL", false),
        ),
        (
            cut,
            Some(unit(UnitState::Inactive, killed, true)),
            end("power cut", false),
        ),
        (
            run,
            Some(unit(UnitState::Failed, None, false)),
            end("ended for an unknown reason", true),
        ),
        (run, Some(unit(UnitState::Inactive, ok, true)), Forget),
        (run, Some(unit(UnitState::Failed, killed, true)), Forget),
    ] {
        assert_eq!(plan(&record(goal), unit.as_ref()), action, "{goal:?} {unit:?}");
    }
}

#[test]
fn a_vm_has_stopped_once_it_is_known_why() {
    let mut stored = Stored {
        name: "a".to_owned(),
        revision: 1,
        record: record(Goal::Run),
    };
    let ended = unit(
        UnitState::Inactive,
        Some(("exited with status 0", Some(0))),
        false,
    );
    let status = stored.view(Some(&ended), None, None).status;
    assert_eq!((status.state, status.exit), (VmState::Stopping, None));
    stored.record.end = Some(End {
        why: "guest powered off".to_owned(),
        failed: false,
        unix_us: 9,
    });
    let status = stored.view(Some(&ended), None, None).status;
    let why = Some("guest powered off".to_owned());
    assert_eq!((status.state, status.exit), (VmState::Stopped, why));
}

fn ended(state: UnitState, exit: &str, status: Option<i32>, last_line: &str) -> Unit {
    let mut unit = unit(state, Some((exit, status)), false);
    unit.status.last_line = Some(last_line.to_owned()).filter(|line| !line.is_empty());
    unit
}

#[test]
fn an_end_has_the_last_words_that_belong_to_it() {
    let failed = UnitState::Failed;
    for (unit, why) in [
        (
            ended(failed, "exited with status 1", Some(1), "kernel: no PVH note"),
            "exited with status 1: kernel: no PVH note",
        ),
        (ended(failed, "killed by SIGSEGV", None, ""), "killed by SIGSEGV"),
        // Nobody announces a SIGKILL.
        (
            ended(failed, "killed by SIGKILL", None, "disk 0: no room"),
            "killed by SIGKILL",
        ),
        (
            ended(
                failed,
                "killed by SIGKILL: it reached its memory limit",
                None,
                "disk 0: no room",
            ),
            "killed by SIGKILL: it reached its memory limit",
        ),
        (
            ended(
                UnitState::Inactive,
                "exited with status 0",
                Some(0),
                "guest halted",
            ),
            "guest halted",
        ),
        (
            ended(
                UnitState::Inactive,
                "exited with status 0",
                Some(0),
                "guest powered off",
            ),
            "guest powered off",
        ),
    ] {
        let Action::Record(end) = plan(&record(Goal::Run), Some(&unit)) else {
            panic!("{unit:?}");
        };
        assert_eq!(end.why, why);
        assert_eq!(end.failed, unit.status.state == failed);
    }
}

#[test]
fn a_sandbox_that_was_violated_is_said_in_plain_words() {
    let words = "sandbox: thread vcpu0 made the forbidden system call 257; killed";
    let unit = ended(UnitState::BackOff, "killed by SIGSYS", None, words);
    let stored = Stored {
        name: "a".to_owned(),
        revision: 1,
        record: record(Goal::Run),
    };
    // Before it is started again, and when it stays down.
    let why = format!("killed by SIGSYS, for a system call that its sandbox forbids: {words}");
    let status = stored.view(Some(&unit), None, None).status;
    assert_eq!((status.state, status.exit), (VmState::Failed, Some(why.clone())));
    let down = ended(UnitState::Failed, "killed by SIGSYS", None, words);
    let end = End {
        why,
        failed: true,
        unix_us: 9,
    };
    assert_eq!(plan(&record(Goal::Run), Some(&down)), Action::Record(end));
    let mute = ended(UnitState::Failed, "killed by SIGSYS", None, "");
    let Action::Record(end) = plan(&record(Goal::Run), Some(&mute)) else {
        panic!("{mute:?}");
    };
    assert_eq!(
        end.why,
        "killed by SIGSYS, for a system call that its sandbox forbids"
    );
}

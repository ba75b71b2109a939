use std::time::Duration;

use axion_api::init::UnitState;

use super::{Action, Event, Exit, Restart, Shortages, Spec, Unit, pause};

fn unit(restart: Restart, transient: bool) -> Unit {
    let mut unit = Unit::new(
        Spec {
            restart,
            transient,
            ..Spec::for_tests("u")
        },
        1,
    );
    assert_eq!(unit.handle(Event::Start, Duration::ZERO, 2), [Action::Spawn]);
    assert!(unit.handle(Event::Spawned(7), Duration::ZERO, 3).is_empty());
    assert_eq!((unit.status().state, unit.pid()), (UnitState::Running, Some(7)));
    unit
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn armed(actions: &[Action]) -> Option<(Duration, u64)> {
    actions.iter().find_map(|a| {
        if let Action::Arm(d, g) = a {
            Some((*d, *g))
        } else {
            None
        }
    })
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    let pauses: Vec<u64> = (0..9)
        .map(|n| u64::try_from(pause(n).as_millis()).unwrap())
        .collect();
    assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000]);
    assert_eq!(pause(u32::MAX), at(30));
}

#[test]
fn a_service_that_crashes_comes_back_after_growing_pauses() {
    let mut unit = unit(Restart::Always, false);
    for expected in [200, 400] {
        let actions = unit.handle(Event::Exited(Exit::Signal(11)), at(1), 4);
        let (pause, generation) = armed(&actions).unwrap();
        assert_eq!(pause, Duration::from_millis(expected));
        assert_eq!(unit.status().state, UnitState::BackOff);
        assert_eq!(unit.status().exit.unwrap(), "killed by SIGSEGV");
        assert_eq!(unit.handle(Event::Timer(generation), at(2), 5), [Action::Spawn]);
        unit.handle(Event::Spawned(8), at(2), 6);
    }
    assert_eq!(unit.status().restarts, 2);
    let actions = unit.handle(Event::Exited(Exit::Status(0)), at(100), 7);
    assert_eq!(
        armed(&actions).unwrap().0,
        Duration::from_millis(200),
        "it was healthy for a minute"
    );
}

#[test]
fn a_transient_unit_that_ends_well_is_inactive_and_with_an_error_failed() {
    let mut ok = unit(Restart::OnError(0), true);
    assert_eq!(
        ok.handle(Event::Exited(Exit::Status(0)), at(1), 9),
        [Action::Kill]
    );
    assert_eq!(
        (ok.status().state, ok.status().exit_status),
        (UnitState::Inactive, Some(0))
    );
    let mut bad = unit(Restart::OnError(0), true);
    bad.handle(Event::Exited(Exit::Status(3)), at(1), 9);
    assert_eq!(bad.status().state, UnitState::Failed);
    assert_eq!(bad.status().exit.unwrap(), "exited with status 3");
    assert_eq!(bad.status().since_unix_us, 9);
}

#[test]
fn restarts_on_error_are_counted() {
    let mut unit = unit(Restart::OnError(1), true);
    let actions = unit.handle(Event::Exited(Exit::Status(1)), at(1), 4);
    unit.handle(Event::Timer(armed(&actions).unwrap().1), at(2), 5);
    unit.handle(Event::Spawned(9), at(2), 6);
    unit.handle(Event::Exited(Exit::Status(1)), at(3), 7);
    assert_eq!(unit.status().state, UnitState::Failed);
}

#[test]
fn stopping_is_a_signal_then_a_kill() {
    let mut unit = unit(Restart::Always, false);
    let actions = unit.handle(Event::Stop, at(1), 4);
    assert_eq!(actions[0], Action::Terminate);
    let (_, generation) = armed(&actions).unwrap();
    assert_eq!(unit.handle(Event::Timer(generation), at(2), 5), [Action::Kill]);
    unit.handle(Event::Exited(Exit::Signal(9)), at(2), 6);
    assert_eq!(unit.status().state, UnitState::Inactive);
    assert!(unit.is_down());
}

#[test]
fn an_old_timer_does_nothing() {
    let mut unit = unit(Restart::Always, false);
    let (_, old) = armed(&unit.handle(Event::Stop, at(1), 4)).unwrap();
    unit.handle(Event::Exited(Exit::Status(0)), at(1), 5);
    unit.handle(Event::Start, at(1), 6);
    unit.handle(Event::Spawned(8), at(1), 7);
    assert!(unit.handle(Event::Timer(old), at(9), 8).is_empty());
}

#[test]
fn restart_stops_and_starts_again() {
    let mut unit = unit(Restart::OnError(0), true);
    assert_eq!(unit.handle(Event::Restart, at(1), 4)[0], Action::Terminate);
    let actions = unit.handle(Event::Exited(Exit::Status(0)), at(1), 5);
    assert!(actions.contains(&Action::Spawn));
    let mut down = Unit::new(Spec::for_tests("d"), 1);
    assert_eq!(down.handle(Event::Restart, at(1), 4), [Action::Spawn]);
}

#[test]
fn a_killed_service_comes_back_and_a_killed_transient_unit_does_not() {
    for (transient, state) in [(false, UnitState::BackOff), (true, UnitState::Inactive)] {
        let mut unit = unit(Restart::Always, transient);
        assert_eq!(unit.handle(Event::Kill, at(1), 4), [Action::Kill]);
        unit.handle(Event::Exited(Exit::Signal(9)), at(1), 5);
        assert_eq!(unit.status().state, state);
    }
}

#[test]
fn stopping_in_the_pause_cancels_the_start() {
    let mut unit = unit(Restart::Always, false);
    let (_, generation) = armed(&unit.handle(Event::Exited(Exit::Status(1)), at(1), 4)).unwrap();
    unit.handle(Event::Stop, at(1), 5);
    assert!(unit.handle(Event::Timer(generation), at(2), 6).is_empty());
    assert!(unit.is_down());
}

#[test]
fn a_program_that_cannot_be_started_is_tried_again() {
    let mut unit = Unit::new(
        Spec {
            restart: Restart::Always,
            ..Spec::for_tests("u")
        },
        1,
    );
    unit.handle(Event::Start, at(1), 2);
    let actions = unit.handle(Event::SpawnFailed("no such file".into()), at(1), 3);
    assert!(armed(&actions).is_some());
    assert_eq!(unit.status().exit.unwrap(), "no such file");
}

#[test]
fn wait_statuses() {
    assert_eq!(Exit::from_raw(3 << 8), Exit::Status(3));
    assert_eq!(Exit::from_raw(9), Exit::Signal(9));
    assert_eq!(Exit::Signal(40).to_string(), "killed by signal 40");
}

#[test]
fn a_kill_for_want_of_memory_is_told_from_any_other() {
    let counts = |at_limit, kills| Shortages { at_limit, kills };
    let kill = Exit::Signal(libc::SIGKILL);
    let before = counts(1, 1);
    // What an earlier run died of is not what this one died of.
    assert_eq!(kill.explained(before, counts(1, 1)), kill);
    assert_eq!(kill.explained(before, counts(2, 2)), Exit::AtMemoryLimit);
    assert_eq!(kill.explained(before, counts(1, 2)), Exit::NodeOutOfMemory);
    let fault = Exit::Signal(libc::SIGSEGV);
    assert_eq!(fault.explained(before, counts(2, 2)), fault);
    let mut unit = unit(Restart::OnError(0), true);
    unit.handle(Event::Exited(Exit::AtMemoryLimit), at(1), 4);
    let status = unit.status();
    assert_eq!((status.state, status.exit_status), (UnitState::Failed, None));
    assert_eq!(
        status.exit.as_deref(),
        Some("killed by SIGKILL: it reached its memory limit")
    );
}

#[test]
fn a_last_line_is_that_of_the_run_that_ended_last() {
    let mut unit = unit(Restart::OnError(1), true);
    unit.set_last_line(Some("no kernel".to_owned()));
    let actions = unit.handle(Event::Exited(Exit::Status(1)), at(1), 4);
    assert_eq!(unit.status().last_line.as_deref(), Some("no kernel"));
    unit.handle(Event::Timer(armed(&actions).unwrap().1), at(2), 5);
    unit.handle(Event::SpawnFailed("no program".to_owned()), at(2), 6);
    assert_eq!(unit.status().last_line, None);
}

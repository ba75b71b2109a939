use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, geteuid, setgid, setuid};

use super::{LOW_PORTS, hand_on, keep_only, start_with_own_pids};

/// Runs a script of a shell as a unit with process ids of its own; `None` where the kernel does not grant them.
fn shell(script: &str) -> Option<std::process::Child> {
    let mut probe = Command::new("/bin/sh");
    probe.args(["-c", "test $$ = 1"]);
    if !start_with_own_pids(probe).unwrap().wait().unwrap().success() {
        eprintln!("skipped: no PID namespace for this user");
        return None;
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdout(Stdio::piped());
    Some(start_with_own_pids(command).unwrap())
}

#[test]
fn it_is_the_first_of_its_own_processes_and_a_child_of_this_one() {
    let Some(process) = shell("echo $$; exit 3") else {
        return;
    };
    assert!(process.id() > 1);
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"1\n");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_kill_from_outside_ends_it() {
    let Some(mut process) = shell("while true; do sleep 60; done") else {
        return;
    };
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(process.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let error = start_with_own_pids(Command::new("/nonexistent")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_unit_that_opens_low_ports_has_that_right_and_no_other() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root has capabilities to give away");
        return;
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "grep ^Cap /proc/self/status"]);
    let become_unit = || {
        keep_only(LOW_PORTS)?;
        setgid(Gid::from_raw(65_534))?;
        setuid(Uid::from_raw(65_534))?;
        hand_on(LOW_PORTS)?;
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    };
    // SAFETY: `become_unit` makes system calls and nothing else.
    unsafe { command.pre_exec(become_unit) };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let sets: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    // Bit 10 is CAP_NET_BIND_SERVICE.
    assert_eq!(sets, ["0000000000000400"; 5], "{text}");
}

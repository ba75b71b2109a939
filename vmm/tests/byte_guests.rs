//! The whole VMM as a process, with guests of a few dozen bytes on this machine's KVM. Without KVM they are skipped.

// The helpers are no test functions, but are there to fail.
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code
)]
mod support;

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use axion_api::vmm::MachineState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Vmm, have_kvm, kernel, monitor, wait_for};

fn start(cpus: u32) -> Option<Vmm> {
    have_kvm().then(|| {
        let mut vmm = Vmm::start(&kernel(&monitor()), cpus);
        vmm.expect(">");
        vmm
    })
}

#[test]
fn guest_talks_and_powers_off() {
    let Some(mut vmm) = start(1) else { return };
    for socket in ["api.sock", "console.sock"] {
        let data = std::fs::metadata(vmm.path(socket)).unwrap();
        assert!(data.file_type().is_socket());
        assert_eq!(data.permissions().mode() & 0o777, 0o660, "{socket}");
    }
    vmm.type_in("hello");
    vmm.expect("hello");
    let status = vmm.status();
    assert_eq!(
        (status.name.as_str(), status.state, status.resets),
        ("bytes", MachineState::Running, 0)
    );
    assert!(status.start_us.is_some_and(|us| us > 0));
    vmm.type_in("O");
    let ended = vmm.end();
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "guest powered off\n"));
}

#[test]
fn every_kind_of_reset_begins_a_fresh_machine() {
    let Some(mut vmm) = start(1) else { return };
    let pid = vmm.pid();
    for (resets, letter) in (1..).zip(["R", "K", "T"]) {
        vmm.type_in(letter);
        vmm.expect(">");
        assert_eq!(vmm.status().resets, resets, "{letter}");
    }
    vmm.put("reset");
    vmm.expect(">");
    assert_eq!((vmm.status().resets, vmm.pid()), (4, pid));
    vmm.type_in("xO");
    vmm.expect("x");
    let ended = vmm.end();
    let told: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(
        told,
        [
            "guest reset itself",
            "guest reset itself",
            "guest reset by a triple fault of vCPU 0",
            "reset on request",
            "guest powered off"
        ]
    );
}

#[test]
fn paused_guest_does_nothing_and_loses_nothing() {
    let Some(mut vmm) = start(2) else { return };
    vmm.put("pause");
    vmm.put("pause");
    assert_eq!(vmm.status().state, MachineState::Paused);
    vmm.type_in("abc");
    assert!(vmm.is_silent());
    vmm.put("resume");
    vmm.expect("abc");
    assert_eq!(vmm.status().state, MachineState::Running);
    vmm.put("pause");
    vmm.put("reset");
    vmm.expect(">");
    vmm.put("stop");
    let ended = vmm.end();
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (0, "reset on request\nstopped on request\n")
    );
}

#[test]
fn halted_guest_still_obeys() {
    let Some(mut vmm) = start(2) else { return };
    vmm.type_in("H");
    assert!(vmm.is_silent());
    vmm.put("pause");
    vmm.put("resume");
    vmm.put("reset");
    vmm.expect(">");
    vmm.type_in("H");
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
}

#[test]
fn memory_mapped_registers_answer() {
    let Some(mut vmm) = start(1) else { return };
    vmm.type_in("M");
    vmm.expect("\u{36}");
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
}

#[test]
fn power_button_is_an_event_that_reads_once() {
    let Some(mut vmm) = start(1) else { return };
    vmm.type_in("B");
    vmm.expect("0");
    vmm.put("power-button");
    vmm.type_in("BB");
    vmm.expect("10");
    let pid = Pid::from_raw(i32::try_from(vmm.pid()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    wait_for("the event", || {
        vmm.type_in("B");
        (vmm.read() == b'1').then_some(())
    });
    kill(pid, Signal::SIGTERM).unwrap();
    let ended = vmm.end();
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "stopped on request\n"));
}

#[test]
fn many_watch_and_none_holds_up_the_guest() {
    let Some(mut vmm) = start(1) else { return };
    let idle = UnixStream::connect(vmm.path("console.sock")).unwrap();
    let line = "0123456789abcdef".repeat(64);
    for _ in 0..64 {
        vmm.type_in(&line);
        vmm.expect(&line);
    }
    let mut late = UnixStream::connect(vmm.path("console.sock")).unwrap();
    let mut backlog = vec![0; 64 << 10];
    late.read_exact(&mut backlog).unwrap();
    assert!(backlog.ends_with(line.as_bytes()));
    drop(idle);
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
}

#[test]
fn api_speaks_the_contract_over_one_connection() {
    let Some(vmm) = start(1) else { return };
    assert_eq!(vmm.api("GET", "/v1/nothing").0, 404);
    assert_eq!(vmm.api("POST", "/v1/vm/pause").0, 405);
    assert_eq!(vmm.api("BAD REQUEST", "/").0, 400);
    let mut stream = UnixStream::connect(vmm.path("api.sock")).unwrap();
    let request = b"PUT /v1/vm/pause HTTP/1.1\r\n\r\nPUT /v1/vm/resume HTTP/1.1\r\n\r\n";
    std::io::Write::write_all(&mut stream, request).unwrap();
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n".repeat(2);
    let mut bytes = vec![0; answer.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, answer);
}

#[test]
fn run_directory_has_one_vmm() {
    let Some(vmm) = start(1) else { return };
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_axion-vmm"))
        .arg("--run-dir")
        .arg(vmm.path(""))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another axion-vmm"));
    assert_eq!(vmm.status().state, MachineState::Running);
}

#[test]
fn bad_config_creates_nothing() {
    let vmm = Vmm::start_with(|_| {
        r#"{"name":"a","cpus":1,"memory":{"size":1},"boot":{"kernel":"/x","cmdline":""}}"#.into()
    });
    let ended = vmm.end();
    assert_eq!(ended.status, 1);
    assert!(
        ended.stderr.starts_with("memory.size: 1 is not allowed"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn stale_sockets_are_replaced() {
    if !have_kvm() {
        return;
    }
    let vmm = Vmm::start_with(|dir| {
        std::fs::write(dir.join("api.sock"), "").unwrap();
        std::fs::write(dir.join("kernel"), kernel(&monitor())).unwrap();
        let kernel = dir.join("kernel");
        format!(
            r#"{{"name":"a","cpus":1,"memory":{{"size":33554432}},"boot":{{"kernel":{kernel:?},"cmdline":""}}}}"#
        )
    });
    let path = vmm.path("api.sock");
    wait_for("the socket", || UnixStream::connect(&path).ok());
    wait_for("the guest", || {
        (vmm.status().state == MachineState::Running).then_some(())
    });
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
}

//! The sandbox as a process that sins: this program starts itself, restricts a thread as the VMM does, and lets it do what it
//! must not.
#![allow(unsafe_code)]
// The helpers are no test functions, but are there to fail.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::num::NonZeroUsize;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::{env, fs, io};

use axion_api::vmm::SandboxMode;
use axion_api::vmm::in_force::Coverage;
use axion_vmm::devices::virtio::worker::{Restrict, Worker};
use axion_vmm::sandbox::{Needs, Role, Sandbox};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;

const ROLE: &str = "AXION_TEST_ROLE";
const DEED: &str = "AXION_TEST_DEED";
const RUN_DIR: &str = "AXION_TEST_RUN_DIR";

/// Runs [`sinner`] in a process of its own.
fn run(role: &str, deed: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own"), "own").unwrap();
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "sinner", "--nocapture"])
        .env(ROLE, role)
        .env(DEED, deed)
        .env(RUN_DIR, dir.path())
        .output()
        .unwrap()
}

/// Does nothing unless it was started by [`run`].
#[test]
fn sinner() {
    let (Ok(role), Ok(deed), Ok(run_dir)) = (env::var(ROLE), env::var(DEED), env::var(RUN_DIR)) else {
        return;
    };
    let mode = if role == "log" {
        SandboxMode::Log
    } else {
        SandboxMode::Enforce
    };
    let needs = Needs {
        cpus: 1,
        fifo_priority: None,
    };
    let sandbox = Sandbox::enter(mode, Path::new(&run_dir), needs).unwrap();
    match role.as_str() {
        "control" | "log" => sandbox.restrict(Role::Control).unwrap(),
        "machine" => sandbox.restrict(Role::Machine).unwrap(),
        "vcpu" => sandbox.restrict(Role::Vcpu).unwrap(),
        "device" => sandbox.restrict(Role::Device).unwrap(),
        _ => {}
    }
    match deed.as_str() {
        "open" => drop(fs::File::open(Path::new(&run_dir).join("own"))),
        "passwd" => drop(fs::read("/etc/passwd").unwrap()),
        "socket" => drop(UnixDatagram::unbound()),
        "exec" => drop(Command::new("/bin/true").status()),
        "executable" => executable_memory(),
        "kill" => drop(kill(getpid(), Signal::SIGKILL)),
        "files" => files(&sandbox, &run_dir),
        "disk" => disk(&sandbox, &run_dir, true),
        "good disk" => disk(&sandbox, &run_dir, false),
        "thread" => std::thread::spawn(|| ()).join().unwrap(),
        "memory" => memory(&sandbox),
        _ => {}
    }
}

fn executable_memory() {
    let size = NonZeroUsize::new(4096).unwrap();
    let exec = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    // SAFETY: a new mapping, which nobody uses.
    let _ = unsafe { mmap_anonymous(None, size, exec, MapFlags::MAP_PRIVATE) };
}

/// Without a filter: what Landlock leaves.
fn files(sandbox: &Sandbox, run_dir: &str) {
    if sandbox.state().landlock == Coverage::None {
        eprintln!("skipped: no Landlock in this kernel");
        return;
    }
    let own = Path::new(run_dir).join("own");
    fs::read(&own).unwrap();
    let refused = |result: io::Result<()>| {
        let kind = result.unwrap_err().kind();
        let gone = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound];
        assert!(gone.contains(&kind), "{kind:?}");
    };
    refused(fs::read("/etc/passwd").map(drop));
    refused(fs::read_dir("/").map(drop));
    refused(fs::write(Path::new(run_dir).join("new"), ""));
    fs::remove_file(&own).unwrap();
}

/// Many threads have memory at the same time, behind their filters.
fn memory(sandbox: &Sandbox) {
    const THREADS: usize = 24;
    let all = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                sandbox.restrict(Role::Vcpu).unwrap();
                let bytes = std::hint::black_box(vec![1u8; 4096]);
                all.wait();
                drop(bytes);
            });
        }
    });
}

/// A device thread is given something to do by a vCPU's, and opens a file or not.
fn disk(sandbox: &Sandbox, run_dir: &str, opens: bool) {
    sandbox.restrict(Role::Machine).unwrap();
    let theirs = sandbox.clone();
    let restrict: Restrict = Arc::new(move || theirs.restrict(Role::Device));
    let worker = Worker::new("disk0.0", &restrict).unwrap();
    let own = Path::new(run_dir).join("own");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sandbox.restrict(Role::Vcpu).unwrap();
            let job = move |_: &_| {
                if opens {
                    drop(fs::File::open(own));
                }
            };
            worker.begin(job).unwrap();
            worker.wait_until_quiet();
        });
    });
}

fn dies(role: &str, thread: &str, deed: &str, call: libc::c_long) {
    let output = run(role, deed);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGSYS),
        "{role} {deed}: {stderr}"
    );
    let words = format!("sandbox: thread {thread} made the forbidden system call {call}; killed\n");
    assert!(stderr.ends_with(&words), "{role} {deed}: {stderr}");
}

#[test]
fn a_forbidden_call_ends_the_process_and_is_named() {
    for role in ["control", "machine", "vcpu", "device"] {
        dies(role, "sinner", "open", libc::SYS_openat);
        dies(role, "sinner", "socket", libc::SYS_socket);
        dies(role, "sinner", "executable", libc::SYS_mmap);
        dies(role, "sinner", "kill", libc::SYS_kill);
        assert_eq!(run(role, "exec").status.signal(), Some(libc::SIGSYS), "{role}");
    }
    for role in ["vcpu", "device"] {
        // glibc blocks signals while it starts a thread: no last words.
        assert_eq!(run(role, "thread").status.signal(), Some(libc::SIGSYS), "{role}");
    }
}

/// glibc counts the machine's CPUs for the ninth thread's memory, in a file.
#[test]
fn a_machine_with_many_threads_has_memory_for_them() {
    let output = run("machine", "memory");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
}

/// As a service manager starts it that gives it a PID namespace, in which the kernel keeps signals from it.
#[test]
fn a_forbidden_call_ends_the_first_process_of_a_namespace_too() {
    let ended = std::thread::spawn(|| {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWPID) {
            eprintln!("skipped: no PID namespace for this user: {error}");
            return None;
        }
        Some(run("vcpu", "open"))
    });
    let Some(output) = ended.join().unwrap() else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{stderr}");
    let words = format!(
        "sandbox: thread sinner made the forbidden system call {}; killed\n",
        libc::SYS_openat
    );
    assert!(stderr.ends_with(&words), "{stderr}");
}

#[test]
fn what_is_allowed_goes_on() {
    for role in ["control", "machine", "vcpu", "device"] {
        let output = run(role, "nothing");
        assert!(output.status.success(), "{role}: {output:?}");
    }
    let output = run("machine", "thread");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn device_threads_are_devices_wherever_they_are_asked_for() {
    let output = run("none", "good disk");
    assert!(output.status.success(), "{output:?}");
    dies("none", "disk0.0", "disk", libc::SYS_openat);
}

#[test]
fn the_file_system_is_the_run_directory() {
    let output = run("none", "files");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn log_mode_lets_all_through() {
    for deed in ["open", "passwd", "socket"] {
        let output = run("log", deed);
        assert!(output.status.success(), "{output:?}");
    }
}

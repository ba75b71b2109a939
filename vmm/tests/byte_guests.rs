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

use axion_api::vm::{GuestCpuModel, HugepageSize};
use axion_api::vmm::in_force::{Coverage, DisabledExit};
use axion_api::vmm::metrics::VcpuExits;
use axion_api::vmm::{GuestNode, MachineState, ResetCause, SandboxMode};
use axion_vmm::arch::cpuid::model::limited;
use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::Kvm;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::program::Program;
use support::{Vmm, disk, field, have_kvm, have_numa, kernel, monitor, wait_for};

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
    let causes = [
        ("R", ResetCause::Acpi),
        ("K", ResetCause::Keyboard),
        ("P", ResetCause::Panic),
        ("T", ResetCause::TripleFault),
    ];
    for (resets, (letter, cause)) in (1..).zip(causes) {
        vmm.type_in(letter);
        vmm.expect(">");
        let status = vmm.status();
        assert_eq!(
            (status.resets, status.reset_causes.last),
            (resets, Some(cause)),
            "{letter}"
        );
        assert_eq!(status.reset_causes.of(cause), 1, "{letter}");
    }
    vmm.put("reset");
    vmm.expect(">");
    let status = vmm.status();
    assert_eq!((status.resets, vmm.pid()), (5, pid));
    let causes = status.reset_causes;
    assert_eq!((causes.last, causes.request), (Some(ResetCause::Request), 1));
    vmm.type_in("xO");
    vmm.expect("x");
    let ended = vmm.end();
    let told: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(
        told,
        [
            "guest reset itself by ACPI",
            "guest reset itself by the keyboard controller",
            "guest reset itself after a panic",
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
fn guest_that_halts_for_good_ends() {
    let Some(mut vmm) = start(2) else { return };
    vmm.type_in("H");
    let ended = vmm.end();
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "guest halted\n"));
}

/// EAX to EDX of leaves, as the guest of a machine of `model` reads them.
fn cpuid(model: GuestCpuModel, leaves: &[(u32, u32)]) -> Vec<[u32; 4]> {
    let mut program = Program::at(0);
    program.print(b'>');
    leaves
        .iter()
        .for_each(|(leaf, index)| program.cpuid(*leaf, *index));
    program.raw(&[0xeb, 0xfe]); // stay here
    let code = kernel(&program.code());
    let mut vmm = Vmm::start_as(&code, |config| config.cpu_model = model);
    vmm.expect(">");
    let mut register = || u32::from_le_bytes([(); 4].map(|()| vmm.read()));
    let read = leaves.iter().map(|_| [(); 4].map(|()| register())).collect();
    assert_eq!(vmm.status().in_force.map(|state| state.cpu_model), Some(model));
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
    read
}

#[test]
fn guest_of_a_baseline_sees_its_features_alone() {
    if !have_kvm() {
        return;
    }
    let leaves = [
        (1, 0),
        (7, 0),
        (0xd, 0),
        (0xd, 1),
        (0x8000_0001, 0),
        (0x4000_0000, 0),
    ];
    let host = cpuid(GuestCpuModel::Host, &leaves);
    let supported = Kvm::new().unwrap().get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    let supported = supported.unwrap();
    let baselines = [
        (GuestCpuModel::V2, 0x81b8_2201, 0x0010_0080, 0),
        (GuestCpuModel::V3, 0xb5f8_3201, 0x0010_01a8, 0x7),
        (GuestCpuModel::V4, 0xb5f8_3201, 0xd013_01a8, 0xe7),
    ];
    for (model, leaf_1, leaf_7, state) in baselines {
        if let Err(missing) = limited(supported.as_slice(), model) {
            eprintln!("skipped: {missing}");
            continue;
        }
        let seen = cpuid(model, &leaves);
        assert_eq!(seen[0][2], host[0][2] & leaf_1, "{model}, leaf 1 ECX");
        assert_eq!(seen[1][1], host[1][1] & leaf_7, "{model}, leaf 7 EBX");
        assert_eq!(seen[2][0], state, "{model}, leaf 0xD EAX");
        assert_eq!(seen[3], [0; 4], "{model}, leaf 0xD.1");
        assert_eq!(
            seen[4][3] & (1 << 26 | 1 << 27),
            0,
            "{model}: 1 GiB pages, RDTSCP"
        );
        assert_eq!(seen[5], host[5], "{model}: KVM's leaves");
    }
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
    // Paused, it would not hear the button that the signal presses.
    vmm.put("pause");
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

#[test]
fn every_thread_is_restricted_in_every_life() {
    if !have_kvm() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, [0; 4096]).unwrap();
    let mut vmm = Vmm::start_disks(&kernel(&monitor()), 2, vec![disk(&path, 2)]);
    vmm.expect(">");
    for _ in 0..2 {
        let mut threads = vmm.threads();
        // KVM's own, which stays in the kernel.
        threads.retain(|name, _| !name.starts_with("kvm-"));
        let names: Vec<_> = threads.keys().map(String::as_str).collect();
        let expected = ["axion-vmm", "disk0.0", "disk0.1", "machine", "vcpu0", "vcpu1"];
        assert_eq!(names, expected);
        for (name, status) in &threads {
            for (what, value) in [
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
                ("CapEff", "0000000000000000"),
                ("CapPrm", "0000000000000000"),
                ("CapBnd", "0000000000000000"),
            ] {
                assert_eq!(field(status, what), value, "{what} of {name}");
            }
        }
        vmm.put("reset");
        vmm.expect(">");
    }
    let sandbox = vmm.status().in_force.unwrap().sandbox;
    assert_eq!(sandbox.mode, SandboxMode::Enforce);
    if std::path::Path::new("/proc/sys/kernel/landlock").exists() {
        assert_ne!(sandbox.landlock, Coverage::None);
    }
    if sandbox.empty_root {
        let root: Vec<_> = std::fs::read_dir(format!("/proc/{}/root", vmm.pid()))
            .unwrap()
            .collect();
        assert!((1..=2).contains(&root.len()), "{root:?}");
        let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", vmm.pid())).unwrap();
        assert!((2..=4).contains(&mounts.lines().count()), "{mounts}");
    }
    for namespace in sandbox.namespaces {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_ne!(of(&vmm.pid().to_string()), of("self"), "{namespace}");
    }
}

#[test]
fn exits_are_counted_by_reason_through_resets() {
    let Some(mut vmm) = start(2) else { return };
    vmm.type_in("abcM");
    vmm.expect("abc\u{36}");
    let before = vmm.metrics();
    let [running, waiting] = before.vcpus.as_slice() else {
        panic!("{before:?}")
    };
    // Interrupt enable, prompt, three letters, the register's byte.
    assert_eq!((running.port_writes, running.mmio_reads), (6, 1));
    assert!(running.port_reads > 8, "{running:?}");
    assert_eq!((running.mmio_writes, running.others), (0, 0));
    let reads = VcpuExits {
        interrupted: waiting.interrupted,
        init_waits: waiting.init_waits,
        ..Default::default()
    };
    assert_eq!(*waiting, reads, "a CPU that was never started has not run");
    vmm.put("reset");
    vmm.expect(">");
    let after = vmm.metrics();
    assert_eq!(after.vcpus[0].port_writes, 8);
    assert!(after.vcpus[0].interrupted > running.interrupted);
    // A KVM that counts has seen at least what came to the VMM, in this life and in the one before.
    if let ([before, _], [after, _]) = (before.kvm.as_slice(), after.kvm.as_slice()) {
        assert!(
            before.exits >= running.port_writes + running.port_reads,
            "{before:?}"
        );
        assert!(after.exits > before.exits, "{before:?} {after:?}");
    }
}

fn nodes(sizes: [u64; 2]) -> Vec<GuestNode> {
    let node = |(cpu, mib)| GuestNode {
        size: mib << 20,
        host_node: Some(0),
        cpus: std::iter::once(cpu).collect(),
        distances: Vec::new(),
    };
    (0..).zip(sizes).map(node).collect()
}

#[test]
fn threads_and_memory_are_where_they_were_asked_for() {
    if !have_kvm() || !have_numa() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, [0; 4096]).unwrap();
    let mut vmm = Vmm::start_as(&kernel(&monitor()), |config| {
        config.cpus = 2;
        config.disks = vec![disk(&path, 1)];
        config.memory.size = 96 << 20;
        config.memory.nodes = nodes([32, 64]);
        config.memory.prefault = true;
        config.placement.vcpus = vec![1, 0];
        config.placement.housekeeping = "0".parse().unwrap();
    });
    vmm.expect(">");
    for (name, cpu) in [
        ("axion-vmm", "0"),
        ("machine", "0"),
        ("disk0.0", "0"),
        ("vcpu0", "1"),
        ("vcpu1", "0"),
    ] {
        assert_eq!(field(&vmm.threads()[name], "Cpus_allowed_list"), cpu, "{name}");
    }
    let in_force = vmm.status().in_force.unwrap();
    for (index, thread) in in_force.vcpus.iter().enumerate() {
        assert_eq!(
            (thread.node as usize, thread.wanted),
            (index, Some([1, 0][index]))
        );
        assert_eq!(thread.cpus.to_string(), ["1", "0"][index]);
        let id = field(&vmm.threads()[&format!("vcpu{index}")], "Pid").to_owned();
        assert_eq!(thread.thread.to_string(), id);
    }
    for (node, mib) in in_force.memory.iter().zip([32, 64]) {
        assert_eq!(
            (node.size, node.wanted, node.bound),
            (mib << 20, Some(0), Some(0))
        );
        let [sample] = node.samples.as_slice() else {
            panic!("{node:?}")
        };
        assert_eq!((sample.host_node, sample.pages > 500), (0, true));
    }
    vmm.put("reset");
    vmm.expect(">");
    vmm.type_in("O");
    let ended = vmm.end();
    assert_eq!(ended.status, 0);
    assert!(
        ended
            .stderr
            .starts_with("guest node 0: 33554432 bytes in 4KiB pages filled in on host node 0: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn dedicated_guest_has_what_the_host_grants() {
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let free: u32 = free.map_or(0, |text| text.trim().parse().unwrap());
    if !have_kvm() || !have_numa() || free < 32 {
        eprintln!("skipped: {free} free hugepages of 2 MiB, 32 are needed");
        return;
    }
    let mut vmm = Vmm::start_as(&kernel(&monitor()), |config| {
        config.cpus = 2;
        config.memory.size = 64 << 20;
        config.memory.hugepages = HugepageSize::TwoMiB;
        config.memory.nodes = nodes([32, 32]);
        config.placement.vcpus = vec![0, 1];
        config.dedicated = true;
    });
    vmm.expect(">");
    let in_force = vmm.status().in_force.unwrap();
    use DisabledExit::{Hlt, Mwait, Pause};
    assert_eq!(in_force.exits_wanted, [Hlt, Pause, Mwait]);
    assert!(
        in_force
            .exits_disabled
            .iter()
            .all(|exit| in_force.exits_wanted.contains(exit))
    );
    for node in &in_force.memory {
        assert_eq!((node.hugepages, node.bound), (HugepageSize::TwoMiB, Some(0)));
        assert_eq!((node.samples[0].host_node, node.samples[0].pages), (0, 16));
    }
    vmm.put("reset");
    vmm.expect(">");
    vmm.type_in("H");
    vmm.put("pause");
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
}

#[test]
fn cpu_or_node_that_is_not_there_is_refused_before_anything_is_made() {
    let refused = |extra: &str| {
        let vmm = Vmm::start_with(|_| {
            format!(
                r#"{{"name":"a","cpus":1,"memory":{{"size":33554432}},"boot":{{"kernel":"/x","cmdline":""}},{extra}}}"#
            )
        });
        let ended = vmm.end();
        assert_eq!(ended.status, 1);
        ended.stderr
    };
    let error = refused(r#""placement":{"vcpus":[999]}"#);
    assert!(
        error.starts_with("placement.vcpus[0]: 999 is not allowed; this host's CPUs are 0"),
        "{error}"
    );
    let error = refused(r#""dedicated":true"#);
    assert!(
        error.starts_with("dedicated: true is not allowed; memory.hugepages"),
        "{error}"
    );
}

//! What a pretended node says of itself.

use axion_api::init::{BootStatus, LogEntry, NodeStatus, Outcome, Phase, Task, UnitState, UnitStatus};
use axion_api::keys::StateLock;
use axion_api::update::{SlotState, SlotStatus, UpdateStatus};
use axion_api::vm::{DesiredState, Vm, VmSpec, VmState, VmStatus};

/// 2026-11-23 12:00:00 UTC.
pub const NOON: u64 = 1_795_435_200_000_000;
const MINUTE: u64 = 60_000_000;

/// Everything a pretended node says.
#[derive(Debug, Clone)]
pub struct Sample {
    pub node: NodeStatus,
    pub boot: BootStatus,
    pub units: Vec<UnitStatus>,
    pub vms: Vec<Vm>,
    pub logs: Vec<LogEntry>,
    pub first_token: Option<String>,
    pub rejected: Vec<(usize, String)>,
    /// None: it was not started from an installed disk.
    pub slots: Option<UpdateStatus>,
}

pub const FINGERPRINT: &str = "sha256:3f1d2c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f";

fn unit(name: &str, description: &str, state: UnitState) -> UnitStatus {
    UnitStatus {
        name: name.to_owned(),
        description: description.to_owned(),
        transient: name.starts_with("vm-"),
        state,
        pid: (state == UnitState::Running).then_some(312),
        restarts: 0,
        since_unix_us: NOON - 12 * MINUTE,
        exit: None,
        exit_status: None,
        last_line: None,
    }
}

fn vm(name: &str, state: VmState, exit: Option<&str>) -> Vm {
    Vm {
        name: name.to_owned(),
        revision: 1,
        spec: VmSpec::default(),
        desired: DesiredState::Running,
        status: VmStatus {
            state,
            pid: None,
            since_unix_us: NOON - 3 * MINUTE,
            exit: exit.map(str::to_owned),
            pause: None,
            nets: Vec::new(),
            memory: None,
            placement: None,
            in_force: None,
            resets: None,
        },
    }
}

fn task(name: &str, duration_us: u64, error: Option<&str>) -> Task {
    Task {
        name: name.to_owned(),
        essential: false,
        duration_us,
        error: error.map(str::to_owned),
    }
}

fn phase(stage: u8, name: &str, start_us: u64, tasks: Vec<Task>) -> Phase {
    let failed = tasks.iter().any(|task| task.error.is_some());
    Phase {
        stage,
        name: name.to_owned(),
        start_us,
        duration_us: tasks
            .iter()
            .map(|task| task.duration_us)
            .max()
            .unwrap_or_default(),
        outcome: if failed { Outcome::Degraded } else { Outcome::Ok },
        tasks,
    }
}

pub fn entry(sequence: u64, severity: u8, source: &str, message: &str) -> LogEntry {
    LogEntry {
        sequence,
        unix_us: NOON + sequence * 1_000_000,
        severity,
        source: source.to_owned(),
        message: message.to_owned(),
    }
}

/// A node as it should be, with a token that nobody has noted yet.
pub fn ready() -> Sample {
    Sample {
        node: NodeStatus {
            hostname: "axion-4c4c4544".to_owned(),
            machine_id: "4c4c4544004235108052b4c04f4d4d32".to_owned(),
            persistent_state: false,
            time_synchronized: true,
            time_detail: String::new(),
            watchdog_seconds: 60,
            missing_firmware: Vec::new(),
            network: vec![
                ("eth0".to_owned(), "10.0.2.15/24 by DHCP".to_owned()),
                ("eth1".to_owned(), "no link".to_owned()),
            ],
            tpm: "none".to_owned(),
            ..NodeStatus::default()
        },
        boot: BootStatus {
            kernel_us: 812_400,
            ready_us: Some(2_310_000),
            phases: vec![
                phase(
                    1,
                    "machine config",
                    812_400,
                    vec![task("read sources", 8_100, None)],
                ),
                phase(1, "root", 830_000, vec![task("mount root.erofs", 31_000, None)]),
                phase(
                    2,
                    "modules",
                    900_000,
                    vec![task("kvm-amd", 120_000, None), task("vfio-pci", 9_900, None)],
                ),
                phase(2, "services", 1_100_000, vec![task("agent", 1_200_000, None)]),
            ],
        },
        units: vec![
            unit("agent", "Node agent", UnitState::Running),
            unit("console@tty1", "Console on tty1", UnitState::Running),
            unit("console@ttyS0", "Console on ttyS0", UnitState::Running),
            unit("vm-hello", "VM hello", UnitState::Running),
        ],
        vms: vec![
            vm("hello", VmState::Running, None),
            vm("web-1", VmState::Stopped, Some("guest powered off")),
        ],
        logs: vec![
            entry(
                1,
                6,
                "kernel",
                "Linux version 6.12.117 (axion) #1 SMP PREEMPT_DYNAMIC",
            ),
            entry(
                2,
                7,
                "kernel",
                "pci 0000:00:02.0: [8086:10c9] type 00 class 0x020000",
            ),
            entry(3, 4, "kernel", "ACPI: _OSC evaluation failed, disabling ASPM"),
            entry(4, 6, "init", "eth0: 10.0.2.15/24 by DHCP"),
            entry(5, 6, "agent", "listening on 0.0.0.0:8443"),
            entry(6, 5, "init", "ready in 2310 ms"),
        ],
        first_token: Some("axt_Yk3vQ0n8s5Jc1u7R2pXo9LwZ4tBhE6dGmKfA0iNSyUM".to_owned()),
        rejected: Vec::new(),
        slots: Some(slots()),
    }
}

/// An update has confirmed itself.
pub fn slots() -> UpdateStatus {
    let slot = |slot: &str, version: &str| SlotStatus {
        slot: slot.to_owned(),
        version: version.to_owned(),
        state: SlotState::Confirmed,
        tries_left: None,
        size: 100 << 20,
        digest: String::new(),
        arguments: String::new(),
        failure: None,
    };
    UpdateStatus {
        running: "b".to_owned(),
        next: Some("b".to_owned()),
        slots: vec![slot("a", "0.3.0"), slot("b", "0.4.0")],
        ..UpdateStatus::default()
    }
}

/// The same, its token noted and its log silent.
pub fn idle() -> Sample {
    Sample {
        first_token: None,
        ..ready()
    }
}

/// A node with one of each trouble.
pub fn degraded() -> Sample {
    let mut sample = Sample {
        first_token: None,
        ..ready()
    };
    sample.node.time_synchronized = false;
    sample.node.time_detail = "no answer from 0.debian.pool.ntp.org".to_owned();
    if let Some(phase) = sample.boot.phases.get_mut(2) {
        phase.outcome = Outcome::Degraded;
        phase.tasks.push(task(
            "nvme_tcp",
            300,
            Some("module nvme_tcp is not in this image"),
        ));
    }
    if let Some(agent) = sample.units.first_mut() {
        agent.state = UnitState::BackOff;
        agent.pid = None;
        agent.restarts = 3;
        agent.exit = Some("exited with status 1".to_owned());
    }
    let unknown = "unknown field `network.dsn`, expected one of `dns`, `search`, `interfaces`";
    sample.rejected.push((3, unknown.to_owned()));
    sample
        .vms
        .push(vm("db", VmState::Failed, Some("killed by SIGKILL")));
    sample.logs.push(entry(
        7,
        3,
        "agent",
        "cannot open the store: No space left on device (os error 28)",
    ));
    sample
}

/// A node whose TPM does not give the key of its state.
pub fn locked() -> Sample {
    let mut sample = idle();
    sample.node.tpm = "IFX 7.85, boot profile in PCR 15".to_owned();
    sample.node.state_lock = Some(StateLock {
        pool: "tank".to_owned(),
        reason: "PCR 15 changed since the key was sealed".to_owned(),
        is_new: false,
    });
    sample
}

/// A node in the middle of its boot.
pub fn booting() -> Sample {
    let mut sample = Sample {
        first_token: None,
        vms: Vec::new(),
        ..ready()
    };
    sample.boot.ready_us = None;
    sample.boot.phases.truncate(3);
    sample.units.truncate(1);
    sample
}

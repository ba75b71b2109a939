//! What people see, to the letter, on a terminal of 80 columns.

mod placement;
mod profiles;
mod vms;

use axion_api::event::{Event, What};
use axion_api::host::{
    BootReport, ConfigValue, Host, HostConfig, LogEntry, Memory, Phase, Process, UnitState, UnitStatus,
};
use axion_api::init::{Outcome, Task};
use axion_api::network::{Network, NetworkSpec};
use axion_api::profile::{HostProfile, ProfilePreview};
use axion_api::recovery::{CrashSummary, MissingFirmware};
use axion_api::vm::{
    CloudInit, DesiredState, HugepageSize, Image, Pause, Vm, VmBalloonStats, VmConsoleStats, VmDisk,
    VmDiskStats, VmExits, VmLatency, VmMemory, VmNetStats, VmNetStatus, VmSpec, VmState, VmStats, VmStatus,
    VmVcpuStats, VmVsockStats,
};
use axion_api::vmm::NetPath;
use axion_api::vmm::metrics::MappedPages;
use axion_api::volume::{Volume, VolumeKind, VolumeSpec};
use axion_core::config::check;
use axion_core::profile::{
    self as boot_profile, Attestation, Declaration, Item, ItemState, Refusals, Resolved, Standing,
};
use axion_core::quantity::ByteSize;
use axion_core::secure_boot::{Lockdown, SecureBoot, SecureBootState};
use axion_core::topology::{Cpu, CpuModel, CpuSet, Disk, Hugepages, Nic, NumaNode, Topology};

use super::*;
use crate::context::Listed;

mod keys;
mod recovery;
mod storage;
mod updates;

const SCREEN: Style = Style {
    width: Some(80),
    colour: false,
};
const COLOURS: Style = Style {
    width: Some(80),
    colour: true,
};
const PIPE: Style = Style {
    width: None,
    colour: false,
};
/// 2026-11-23 12:00:00 UTC.
const NOON: u64 = 1_795_435_200_000_000;
const SECOND: u64 = 1_000_000;

#[track_caller]
fn assert_screen(text: &str, expected: &str) {
    assert_eq!(text, expected.strip_prefix('\n').unwrap_or(expected), "\n{text}");
    for line in text.lines() {
        assert!(measure_text_width(line) <= 80, "too wide: {line}");
    }
}

fn vm(name: &str, state: VmState, exit: Option<&str>) -> Vm {
    Vm {
        name: name.to_owned(),
        revision: 7,
        spec: VmSpec {
            cpus: 4,
            memory: ByteSize(8 << 30),
            hugepages: HugepageSize::TwoMiB,
            ..VmSpec::default()
        },
        desired: DesiredState::Running,
        status: VmStatus {
            state,
            pid: Some(412),
            since_unix_us: NOON - 185 * SECOND,
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

fn unit(name: &str, state: UnitState, exit: Option<&str>) -> UnitStatus {
    UnitStatus {
        name: name.to_owned(),
        description: "The node agent: REST API, virtual machines".to_owned(),
        transient: false,
        state,
        pid: Some(77),
        restarts: 2,
        since_unix_us: NOON - 7200 * SECOND,
        exit: exit.map(str::to_owned),
        exit_status: None,
        last_line: None,
    }
}

fn phase(stage: u8, name: &str, start_us: u64, error: Option<&str>) -> Phase {
    Phase {
        stage,
        name: name.to_owned(),
        start_us,
        duration_us: 4_250,
        outcome: if error.is_some() {
            Outcome::Degraded
        } else {
            Outcome::Ok
        },
        tasks: vec![Task {
            name: "ntp".to_owned(),
            essential: false,
            duration_us: 4_000,
            error: error.map(str::to_owned),
        }],
    }
}

#[test]
fn colours_mean_something_and_can_be_off() {
    let vms = [vm("web", VmState::Running, None)];
    assert!(vm::list(&vms, NOON, &COLOURS).contains("\u{1b}[32mrunning\u{1b}[0m"));
    assert!(!vm::list(&vms, NOON, &SCREEN).contains('\u{1b}'));
    let bare: String = console::strip_ansi_codes(&vm::list(&vms, NOON, &COLOURS)).into_owned();
    let trimmed: Vec<&str> = bare.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, vm::list(&vms, NOON, &SCREEN).lines().collect::<Vec<_>>());
}

#[test]
fn the_node() {
    let cpu = |id, isolated| Cpu {
        id,
        online: true,
        isolated,
        ..Cpu::default()
    };
    let host = Host {
        hostname: "node1".to_owned(),
        machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        boot_id: "6f1c2e3a-0000-4000-8000-000000000001".to_owned(),
        version: "0.1.0".to_owned(),
        kernel: "6.12.48".to_owned(),
        uptime_seconds: 7260,
        persistent_state: false,
        secure_boot: SecureBoot {
            state: SecureBootState::On,
            lockdown: Lockdown::Integrity,
        },
        time_synchronized: true,
        addresses: vec!["10.0.2.15/24".to_owned(), "fec0::5054:ff:fe12:3456/64".to_owned()],
        state_lock: None,
        ca_fingerprint: format!("sha256:{}", "1f".repeat(32)),
        memory: Memory {
            total: 4 << 30,
            available: 3 << 30,
        },
        cpu_usage: 0.126,
        last_crash: None,
        missing_firmware: Vec::new(),
        topology: topology(vec![cpu(0, false), cpu(1, true)]),
    };
    assert_screen(
        &host::show(&host, &SCREEN),
        r"
Host     node1
Axion    0.1.0 on Linux 6.12.48
Network  10.0.2.15/24 fec0::5054:ff:fe12:3456/64
CA       sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f
Machine  0123456789abcdef0123456789abcdef
Boot     6f1c2e3a-0000-4000-8000-000000000001
Up for   2h
Clock    in step by NTP
State    in memory: it is gone after a reboot
UEFI     Secure Boot on, kernel lockdown integrity
Memory   3.00 GiB available of 4.00 GiB
CPU      2 x AMD EPYC Processor (svm), 1 isolated
CPU use  13 %

NODE  CPUS    MEMORY      FREE  2 MiB PAGES  1 GiB PAGES
0     0-1   4.00 GiB  3.00 GiB   60/64 free            -

DISK          SIZE  MODEL           SERIAL  NODE
nvme0n1  10.00 GiB  QEMU NVMe Ctrl  ax1        -

NIC   MAC                LINK  Mbit/s  DRIVER      PCI           NODE
eth0  52:54:00:12:34:56  up         -  virtio_net  0000:00:02.0     -
",
    );
    let troubled = Host {
        last_crash: Some(CrashSummary {
            unix_s: 0,
            reason: "Panic".to_owned(),
            headline: "sysrq\u{1b}[2J triggered crash".to_owned(),
            backend: "efi_pstore".to_owned(),
        }),
        missing_firmware: vec![MissingFirmware {
            device: "r8169 0000:03:00.0".to_owned(),
            file: "rtl_nic/rtl8168g-2.fw".to_owned(),
        }],
        ..host
    };
    let shown = host::show(&troubled, &SCREEN);
    assert!(
        shown.contains("! Panic at 1970") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    assert!(
        shown.contains("! r8169 0000:03:00.0 misses the firmware rtl_nic/rtl8168g-2.fw\n"),
        "{shown}"
    );
}

fn topology(cpus: Vec<Cpu>) -> Topology {
    Topology {
        cpu_model: CpuModel {
            vendor: "AuthenticAMD".to_owned(),
            name: "AMD EPYC Processor".to_owned(),
            virtualization: Some("svm".to_owned()),
            idle_limits: true,
            ..CpuModel::default()
        },
        cpus,
        nodes: vec![NumaNode {
            id: 0,
            cpus: "0-1".parse().unwrap(),
            memory_total: 4 << 30,
            memory_free: 3 << 30,
            hugepages: vec![Hugepages {
                page_size: 2 << 20,
                total: 64,
                free: 60,
            }],
            distances: vec![10],
        }],
        disks: vec![Disk {
            name: "nvme0n1".to_owned(),
            model: Some("QEMU NVMe Ctrl".to_owned()),
            serial: Some("ax1".to_owned()),
            size: 10 << 30,
            ..Disk::default()
        }],
        nics: vec![Nic {
            name: "eth0".to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            driver: Some("virtio_net".to_owned()),
            carrier: Some(true),
            pci: Some("0000:00:02.0".to_owned()),
            ..Nic::default()
        }],
        ..Topology::default()
    }
}

#[test]
fn a_boot() {
    let report = BootReport {
        kernel_ms: 812,
        ready_ms: Some(1843),
        phases: vec![
            phase(1, "file-systems", 812_400, None),
            phase(2, "time", 1_200_000, Some("no NTP server answered")),
        ],
    };
    assert_screen(
        &host::boot(&report, &SCREEN),
        r"
Kernel  812 ms
Ready   1843 ms

STAGE  PHASE           START    TIME  OUTCOME
1      file-systems   812 ms  4.2 ms  ok
2      time          1200 ms  4.2 ms  degraded

time/ntp: no NTP server answered
",
    );
    let early = BootReport {
        kernel_ms: 812,
        ready_ms: None,
        phases: vec![],
    };
    assert_screen(&host::boot(&early, &SCREEN), "Kernel  812 ms\nReady   not yet\n");
}

#[test]
fn units() {
    let units = [
        unit("agent", UnitState::Running, None),
        unit("vm-web", UnitState::Failed, Some("exited with status 1")),
    ];
    assert_screen(
        &host::units(&units, NOON, &SCREEN),
        r"
UNIT    STATE    FOR  PID  RESTARTS  DESCRIPTION            LAST EXIT
agent   running   2h   77         2  The node agent: REST…
vm-web  failed    2h   77         2  The node agent: REST…  exited with status 1
",
    );
}

#[test]
fn processes() {
    let process = Process {
        pid: 1,
        kernel: false,
        name: "axion-init".to_owned(),
        cgroup: "/".to_owned(),
        state: 'S',
        threads: 4,
        resident_bytes: 9 << 20,
        cpu_ms: 310,
        cpus: "0,64".parse().unwrap(),
    };
    assert_screen(
        &host::processes(&[process], &SCREEN),
        r"
PID  NAME        STATE  THREADS  RESIDENT  CPU TIME  CPUS  CGROUP
  1  axion-init  S            4  9.00 MiB    310 ms  0,64  /
",
    );
}

#[test]
fn a_config() {
    let value = |key: &str, value: &str, source: &str| ConfigValue {
        key: key.to_owned(),
        value: value.to_owned(),
        source: source.to_owned(),
        change: "restart-service".to_owned(),
    };
    let config = HostConfig {
        values: vec![
            value(
                "hostname",
                "\"node1\"",
                "axion.config= on the kernel command line (inline)",
            ),
            value(
                "time.ntp",
                "[\"0.debian.pool.ntp.org\", \"1.debian.pool.ntp.org\"]",
                "default",
            ),
        ],
        rejected: vec!["axion.toml on the AXION-CFG volume (vda1) line 3: unknown field `ntpd`".to_owned()],
        ignored: vec!["axion.toml on the AXION-CFG volume (vdb1) line 4: unknown field `vrf`".to_owned()],
    };
    assert_screen(
        &host::config(&config, &SCREEN),
        r#"
KEY       VALUE                       SOURCE                     CHANGE
hostname  "node1"                     axion.config= on the ker…  restart-service
time.ntp  ["0.debian.pool.ntp.org",…  default                    restart-service

refused: axion.toml on the AXION-CFG volume (vda1) line 3: unknown field `ntpd`
left out: axion.toml on the AXION-CFG volume (vdb1) line 4: unknown field `vrf`
"#,
    );
}

#[test]
fn images_and_contexts() {
    let image = Image {
        digest: format!("sha256:{}", "1f".repeat(32)),
        size: 7 << 20,
    };
    // A name that is cut is no name: this one line may be wider than the terminal.
    assert_eq!(
        image::list(&[image], &SCREEN),
        format!("    SIZE  DIGEST\n7.00 MiB  sha256:{}\n", "1f".repeat(32))
    );
    let listed = Listed {
        name: "lab".to_owned(),
        server: "https://10.0.0.5:8443".to_owned(),
        current: true,
        trust: format!("sha256:{}", "1f".repeat(32)),
    };
    assert_screen(
        &context::list(&[listed], &SCREEN),
        r"
   NAME  SERVER                 TRUST
*  lab   https://10.0.0.5:8443  sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f…
",
    );
}

#[test]
fn log_lines_and_events() {
    let entry = LogEntry {
        sequence: 1,
        unix_us: NOON + 1234,
        severity: 3,
        source: "agent".to_owned(),
        message: "a guest said \u{1b}]0;owned\u{7}".to_owned(),
    };
    assert_eq!(
        log::line(&entry, &SCREEN),
        "2026-11-23T12:00:00.001Z agent: a guest said \u{FFFD}]0;owned\u{FFFD}"
    );
    assert!(log::line(&entry, &COLOURS).contains("\u{1b}[31m"));
    let line = |what| {
        event::line(
            &Event {
                sequence: 1,
                unix_us: NOON,
                what,
            },
            &SCREEN,
        )
    };
    let time = "2026-11-23T12:00:00.000Z";
    for (what, expected) in [
        (
            What::Vm(Box::new(vm("web", VmState::Failed, Some("killed by SIGKILL")))),
            "vm web failed (killed by SIGKILL)",
        ),
        (
            What::VmDeleted {
                name: "web".to_owned(),
            },
            "vm web deleted",
        ),
        (
            What::Unit(unit("agent", UnitState::BackOff, None)),
            "unit agent back-off",
        ),
        (What::Phase(phase(2, "time", 0, None)), "phase time ok in 4.2 ms"),
        (
            What::Profile {
                state: ItemState::Drifted,
                items: vec![Item {
                    key: "memory.thp".to_owned(),
                    desired: "madvise".to_owned(),
                    effective: "always".to_owned(),
                    state: ItemState::Drifted,
                    fix: None,
                }],
            },
            "profile drifted: memory.thp",
        ),
        (
            What::Profile {
                state: ItemState::Ok,
                items: Vec::new(),
            },
            "profile in force",
        ),
        (
            What::Netboot(axion_api::netboot::NetbootStep {
                unix_us: 0,
                mac: Some("52:54:00:12:34:56".to_owned()),
                address: None,
                firmware: Some("UEFI".to_owned()),
                step: axion_api::netboot::NetbootStepKind::Boots,
                text: "boots snponly.efi".to_owned(),
            }),
            "netboot 52:54:00:12:34:56 - UEFI boots snponly.efi",
        ),
        (What::Lost { count: 3 }, "3 events were lost"),
    ] {
        assert_eq!(line(what), format!("{time} {expected}"));
    }
}

#[test]
fn times_of_any_value() {
    assert_eq!(age(NOON, NOON + 5), "0s", "the node's clock may be ahead");
    assert_eq!(age(NOON, NOON - 59 * SECOND), "59s");
    assert_eq!(age(NOON, NOON - 90 * SECOND), "1min");
    assert_eq!(age(NOON, 0), "20780d");
    assert_eq!(moment(u64::MAX), "?");
    assert_eq!(milliseconds(950), "0.9 ms");
    assert_eq!(milliseconds(12_345), "12 ms");
}

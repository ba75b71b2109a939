//! Virtual machines and what belongs to them.

use super::*;

#[test]
fn vms() {
    // The longest name that there is.
    let mut vms = [
        vm("web", VmState::Running, None),
        vm(
            "database-of-the-simulation-group-standby",
            VmState::Failed,
            Some("killed by SIGKILL after a long story"),
        ),
    ];
    // It has grown since.
    vms[0].status.memory = Some(VmMemory {
        wanted: ByteSize(16 << 30),
        present: Some(ByteSize(12 << 30)),
        block: ByteSize(2 << 20),
    });
    assert_screen(
        &vm::list(&vms, NOON, &SCREEN),
        r"
NAME                                      STATE     FOR  CPUS  MEMORY  DETAIL
web                                       running  3min     4   12GiB
database-of-the-simulation-group-standby  failed   3min     4    8GiB  killed b…
",
    );
    // In a pipe nothing is cut.
    assert!(vm::list(&vms, NOON, &PIPE).contains("killed by SIGKILL after a long story"));
    assert_screen(
        &vm::list(&[], NOON, &SCREEN),
        "No VMs. `axctl vm run NAME` makes one.\n",
    );
}

#[test]
fn one_vm() {
    assert_screen(
        &vm::show(&vm("web", VmState::Running, None), &SCREEN),
        r"
Name       web
State      running since 2026-11-23T11:56:55.000Z
Wanted     running
Process    412
Last exit  -
Class      shared
CPUs       4
CPU model  host
Memory     8GiB, hugepages 2MiB
Kernel     builtin
Initrd     builtin
Cmdline    -
Restart    never
Revision   7
",
    );
}

#[test]
fn a_vm_with_devices_that_stands_still() {
    let mut web = vm("web", VmState::Paused, None);
    web.spec.disks = vec![
        VmDisk {
            volume: Some("data".to_owned()),
            serial: Some("S1".to_owned()),
            ..VmDisk::default()
        },
        VmDisk {
            image: Some("sha256:00".to_owned()),
            ..VmDisk::default()
        },
    ];
    web.spec.cloud_init = Some(CloudInit {
        user_data: "#cloud-config".to_owned(),
        ..CloudInit::default()
    });
    web.status.nets = vec![VmNetStatus {
        network: "lan".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        tap: "vm0-0".to_owned(),
    }];
    web.status.pause = Some(Pause::DiskFull {
        disk: 0,
        volume: Some("data".to_owned()),
    });
    assert_screen(
        &vm::show(&web, &SCREEN),
        r"
Name        web
State       paused since 2026-11-23T11:56:55.000Z
Wanted      running
Process     412
Paused
  no room on the node for what the guest writes to disk 0 (volume data)
Last exit   -
Class       shared
CPUs        4
CPU model   host
Memory      8GiB, hugepages 2MiB
Kernel      builtin
Initrd      builtin
Cmdline     -
Disk        0: volume data, serial S1
Disk        1: image sha256:00, read-only
Net         0: lan, 02:00:00:00:00:01, tap vm0-0
Cloud-init  13 bytes of user-data
Restart     never
Revision    7
",
    );
    assert!(vm::list(&[web], NOON, &PIPE).contains("no room on the node"));
}

#[test]
fn volumes_and_networks() {
    let data = Volume {
        name: "data".to_owned(),
        revision: 3,
        spec: VolumeSpec::of(ByteSize(20 << 30)),
        kind: VolumeKind::Zvol,
        dataset: Some("tank/axion/zvols/data".to_owned()),
        allocated: Some(3 << 20),
        used_by: Some("web".to_owned()),
        created_unix_us: NOON,
    };
    assert_screen(
        &volume::list(&[data], &SCREEN),
        r"
NAME  KIND   SIZE     TAKEN  DISK OF
data  zvol  20GiB  3.00 MiB  web
",
    );
    let lan = Network {
        name: "lan".to_owned(),
        revision: 3,
        spec: NetworkSpec {
            address: Some("10.1.0.1/24".to_owned()),
            ..NetworkSpec::default()
        },
        bridge: "ax-lan".to_owned(),
        ports: Vec::new(),
        used_by: vec!["web".to_owned(), "db".to_owned()],
        error: None,
    };
    assert_screen(
        &network::list(&[lan], &SCREEN),
        r"
NAME  STATE  UPLINK  ADDRESS       MTU  VMS
lan   up     -       10.1.0.1/24  1500  web, db
",
    );
}

#[test]
fn stats_of_a_vm() {
    let stats = VmStats {
        cpu_us: 2_500_000,
        memory: 64 << 20,
        mapped: Some(MappedPages {
            pages_4k: 7,
            pages_1g: 2,
            ..MappedPages::default()
        }),
        vcpus: vec![VmVcpuStats {
            steal_us: 20_000,
            exits: 1 << 40,
            vmm_exits: 12,
            ..VmVcpuStats::default()
        }],
        exits: vec![VmExits {
            reason: "halt".to_owned(),
            vmm: false,
            count: 9,
        }],
        disks: vec![VmDiskStats {
            source: "data".to_owned(),
            reads: 7,
            read_times: VmLatency {
                count: 7,
                median_ns: 45_056,
                p99_ns: 1_500_000,
                p999_ns: 12_345_678,
                longest_ns: 12_345_678,
            },
            ..VmDiskStats::default()
        }],
        nets: vec![VmNetStats {
            network: "lan".to_owned(),
            path: Some(NetPath::Own),
            send_times: VmLatency {
                count: 1,
                median_ns: 4_096,
                p99_ns: 4_096,
                p999_ns: 4_096,
                longest_ns: 4_000,
            },
            ..VmNetStats::default()
        }],
        console: VmConsoleStats {
            printed_bytes: 2048,
            typed_bytes: 3,
            type_times: VmLatency {
                count: 1,
                longest_ns: 7_000,
                ..VmLatency::default()
            },
            ..VmConsoleStats::default()
        },
        vsock: Some(VmVsockStats {
            connections: 12,
            send_bytes: 1 << 30,
            receive_bytes: 1 << 40,
            receive_times: VmLatency {
                count: 2,
                median_ns: 9_000,
                ..VmLatency::default()
            },
            ..VmVsockStats::default()
        }),
        balloon: Some(VmBalloonStats {
            target: 64 << 20,
            actual: 32 << 20,
            ..VmBalloonStats::default()
        }),
        ..VmStats::default()
    };
    let text = stats::show(&stats, &SCREEN);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    for line in [
        "Mapped 2 x 1 GiB, 7 x 4 KiB",
        "0 0.0 ms 20 ms 1099511627776 12 0",
        "halt KVM 9",
        "data reads 46 us 1500 us 12 ms 12 ms",
        "lan sends 5 us 5 us 5 us 4 us",
        "console types 0 us 0 us 0 us 7 us",
        "vsock receives 9 us 0 us 0 us 0 us",
        "Console 2.00 KiB printed, 3 B typed",
        "lan own 0 B 0 0 0 B 0",
        "Balloon 32.00 MiB of 64.00 MiB given, 0 B of free pages went back",
        "Vsock 12 open; 0 by the guest, 0 to it; 1.00 GiB sent, 1.00 TiB received",
    ] {
        assert!(lines.iter().any(|there| there == line), "{line}\n{text}");
    }
    assert!(text.contains("CPU time     2500 ms"), "{text}");
    assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
}

use axion_api::capacity::{Capacity, NodeCapacity, PoolCapacity, Reservation};
use axion_api::vm::Scheduling;
use axion_api::vmm::InForce;
use axion_api::vmm::in_force::{
    Coverage, DisabledExit, NodeMemory, NodeSample, ProcessState, SandboxState, UnitLimits, VcpuThread,
};
use axion_core::placement::{GuestTopology, NodePart, NumaPolicy, Placement, VmClass, VmThreads};

use super::*;

fn cpus(text: &str) -> CpuSet {
    text.parse().unwrap()
}

fn placement() -> Placement {
    let part = |host_node, vcpus| NodePart {
        host_node,
        memory: 4 << 30,
        bound: true,
        vcpus: cpus(vcpus),
        distances: vec![10, 32],
    };
    Placement {
        class: VmClass::Dedicated,
        nodes: vec![part(0, "0-1"), part(1, "2-3")],
        page_size: 1 << 30,
        vcpus: vec![2, 3, 10, 11],
        reserved: cpus("2-3,10-11,18-19,26-27"),
        cpus: cpus("0,8"),
        topology: Some(GuestTopology {
            sockets: 2,
            cores: 2,
            threads: 1,
            l3_cores: 2,
        }),
    }
}

#[test]
fn a_dedicated_vm_with_its_place() {
    let mut solver = super::vm("solver", VmState::Running, None);
    solver.spec.class = VmClass::Dedicated;
    solver.spec.threads = VmThreads::One;
    solver.spec.scheduling = Scheduling::Fifo;
    solver.spec.numa = NumaPolicy::Spread;
    solver.spec.nodes = vec![0, 1];
    solver.spec.hugepages = HugepageSize::OneGiB;
    solver.status.placement = Some(placement());
    let thread = |cpu: u32, on: &str| VcpuThread {
        wanted: Some(cpu),
        cpus: cpus(on),
        fifo_priority: (cpu != 3).then_some(1),
        ..VcpuThread::default()
    };
    let memory = |node: u32| NodeMemory {
        wanted: Some(node),
        bound: Some(node),
        prefault_ms: Some(120),
        samples: vec![NodeSample {
            host_node: 0,
            pages: 3,
        }],
        ..NodeMemory::default()
    };
    solver.status.in_force = Some(InForce {
        cpu_model: Default::default(),
        exits_wanted: vec![DisabledExit::Hlt, DisabledExit::Pause, DisabledExit::Mwait],
        exits_disabled: vec![DisabledExit::Hlt, DisabledExit::Pause],
        vcpus: vec![
            thread(2, "2"),
            thread(3, "3"),
            thread(10, "10"),
            thread(11, "0-11"),
        ],
        fifo_wanted: Some(1),
        memory: vec![memory(0), memory(1)],
        sandbox: SandboxState {
            landlock: Coverage::Full,
            namespaces: ["user", "mnt", "net", "ipc", "uts", "pid"]
                .map(str::to_owned)
                .to_vec(),
            empty_root: true,
            ..SandboxState::default()
        },
        unit: Some(UnitLimits {
            cpus: cpus("0,2-3,8,10-11"),
            cpu_weight: 100,
            cpu_limit: None,
            memory_max: Some(104 << 20),
        }),
        process: Some(ProcessState {
            uid: 100_001,
            threads: 9,
            filtered: 9,
            unprivileged: 9,
            capabilities: 0,
            namespaces: ["mnt", "net", "pid", "user"].map(str::to_owned).to_vec(),
        }),
    });
    assert_screen(
        &vm::show(&solver, &SCREEN),
        r"
Name        solver
State       running since 2026-11-23T11:56:55.000Z
Wanted      running
Process     412
Last exit   -
Class       dedicated
CPUs        4, one thread of a core, fifo, may be spread, of node 0 or 1
CPU model   host
Memory      8GiB, hugepages 1GiB
Placed      node 0: vCPUs 0-1, 4GiB in pages of 1GiB
Placed      node 1: vCPUs 2-3, 4GiB in pages of 1GiB
Pinned      vCPUs in order to CPUs 2,3,10,11
Kept idle   CPUs 18-19,26-27, of the same cores
Devices     threads on CPUs 0,8
Guest sees  2 sockets x 2 cores x 1 threads, 2 cores share a cache
In force    CPUs 0,2-3,8,10-11, weight 100, memory at most 104MiB
In force    3 of 4 vCPUs on their CPU alone
In force    3 of 4 vCPUs by SCHED_FIFO, priority 1
In force    memory 0 bound to node 0, filled in 120 ms
In force    memory 1 bound to node 1, filled in 120 ms, 3 pages elsewhere
In force    no exits for HLT, PAUSE; this host keeps those for MWAIT
Sandbox     user 100001, 9 of 9 threads filtered, no capabilities
Sandbox     Landlock, empty root, its own ipc, mnt, net, pid, user, uts
Kernel      builtin
Initrd      builtin
Cmdline     -
Restart     never
Revision    7
",
    );
}

#[test]
fn a_shared_vm_with_its_place() {
    let mut web = super::vm("web", VmState::Running, None);
    web.spec.cpu_weight = Some(300);
    web.spec.cpu_limit = Some(150);
    web.status.placement = Some(Placement {
        nodes: vec![NodePart {
            host_node: 1,
            memory: 8 << 30,
            vcpus: cpus("0-3"),
            ..NodePart::default()
        }],
        page_size: 2 << 20,
        cpus: cpus("8-15"),
        ..Placement::default()
    });
    web.status.in_force = Some(InForce {
        unit: Some(UnitLimits {
            cpus: cpus("8-15"),
            cpu_weight: 300,
            cpu_limit: Some(150),
            memory_max: Some(104 << 20),
        }),
        ..InForce::default()
    });
    let text = vm::show(&web, &SCREEN);
    for line in [
        "CPUs       4, weight 300, at most 150 %",
        "Placed     node 1: vCPUs 0-3, 8GiB in pages of 2MiB",
        "Runs on    CPUs 8-15",
        "In force   CPUs 8-15, weight 300, at most 150 %, memory at most 104MiB",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
}

#[test]
fn a_sandbox_that_lacks_something() {
    let mut web = super::vm("web", VmState::Running, None);
    web.status.in_force = Some(InForce {
        sandbox: SandboxState {
            landlock: Coverage::Part,
            namespaces: ["mnt", "net", "ipc", "uts"].map(str::to_owned).to_vec(),
            ..SandboxState::default()
        },
        process: Some(ProcessState {
            uid: 0,
            threads: 9,
            filtered: 3,
            unprivileged: 9,
            capabilities: 0x400,
            namespaces: vec!["mnt".to_owned()],
        }),
        ..InForce::default()
    });
    let text = vm::show(&web, &SCREEN);
    for line in [
        "Sandbox    user 0, 3 of 9 threads filtered, capabilities 0x400",
        "Sandbox    Landlock in part, the node's root, its own ipc, mnt, net, uts",
        "Sandbox    missing: pid is the node's; the kernel says that net is the node's",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
}

#[test]
fn what_there_is_for_vms() {
    let pool = |page_size, total, free| PoolCapacity {
        page_size,
        total,
        reserved: total - free,
        free,
    };
    let node = |node: u32, shared: &str, isolated: &str| NodeCapacity {
        node,
        shared_cpus: cpus(shared),
        dedicated_cpus: cpus(isolated),
        cores: 7,
        cores_free: 5,
        memory: 21 << 30,
        memory_free: 21 << 30,
        hugepages: vec![pool(2 << 20, 1024, 1024), pool(1 << 30, 8, 4)],
        ..NodeCapacity::default()
    };
    let mut capacity = Capacity {
        host_cpus: cpus("0,8"),
        nodes: vec![
            NodeCapacity {
                cores: 28,
                cores_free: 28,
                memory_free: 102_467_000_000,
                ..node(0, "0,32", "4-31,36-63")
            },
            NodeCapacity {
                hugepages: Vec::new(),
                ..node(1, "", "")
            },
        ],
        reservations: vec![Reservation {
            vm: "solver".to_owned(),
            placement: placement(),
        }],
    };
    assert_screen(
        &super::capacity::show(&capacity, &SCREEN),
        r"
Host CPUs  0,8

NODE  SHARED  DEDICATED   CORES FREE  MEMORY FREE  2 MiB FREE  1 GiB FREE
0     0,32    4-31,36-63       28/28    95.43 GiB   1024/1024         4/8
1     -       -                  5/7    21.00 GiB           -           -

VM      CLASS      NODE  VCPUS  CPUS                   MEMORY  PAGES
solver  dedicated  0-1       4  2-3,10-11,18-19,26-27    8GiB   1GiB
",
    );
    capacity.reservations.clear();
    let text = super::capacity::show(&capacity, &SCREEN);
    assert!(text.ends_with("\nNo VM has a place: none is to run.\n"), "{text}");
}

use axion_api::vmm::CpuTopology;

use super::*;

fn leaf(function: u32, eax: u32, ebx: u32, ecx: u32, edx: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        function,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    }
}

fn sub(function: u32, index: u32, eax: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        index,
        ..leaf(function, eax, 0, 0, 0)
    }
}

/// A host with the leaves of both makers.
fn host() -> Vec<kvm_cpuid_entry2> {
    vec![
        leaf(0, 0x1f, 0, 0, 0),
        leaf(1, 0, 0x0710_0800, 0, 0),
        sub(4, 0, 0xfc00_4121), // level 1 data
        sub(4, 1, 0xfc00_4143), // level 2
        sub(4, 2, 0xfdff_c163), // level 3
        sub(4, 3, 0),
        leaf(5, 0, 0, 0, 0),
        leaf(0xb, 1, 2, 0x100, 7),
        leaf(0x1f, 1, 2, 0x100, 7),
        leaf(0x4000_0000, 0x4000_0001, 0, 0, 0),
        leaf(0x4000_0001, 0x0100_0088, 0, 0, 0),
        leaf(0x8000_0000, 0x8000_0026, 0, 0, 0),
        leaf(0x8000_0008, 0x3028, 0, 0x7007, 0),
        sub(0x8000_001d, 0, 0x121),
        sub(0x8000_001d, 3, 0x3ff_c163),
        leaf(0x8000_001e, 9, 0x101, 0x301, 0),
        leaf(0x8000_0026, 1, 2, 0x100, 7),
    ]
}

fn topology(sockets: u32, cores: u32, threads: u32, l3_cores: Option<u32>) -> Topology {
    Topology::new(CpuTopology {
        sockets,
        cores,
        threads,
        l3_cores,
    })
}

fn machine(topology: &Topology) -> Machine<'_> {
    Machine {
        topology,
        tsc_khz: Some(2_500_000),
        tsc_deadline: true,
        dedicated: false,
        exits_disabled: &[],
        monitor: Some([64, 64, 3, 0x20]),
    }
}

fn made(topology: &Topology, cpu: u32) -> Vec<kvm_cpuid_entry2> {
    for_vcpu(&host(), machine(topology), topology.apic_id(cpu))
}

fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
    let mut found = entries
        .iter()
        .filter(|e| e.function == function && e.index == index);
    let entry = *found.next().unwrap();
    assert!(found.next().is_none(), "leaf {function:#x}.{index} twice");
    entry
}

fn level(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> (u32, u32, u32, u32) {
    let e = find(entries, function, index);
    (e.eax, e.ebx, e.ecx, e.edx)
}

#[test]
fn apic_id_and_count_are_this_machines() {
    let entries = made(&topology(1, 6, 1, None), 5);
    let one = find(&entries, 1, 0);
    assert_eq!(one.ebx, 0x0506_0800);
    assert_ne!(one.ecx & (1 << 31), 0, "hypervisor bit");
    assert_ne!(one.ecx & (1 << 24), 0, "TSC deadline timer");
    assert_eq!(one.ecx & (1 << 3), 0, "MONITOR exits");
    assert_ne!(one.edx & (1 << 28), 0, "several CPUs");
    assert_eq!(level(&entries, 0xb, 0), (0, 1, 0x100, 5));
    assert_eq!(level(&entries, 0xb, 1), (3, 6, 0x201, 5));
    assert_eq!(level(&entries, 0xb, 2), (0, 0, 2, 5));
    assert_eq!(find(&entries, 0x8000_001e, 0).eax, 5);
    assert_eq!(find(&entries, 0x8000_0008, 0).ecx, 0x3005);
}

#[test]
fn sockets_cores_and_threads_are_told_in_every_leaf() {
    // Two sockets of twelve threads; APIC id, from the top: one bit of socket, one of cache, two of core, one of thread.
    let entries = made(&topology(2, 6, 2, Some(3)), 23);
    let id = 0b1_1101;
    assert_eq!(find(&entries, 1, 0).ebx, 0x1d0c_0800);
    for leaf in [0xb, 0x1f] {
        assert_eq!(level(&entries, leaf, 0), (1, 2, 0x100, id));
        assert_eq!(level(&entries, leaf, 1), (4, 12, 0x201, id));
        assert_eq!(level(&entries, leaf, 2), (0, 0, 2, id));
    }
    assert_eq!(level(&entries, 0x8000_0026, 0), (1, 2, 0x100, id));
    assert_eq!(level(&entries, 0x8000_0026, 1), (3, 6, 0x201, id));
    assert_eq!(level(&entries, 0x8000_0026, 2), (4, 12, 0x302, id));
    assert_eq!(level(&entries, 0x8000_0026, 3), (4, 12, 0x403, id));
    assert_eq!(level(&entries, 0x8000_0026, 4), (0, 0, 4, id));
    assert_eq!(find(&entries, 0x8000_0008, 0).ecx, 0x400b);
    let extended = find(&entries, 0x8000_001e, 0);
    assert_eq!((extended.eax, extended.ebx, extended.ecx), (id, 0x106, 1));
}

#[test]
fn caches_are_shared_as_the_topology_says() {
    let entries = made(&topology(2, 6, 2, Some(3)), 0);
    // Intel counts ids with their holes: 2 of a core, 8 of a level 3 cache, 8 cores of a socket.
    assert_eq!(find(&entries, 4, 0).eax, 0x121 | 1 << 14 | 7 << 26);
    assert_eq!(find(&entries, 4, 1).eax, 0x143 | 1 << 14 | 7 << 26);
    assert_eq!(find(&entries, 4, 2).eax, 0x163 | 7 << 14 | 7 << 26);
    assert_eq!(find(&entries, 4, 3).eax, 0);
    // AMD counts CPUs.
    assert_eq!(find(&entries, 0x8000_001d, 0).eax, 0x121 | 1 << 14);
    assert_eq!(find(&entries, 0x8000_001d, 3).eax, 0x163 | 5 << 14);
}

#[test]
fn host_topology_does_not_leak() {
    let entries = made(&topology(1, 1, 1, None), 0);
    for leaf in [0xb, 0x1f] {
        assert_eq!(entries.iter().filter(|e| e.function == leaf).count(), 3);
    }
    assert_eq!(level(&entries, 0xb, 1), (0, 1, 0x201, 0));
    assert_eq!(find(&entries, 1, 0).edx & (1 << 28), 0);
    assert_eq!(find(&entries, 4, 2).eax, 0x163);
    let extended = find(&entries, 0x8000_001e, 0);
    assert_eq!((extended.eax, extended.ebx, extended.ecx), (0, 0, 0));
    let one = topology(1, 1, 1, None);
    let old: Vec<_> = host().into_iter().filter(|e| e.function < 0xb).collect();
    let made = for_vcpu(&old, machine(&one), 0);
    assert!(
        made.iter()
            .all(|e| e.function != 0x8000_0026 && e.function != 0x1f)
    );
}

#[test]
fn hypervisor_leaves_tell_the_frequency() {
    let entries = made(&topology(1, 1, 1, None), 0);
    assert_eq!(find(&entries, 0x4000_0000, 0).eax, 0x4000_0010);
    assert_eq!(find(&entries, 0x4000_0010, 0).eax, 2_500_000);
    let features = find(&entries, 0x4000_0001, 0);
    assert_eq!((features.eax, features.edx), (0x0100_8088, 0));
}

#[test]
fn dedicated_guest_is_told_what_it_may_rely_on() {
    let one = topology(1, 1, 1, None);
    let dedicated = Machine {
        dedicated: true,
        exits_disabled: &[DisabledExit::Hlt, DisabledExit::Mwait],
        ..machine(&one)
    };
    let entries = for_vcpu(&host(), dedicated, 0);
    let features = find(&entries, 0x4000_0001, 0);
    assert_eq!(
        (features.eax, features.edx),
        (0x0100_8008, 1),
        "no unhalt, real time"
    );
    assert_ne!(find(&entries, 1, 0).ecx & (1 << 3), 0, "MONITOR");
    assert_eq!(level(&entries, 5, 0), (64, 64, 3, 0x20));
    let kept = Machine {
        exits_disabled: &[],
        ..dedicated
    };
    let entries = for_vcpu(&host(), kept, 0);
    assert_eq!(find(&entries, 0x4000_0001, 0).eax, 0x0100_8088);
    assert_eq!(level(&entries, 5, 0), (0, 0, 0, 0));
}

#[test]
fn address_width_is_read_or_conservative() {
    assert_eq!(address_bits(&host()), 0x28);
    assert_eq!(address_bits(&[]), 36);
}

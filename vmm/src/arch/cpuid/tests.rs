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

fn host() -> Vec<kvm_cpuid_entry2> {
    vec![
        leaf(0, 0xd, 0, 0, 0),
        leaf(1, 0, 0x0710_0800, 0, 0),
        leaf(0xb, 1, 2, 0x100, 7),
        leaf(0x4000_0000, 0x4000_0001, 0, 0, 0),
        leaf(0x4000_0001, 0x0100_0008, 0, 0, 0),
        leaf(0x8000_0008, 0x3028, 0, 0x7007, 0),
        leaf(0x8000_001e, 9, 0x101, 1, 0),
    ]
}

fn made(cpus: u32, id: u32) -> Vec<kvm_cpuid_entry2> {
    for_vcpu(
        &host(),
        Topology {
            cpus,
            tsc_khz: Some(2_500_000),
            tsc_deadline: true,
        },
        id,
    )
}

fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
    *entries
        .iter()
        .find(|e| e.function == function && e.index == index)
        .unwrap()
}

#[test]
fn apic_id_and_count_are_this_machines() {
    let entries = made(6, 5);
    let one = find(&entries, 1, 0);
    assert_eq!(one.ebx, 0x0506_0800);
    assert_ne!(one.ecx & (1 << 31), 0, "hypervisor bit");
    assert_ne!(one.ecx & (1 << 24), 0, "TSC deadline timer");
    assert_ne!(one.edx & (1 << 28), 0, "several CPUs");
    assert_eq!(find(&entries, 0xb, 0).edx, 5);
    let core = find(&entries, 0xb, 1);
    assert_eq!((core.eax, core.ebx, core.ecx), (3, 6, 0x201));
    assert_eq!(find(&entries, 0x8000_001e, 0).eax, 5);
    assert_eq!(find(&entries, 0x8000_0008, 0).ecx, 0x3005);
}

#[test]
fn host_topology_does_not_leak() {
    assert_eq!(made(1, 0).iter().filter(|e| e.function == 0xb).count(), 3);
    assert!(made(1, 0).iter().all(|e| e.function != 0x1f));
    let core = find(&made(1, 0), 0xb, 1);
    assert_eq!((core.eax, core.ebx), (0, 1));
}

#[test]
fn hypervisor_leaves_tell_the_frequency() {
    let entries = made(1, 0);
    assert_eq!(find(&entries, 0x4000_0000, 0).eax, 0x4000_0010);
    assert_eq!(find(&entries, 0x4000_0010, 0).eax, 2_500_000);
    assert_ne!(find(&entries, 0x4000_0001, 0).eax & (1 << 15), 0);
}

#[test]
fn address_width_is_read_or_conservative() {
    assert_eq!(address_bits(&host()), 0x28);
    assert_eq!(address_bits(&[]), 36);
}

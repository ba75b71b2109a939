//! What CPUID says to the guest: what KVM supports, made true for this machine.
//!
//! One package with one thread a core; APIC id = vCPU index. TSC frequency is told by kvm-clock and by leaf 0x4000_0010,
//! because there is no PIT, HPET or PM timer to measure it against.

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// Leaf that tells TSC and local APIC timer frequency to guests of several hypervisors.
const TIMING_LEAF: u32 = 0x4000_0010;
/// Frequency of KVM's local APIC timer, kHz: one tick a nanosecond.
const LAPIC_TIMER_KHZ: u32 = 1_000_000;
/// `KVM_FEATURE_MSI_EXT_DEST_ID`: interrupts from I/O APIC and MSI reach APIC ids up to 32767
/// (Documentation/virt/kvm/x86/cpuid.rst). KVM leaves it to userspace, whose I/O APIC has to understand it.
const FEATURE_EXTENDED_DESTINATION: u32 = 1 << 15;

/// What CPUID is made for.
#[derive(Debug, Clone, Copy)]
pub struct Topology {
    /// vCPUs of the machine, at least 1.
    pub cpus: u32,
    /// TSC frequency in kHz, where KVM knows it.
    pub tsc_khz: Option<u32>,
    /// KVM emulates the TSC deadline timer.
    pub tsc_deadline: bool,
}

/// Physical address bits of the guest's CPU: leaf 0x8000_0008, 36 where it is missing.
pub fn address_bits(supported: &[kvm_cpuid_entry2]) -> u8 {
    supported
        .iter()
        .find(|e| e.function == 0x8000_0008)
        .and_then(|e| u8::try_from(e.eax & 0xff).ok())
        .filter(|bits| (32..=52).contains(bits))
        .unwrap_or(36)
}

/// CPUID of the vCPU with APIC id `id`.
pub fn for_vcpu(supported: &[kvm_cpuid_entry2], topology: Topology, id: u32) -> Vec<kvm_cpuid_entry2> {
    let max_basic = supported.iter().find(|e| e.function == 0).map_or(0, |e| e.eax);
    let mut entries: Vec<_> = supported
        .iter()
        .filter(|e| !matches!(e.function, 0xb | 0x1f | 0x8000_0026 | TIMING_LEAF))
        .map(|entry| adjusted(*entry, topology, id))
        .collect();
    for leaf in [0xb, 0x1f] {
        let host_has = leaf == 0xb || supported.iter().any(|e| e.function == leaf && e.ebx != 0);
        if max_basic >= leaf && host_has {
            entries.extend(extended_topology(leaf, topology.cpus, id));
        }
    }
    if let Some(khz) = topology.tsc_khz {
        let timing = kvm_cpuid_entry2 {
            function: TIMING_LEAF,
            eax: khz,
            ebx: LAPIC_TIMER_KHZ,
            ..Default::default()
        };
        entries.push(timing);
    }
    entries
}

/// Bits of an APIC id that number `cpus` CPUs.
fn id_bits(cpus: u32) -> u32 {
    u32::BITS - cpus.saturating_sub(1).leading_zeros()
}

fn adjusted(mut e: kvm_cpuid_entry2, topology: Topology, id: u32) -> kvm_cpuid_entry2 {
    let last = topology.cpus.saturating_sub(1);
    match e.function {
        0x1 => {
            e.ebx = (e.ebx & 0xffff) | (topology.cpus.min(255) << 16) | ((id & 0xff) << 24);
            e.ecx |= 1 << 31; // hypervisor present
            set(&mut e.ecx, 24, topology.tsc_deadline);
            set(&mut e.edx, 28, topology.cpus > 1); // several logical CPUs in the package
        }
        // Deterministic cache parameters: caches up to level 2 belong to a core, the others to all.
        0x4 | 0x8000_001d => {
            let sharers = if (e.eax >> 5) & 7 > 2 { last.min(0xfff) } else { 0 };
            e.eax = (e.eax & !(0xfff << 14)) | (sharers << 14);
            if e.function == 0x4 && e.eax & 0x1f != 0 {
                e.eax = (e.eax & !(0x3f << 26)) | (last.min(0x3f) << 26);
            }
        }
        0x4000_0000 if topology.tsc_khz.is_some() => e.eax = e.eax.max(TIMING_LEAF),
        0x4000_0001 => e.eax |= FEATURE_EXTENDED_DESTINATION,
        // AMD: core count and width of the core id. Reserved, and zero, on Intel.
        0x8000_0008 if e.ecx != 0 => {
            e.ecx = (e.ecx & !0xf0ff) | last.min(0xff) | (id_bits(topology.cpus) << 12)
        }
        // AMD: extended APIC id, core id with one thread a core, node 0.
        0x8000_001e => {
            e.eax = id;
            e.ebx = id & 0xff;
            e.ecx = 0;
        }
        _ => {}
    }
    e
}

fn set(register: &mut u32, bit: u32, on: bool) {
    *register = (*register & !(1 << bit)) | (u32::from(on) << bit);
}

/// The levels thread, core and end of the extended topology leaves.
fn extended_topology(leaf: u32, cpus: u32, id: u32) -> [kvm_cpuid_entry2; 3] {
    let level = |index: u32, shift: u32, cpus: u32, kind: u32| kvm_cpuid_entry2 {
        function: leaf,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: cpus,
        ecx: index | (kind << 8),
        edx: id,
        ..Default::default()
    };
    [
        level(0, 0, 1, 1),
        level(1, id_bits(cpus), cpus, 2),
        level(2, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests;

//! What CPUID says to the guest: what KVM supports, or what a baseline leaves of it ([`model`]), made true for this machine.
//!
//! The host's topology never shows: every leaf that tells of packages, cores, threads or who shares a cache is made from
//! [`Topology`]. TSC frequency is told by kvm-clock and by leaf 0x4000_0010, because there is no PIT, HPET or PM timer to
//! measure it against.

pub mod model;

use axion_api::vmm::in_force::DisabledExit;
use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::topology::Topology;

/// Leaf that tells TSC and local APIC timer frequency to guests of several hypervisors.
const TIMING_LEAF: u32 = 0x4000_0010;
/// Frequency of KVM's local APIC timer, kHz: one tick a nanosecond.
const LAPIC_TIMER_KHZ: u32 = 1_000_000;
/// `KVM_FEATURE_MSI_EXT_DEST_ID`: interrupts from I/O APIC and MSI reach APIC ids up to 32767
/// (Documentation/virt/kvm/x86/cpuid.rst). KVM leaves it to userspace, whose I/O APIC has to understand it.
const FEATURE_EXTENDED_DESTINATION: u32 = 1 << 15;
/// `KVM_FEATURE_PV_UNHALT`: a vCPU that waits for a lock halts and is woken up. Where HLT does not exit, nothing wakes it.
const FEATURE_PV_UNHALT: u32 = 1 << 7;
/// `KVM_HINTS_REALTIME`: vCPUs are never preempted for long, so that spinning beats yielding.
const HINT_REALTIME: u32 = 1;
/// Leaf 1 ECX: MONITOR and MWAIT.
const MONITOR: u32 = 3;

/// What CPUID is made for.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// The machine's CPUs.
    pub topology: &'a Topology,
    /// TSC frequency in kHz, where KVM knows it.
    pub tsc_khz: Option<u32>,
    /// KVM emulates the TSC deadline timer.
    pub tsc_deadline: bool,
    /// The guest has its CPUs to itself.
    pub dedicated: bool,
    /// What does not leave the guest.
    pub exits_disabled: &'a [DisabledExit],
    /// EAX to EDX of this CPU's own leaf 5, which KVM leaves out, where it has MONITOR.
    pub monitor: Option<[u32; 4]>,
}

/// Leaf 5 of this host's CPU, where it has MONITOR.
pub fn host_monitor() -> Option<[u32; 4]> {
    use std::arch::x86_64::__cpuid;
    let has = __cpuid(0).eax >= 5 && __cpuid(1).ecx & (1 << MONITOR) != 0;
    has.then(|| {
        let leaf = __cpuid(5);
        [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
    })
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
pub fn for_vcpu(supported: &[kvm_cpuid_entry2], machine: Machine<'_>, id: u32) -> Vec<kvm_cpuid_entry2> {
    let highest = |leaf| supported.iter().find(|e| e.function == leaf).map_or(0, |e| e.eax);
    let topology = machine.topology;
    let monitor = machine
        .monitor
        .filter(|_| machine.exits_disabled.contains(&DisabledExit::Mwait));
    let kept = |e: &&kvm_cpuid_entry2| match e.function {
        5 => monitor.is_none(),
        0xb | 0x1f | 0x8000_0026 | TIMING_LEAF => false,
        _ => true,
    };
    let mut entries: Vec<_> = supported
        .iter()
        .filter(kept)
        .map(|entry| adjusted(*entry, &machine, monitor.is_some(), id))
        .collect();
    for leaf in [0xb, 0x1f] {
        let host_has = leaf == 0xb || supported.iter().any(|e| e.function == leaf && e.ebx != 0);
        if highest(0) >= leaf && host_has {
            let levels = [
                (topology.core_shift(), topology.cpus_of_core(), 1),
                (topology.socket_shift(), topology.cpus_of_socket(), 2),
            ];
            entries.extend(extended_topology(leaf, &levels, id));
        }
    }
    if highest(0x8000_0000) >= 0x8000_0026 {
        // AMD (APM volume 3, E.4.24): core, complex (who shares level 3), die, socket.
        let levels = [
            (topology.core_shift(), topology.cpus_of_core(), 1),
            (topology.cache_shift(), topology.cpus_of_cache(), 2),
            (topology.socket_shift(), topology.cpus_of_socket(), 3),
            (topology.socket_shift(), topology.cpus_of_socket(), 4),
        ];
        entries.extend(extended_topology(0x8000_0026, &levels, id));
    }
    if let Some([eax, ebx, ecx, edx]) = monitor {
        entries.push(kvm_cpuid_entry2 {
            function: 5,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        });
    }
    if let Some(khz) = machine.tsc_khz {
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

fn adjusted(mut e: kvm_cpuid_entry2, machine: &Machine<'_>, monitor: bool, id: u32) -> kvm_cpuid_entry2 {
    let topology = machine.topology;
    let last = topology.cpus_of_socket() - 1;
    match e.function {
        0x1 => {
            e.ebx = (e.ebx & 0xffff) | (topology.cpus_of_socket().min(255) << 16) | ((id & 0xff) << 24);
            e.ecx |= 1 << 31; // hypervisor present
            set(&mut e.ecx, 24, machine.tsc_deadline);
            set(&mut e.ecx, MONITOR, monitor);
            set(&mut e.edx, 28, topology.cpus_of_socket() > 1); // several logical CPUs in the package
        }
        // Intel: APIC ids that share the cache, and core ids of the package; both counted with their holes.
        0x4 if e.eax & 0x1f != 0 => {
            let shift = match cache_level(e) {
                ..=2 => topology.core_shift(),
                3 => topology.cache_shift(),
                _ => topology.socket_shift(),
            };
            let cores = id_span(topology.socket_shift() - topology.core_shift()).min(0x3f);
            e.eax = (e.eax & 0x3fff) | (id_span(shift).min(0xfff) << 14) | (cores << 26);
        }
        // AMD: CPUs that share the cache.
        0x8000_001d if e.eax & 0x1f != 0 => {
            let sharers = match cache_level(e) {
                ..=2 => topology.cpus_of_core(),
                3 => topology.cpus_of_cache(),
                _ => topology.cpus_of_socket(),
            };
            e.eax = (e.eax & !(0xfff << 14)) | ((sharers - 1).min(0xfff) << 14);
        }
        0x4000_0000 if machine.tsc_khz.is_some() => e.eax = e.eax.max(TIMING_LEAF),
        0x4000_0001 => {
            e.eax |= FEATURE_EXTENDED_DESTINATION;
            if machine.exits_disabled.contains(&DisabledExit::Hlt) {
                e.eax &= !FEATURE_PV_UNHALT;
            }
            if machine.dedicated {
                e.edx |= HINT_REALTIME;
            }
        }
        // AMD: CPUs of the package and width of their ids. Reserved, and zero, on Intel.
        0x8000_0008 if e.ecx != 0 => {
            e.ecx = (e.ecx & !0xf0ff) | last.min(0xff) | (topology.socket_shift().min(0xf) << 12)
        }
        // AMD: extended APIC id; core id and threads of a core; node, one a socket.
        0x8000_001e => {
            let core = (id & id_span(topology.socket_shift())) >> topology.core_shift();
            e.eax = id;
            e.ebx = (core & 0xff) | ((topology.cpus_of_core() - 1) << 8);
            e.ecx = (id >> topology.socket_shift()) & 0xff;
        }
        _ => {}
    }
    e
}

const fn cache_level(e: kvm_cpuid_entry2) -> u32 {
    (e.eax >> 5) & 7
}

/// The highest of the ids that have `bits` bits.
const fn id_span(bits: u32) -> u32 {
    (1 << bits) - 1
}

fn set(register: &mut u32, bit: u32, on: bool) {
    *register = (*register & !(1 << bit)) | (u32::from(on) << bit);
}

/// An extended topology leaf: its levels (bits of the id below the level's own, CPUs, type), and their end.
fn extended_topology(leaf: u32, levels: &[(u32, u32, u32)], id: u32) -> Vec<kvm_cpuid_entry2> {
    let all = levels.iter().copied().chain([(0, 0, 0)]);
    let entry = |(index, (shift, cpus, kind)): (u32, (u32, u32, u32))| kvm_cpuid_entry2 {
        function: leaf,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: cpus,
        ecx: index | (kind << 8),
        edx: id,
        ..Default::default()
    };
    (0..).zip(all).map(entry).collect()
}

#[cfg(test)]
mod tests;

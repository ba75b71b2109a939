//! CPU models: how much of the host's CPU a guest sees.
//!
//! A baseline is a micro-architecture level of the x86-64 psABI (section 3.1.1, table 3.1). Of what KVM supports, this is left:
//!
//! | what                                                     | why                                                        |
//! |----------------------------------------------------------|------------------------------------------------------------|
//! | the features of the level and of those below it ([`FEATURES`]) | it is what was asked for                             |
//! | what every 64-bit CPU has ([`ALWAYS`], leaf 1)           | operating systems take it for granted                      |
//! | what a guest's kernel runs by: hypervisor bit, x2APIC, TSC deadline, ARAT, invariant TSC, KVM's leaves | time and interrupts of this machine |
//! | what keeps programs out of a guest's kernel: NX, SMEP, SMAP, UMIP, speculation controls | a baseline is for programs, and no reason to be open |
//! | topology, caches, address width, names                   | what the machine is, and no instructions                   |
//!
//! All else is hidden, by bits in these leaves, and by leaving out all others. State components of XSAVE (leaf 0xD) are those
//! of the features that are left, with the size of these; without XSAVE there is no leaf.
//!
//! What is hidden is not always impossible: KVM lets the guest switch on no state of AVX that its leaf 0xD does not have, but a
//! program that uses BMI2 without asking gets it.

use axion_api::vm::GuestCpuModel;
use kvm_bindings::kvm_cpuid_entry2;

/// A register of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Register {
    Ebx,
    Ecx,
    Edx,
}

use Register::{Ebx, Ecx, Edx};

/// A feature of a level: the leaf (and subleaf 0), register and bit that tell of it.
struct Feature {
    name: &'static str,
    level: u8,
    leaf: u32,
    register: Register,
    bit: u32,
}

const fn feature(name: &'static str, level: u8, leaf: u32, register: Register, bit: u32) -> Feature {
    Feature {
        name,
        level,
        leaf,
        register,
        bit,
    }
}

/// Features of the levels, by the names of the psABI. What it calls OSFXSR and OSXSAVE are FXSR and XSAVE, switched on by the
/// operating system; SCE is SYSCALL.
const FEATURES: &[Feature] = &[
    feature("FPU", 1, 1, Edx, 0),
    feature("CX8", 1, 1, Edx, 8),
    feature("CMOV", 1, 1, Edx, 15),
    feature("MMX", 1, 1, Edx, 23),
    feature("FXSR", 1, 1, Edx, 24),
    feature("SSE", 1, 1, Edx, 25),
    feature("SSE2", 1, 1, Edx, 26),
    feature("SYSCALL", 1, 0x8000_0001, Edx, 11),
    feature("LM", 1, 0x8000_0001, Edx, 29),
    feature("SSE3", 2, 1, Ecx, 0),
    feature("SSSE3", 2, 1, Ecx, 9),
    feature("CMPXCHG16B", 2, 1, Ecx, 13),
    feature("SSE4_1", 2, 1, Ecx, 19),
    feature("SSE4_2", 2, 1, Ecx, 20),
    feature("POPCNT", 2, 1, Ecx, 23),
    feature("LAHF-SAHF", 2, 0x8000_0001, Ecx, 0),
    feature("FMA", 3, 1, Ecx, 12),
    feature("MOVBE", 3, 1, Ecx, 22),
    feature("XSAVE", 3, 1, Ecx, 26),
    feature("AVX", 3, 1, Ecx, 28),
    feature("F16C", 3, 1, Ecx, 29),
    feature("BMI1", 3, 7, Ebx, 3),
    feature("AVX2", 3, 7, Ebx, 5),
    feature("BMI2", 3, 7, Ebx, 8),
    feature("LZCNT", 3, 0x8000_0001, Ecx, 5),
    feature("AVX512F", 4, 7, Ebx, 16),
    feature("AVX512DQ", 4, 7, Ebx, 17),
    feature("AVX512CD", 4, 7, Ebx, 28),
    feature("AVX512BW", 4, 7, Ebx, 30),
    feature("AVX512VL", 4, 7, Ebx, 31),
];

/// All bits of a register.
const ALL: u32 = u32::MAX;

/// What is left of the leaves that tell of features, besides those of the level: leaf, subleaf, EAX to EDX.
const ALWAYS: &[(u32, u32, [u32; 4])] = &[
    (
        1,
        0,
        [
            ALL,
            ALL,
            1 << 21 | 1 << 24 | 1 << 31, // x2APIC, TSC deadline, hypervisor
            // VME, DE, PSE, TSC, MSR, PAE, MCE; APIC, SEP, MTRR, PGE, MCA; PAT, PSE-36, CLFSH; several logical CPUs
            0x0000_00fe | 0x0000_7a00 | 0x000b_0000 | 1 << 28,
        ],
    ),
    (6, 0, [1 << 2, 0, 0, 0]), // ARAT
    (
        7,
        0,
        [
            ALL,
            1 << 7 | 1 << 20, // SMEP, SMAP
            1 << 2,           // UMIP
            // MD_CLEAR; IBRS and IBPB, STIBP, L1D_FLUSH, ARCH_CAPABILITIES; SSBD
            1 << 10 | 0xf << 26 | 1 << 31,
        ],
    ),
    (7, 2, [0, 0, 0, 0x3f]), // PSFD, IPRED, RRSBA, DDPD_U, BHI controls; MCDT_NO
    (
        0x8000_0001,
        0,
        [
            ALL,
            ALL,
            1 << 1 | 1 << 22, // CMP legacy, topology extensions
            // NX; what AMD repeats of leaf 1, but for what is a feature of the first level there too
            1 << 20 | 0x0183_f3ff,
        ],
    ),
    (0x8000_0007, 0, [0, 0, 0, 1 << 8]), // invariant TSC
    (
        0x8000_0008,
        0,
        [
            ALL,
            // IBPB; IBRS, STIBP, their always-on, IBRS preferred, in the same mode; SSBD, VIRT_SSBD, SSB_NO; PSFD, BTC_NO
            1 << 12 | 0x3f << 14 | 7 << 24 | 3 << 28,
            ALL,
            0,
        ],
    ),
    // LFENCE serializes, VERW clears, null selector clears base, automatic IBRS; SBPB, IBPB of branch types, SRSO_NO;
    // TSA_SQ_NO, TSA_L1_NO
    (
        0x8000_0021,
        0,
        [1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 7 << 27, 0, 3 << 1, 0],
    ),
];

/// State components of XSAVE by the level that first has them: x87 and SSE, which belong to XSAVE itself, and AVX; masks and
/// both halves of AVX-512's registers.
const COMPONENTS: [(u8, u32); 2] = [(3, 0x7), (4, 0xe0)];
/// Bytes of the XSAVE area that x87, SSE and the header take.
const LEGACY_AREA: u32 = 512 + 64;

/// Leaf of XSAVE's state components.
const XSAVE_LEAF: u32 = 0xd;
/// Linear address bits of a CPU without 5-level paging.
const LINEAR_BITS: u32 = 48;

/// The host's CPU lacks what a model names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cpu_model: {model} is not allowed; KVM on this host's CPU has no {}, which leaves {highest}",
    missing.join(", ")
)]
pub struct MissingFeatures {
    /// The model.
    pub model: GuestCpuModel,
    /// Names of the features, by the psABI.
    pub missing: Vec<&'static str>,
    /// The highest model that the host has.
    pub highest: GuestCpuModel,
}

const fn level(model: GuestCpuModel) -> Option<u8> {
    match model {
        GuestCpuModel::Host => None,
        GuestCpuModel::V2 => Some(2),
        GuestCpuModel::V3 => Some(3),
        GuestCpuModel::V4 => Some(4),
    }
}

/// What is left of `supported` in a guest of `model`.
///
/// # Errors
/// [`MissingFeatures`], where `supported` lacks some of it.
pub fn limited(
    supported: &[kvm_cpuid_entry2],
    model: GuestCpuModel,
) -> Result<Vec<kvm_cpuid_entry2>, MissingFeatures> {
    let Some(level) = level(model) else {
        return Ok(supported.to_vec());
    };
    let missing = missing(supported, level);
    if !missing.is_empty() {
        return Err(MissingFeatures {
            model,
            missing,
            highest: highest(supported),
        });
    }
    let mut left: Vec<_> = supported.iter().filter_map(|entry| kept(*entry, level)).collect();
    let components = components(&left);
    let size = area(&left, components);
    for entry in left.iter_mut().filter(|entry| entry.function == XSAVE_LEAF) {
        if entry.index == 0 {
            // The size of what is switched on is KVM's to tell; at first it is x87 alone.
            (entry.eax, entry.ebx, entry.ecx, entry.edx) = (components, LEGACY_AREA, size, 0);
        }
    }
    for range in [0, 0x8000_0000] {
        let of_range = |entry: &&kvm_cpuid_entry2| entry.function & 0xf000_0000 == range;
        let last = left.iter().filter(of_range).map(|entry| entry.function).max();
        let subleaf = left
            .iter()
            .filter(|entry| entry.function == 7)
            .map(|entry| entry.index)
            .max();
        for entry in &mut left {
            match entry.function {
                7 if entry.index == 0 => entry.eax = subleaf.unwrap_or(0),
                function if function == range => entry.eax = last.unwrap_or(range),
                _ => {}
            }
        }
    }
    Ok(left)
}

/// Features of `level` and those below that `supported` lacks.
fn missing(supported: &[kvm_cpuid_entry2], level: u8) -> Vec<&'static str> {
    let lacks = |feature: &&Feature| {
        let mut leaves = supported.iter();
        let leaf = leaves.find(|entry| entry.function == feature.leaf && entry.index == 0);
        feature.level <= level
            && leaf.is_none_or(|leaf| value(leaf, feature.register) & (1 << feature.bit) == 0)
    };
    FEATURES
        .iter()
        .filter(lacks)
        .map(|feature| feature.name)
        .collect()
}

/// The highest model of which `supported` lacks nothing.
fn highest(supported: &[kvm_cpuid_entry2]) -> GuestCpuModel {
    let has = |model: &GuestCpuModel| level(*model).is_none_or(|level| missing(supported, level).is_empty());
    GuestCpuModel::ALL.into_iter().rev().find(has).unwrap_or_default()
}

const fn value(entry: &kvm_cpuid_entry2, register: Register) -> u32 {
    match register {
        Ebx => entry.ebx,
        Ecx => entry.ecx,
        Edx => entry.edx,
    }
}

/// What is left of an entry in a guest of `level`, where something is.
fn kept(mut entry: kvm_cpuid_entry2, level: u8) -> Option<kvm_cpuid_entry2> {
    match entry.function {
        // Names, caches and TLBs, MONITOR, topology; KVM's own leaves.
        0 | 2 | 4 | 5 | 0xb | 0x1f | 0x4000_0000..=0x4000_00ff => return Some(entry),
        0x8000_0000 | 0x8000_0002..=0x8000_0006 | 0x8000_001d | 0x8000_001e | 0x8000_0026 => {
            return Some(entry);
        }
        XSAVE_LEAF => return kept_state(entry, level),
        _ => {}
    }
    let always = ALWAYS
        .iter()
        .find(|(leaf, index, _)| (*leaf, *index) == (entry.function, entry.index));
    let (_, _, [eax, mut ebx, mut ecx, mut edx]) = *always?;
    let here =
        |feature: &&Feature| feature.level <= level && (feature.leaf, 0) == (entry.function, entry.index);
    for feature in FEATURES.iter().filter(here) {
        let register = match feature.register {
            Ebx => &mut ebx,
            Ecx => &mut ecx,
            Edx => &mut edx,
        };
        *register |= 1 << feature.bit;
    }
    entry.eax &= eax;
    entry.ebx &= ebx;
    entry.ecx &= ecx;
    entry.edx &= edx;
    if entry.function == 0x8000_0008 && (entry.eax >> 8) & 0xff > LINEAR_BITS {
        entry.eax = (entry.eax & !0xff00) | (LINEAR_BITS << 8);
    }
    Some(entry)
}

/// What is left of an entry about XSAVE's state.
fn kept_state(mut entry: kvm_cpuid_entry2, level: u8) -> Option<kvm_cpuid_entry2> {
    let parts = COMPONENTS.iter().filter(|(from, _)| *from <= level);
    let components = parts.fold(0, |all, (_, part)| all | part);
    match entry.index {
        _ if components == 0 => None,
        0 => {
            entry.eax &= components;
            Some(entry)
        }
        // Other ways to save state than XSAVE itself.
        1 => None,
        2..=31 if components & (1 << entry.index) != 0 => Some(entry),
        _ => None,
    }
}

/// The state components that are left.
fn components(left: &[kvm_cpuid_entry2]) -> u32 {
    let mut of_state = left.iter().filter(|entry| entry.function == XSAVE_LEAF);
    let offered = of_state
        .find(|entry| entry.index == 0)
        .map_or(0, |entry| entry.eax);
    let described = left
        .iter()
        .filter(|entry| entry.function == XSAVE_LEAF && entry.index >= 2);
    offered & described.fold(0x3, |all, entry| all | 1 << entry.index)
}

/// Bytes that XSAVE writes with all of `components` switched on.
fn area(left: &[kvm_cpuid_entry2], components: u32) -> u32 {
    let of_state = left.iter().filter(|entry| {
        entry.function == XSAVE_LEAF && entry.index >= 2 && components & (1 << entry.index) != 0
    });
    // EAX is the size and EBX the place of a component (SDM volume 1, 13.2).
    of_state.fold(LEGACY_AREA, |size, entry| {
        size.max(entry.ebx.saturating_add(entry.eax))
    })
}

#[cfg(test)]
mod tests;

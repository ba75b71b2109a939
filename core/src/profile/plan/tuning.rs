//! Settings of the kernel, frequencies, idle states, parameters of KVM and of ZFS's threads.

use super::Draft;
use super::cpu::Division;
use crate::config::{CStates, Governor, Mitigations, NxHugePages, PStates, ProfileMode};
use crate::profile::{Action, Argument, IdleLimit};

/// C1 of every processor is left within this time, deeper states are not.
const SHALLOW_US: u32 = 10;

/// Kernel settings of `hpc`: name, value, why.
const HPC_SETTINGS: [(&str, &str, &str); 2] = [
    (
        "vm.stat_interval",
        "120",
        "counters are folded every two minutes, not every second on every CPU",
    ),
    (
        "vm.compaction_proactiveness",
        "0",
        "memory is not compacted in the background; hugepages are reserved already",
    ),
];

/// What moves or merges pages behind a guest's back, and kernel settings.
pub(super) fn kernel(draft: &mut Draft<'_>) {
    draft.action(
        Action::NumaBalancingOff,
        "it unmaps guests' memory to sample it; placement is decided, not guessed",
    );
    draft.action(Action::KsmOff, "merged pages couple tenants by their timing");
    if draft.mode() == ProfileMode::Hpc {
        let given = &draft.declaration.sysctl;
        for (name, value, why) in HPC_SETTINGS {
            if !given.contains_key(name) {
                let (name, value) = (name.to_owned(), value.to_owned());
                draft.action(Action::Sysctl { name, value }, why);
            }
        }
    }
    declared_settings(draft);
}

/// `[sysctl]` of the config.
pub(super) fn declared_settings(draft: &mut Draft<'_>) {
    for (name, value) in &draft.declaration.sysctl {
        let (name, value) = (name.clone(), value.clone());
        draft.action(Action::Sysctl { name, value }, "the config's `[sysctl]`");
    }
}

/// Frequencies and idle states.
pub(super) fn power(draft: &mut Draft<'_>, division: &Division) {
    governor(draft, division);
    let limit = match (draft.profile().power.c_states, draft.mode()) {
        (CStates::Shallow, _) | (CStates::Auto, ProfileMode::Hpc) => {
            Some(IdleLimit::Microseconds(SHALLOW_US))
        }
        (CStates::Poll, _) => Some(IdleLimit::Zero),
        (CStates::All | CStates::Auto, _) => None,
    };
    if let Some(limit) = limit
        && !division.isolated.is_empty()
    {
        let why = match limit {
            IdleLimit::Microseconds(_) => "a halted vCPU is back within microseconds",
            IdleLimit::Zero => "a halted vCPU is back at once, at the price of its power",
        };
        let cpus = division.isolated.clone();
        match (
            draft.topology.cpu_model.idle_limits,
            draft.profile().power.c_states,
        ) {
            (true, _) => draft.action(Action::IdleLatency { limit, cpus }, why),
            (false, CStates::Auto) => {
                draft.note("this kernel has no limit for idle states of a CPU: all are used")
            }
            (false, _) => draft.refuse(
                "profile.power.c_states",
                "this kernel has no limit for idle states of a CPU (CONFIG_PM)",
                Some("\"all\"".to_owned()),
            ),
        }
    }
    let mode = draft.profile().power.p_states;
    if mode == PStates::Auto {
        return;
    }
    let driver = match draft.topology.cpu_model.vendor.as_str() {
        "GenuineIntel" => "intel_pstate",
        "AuthenticAMD" => "amd_pstate",
        other => {
            let reason = format!("there is no P-state driver for a CPU of `{other}`");
            draft.refuse("profile.power.p_states", reason, Some("\"auto\"".to_owned()));
            return;
        }
    };
    draft.argument(
        Argument::PStates {
            driver: driver.to_owned(),
            mode,
        },
        "as `profile.power.p_states` says",
    );
}

fn governor(draft: &mut Draft<'_>, division: &Division) {
    let (name, given) = match (draft.profile().power.governor, draft.mode()) {
        (Governor::Auto, ProfileMode::Hpc) => ("performance", false),
        (Governor::Auto, ProfileMode::Balanced | ProfileMode::Off) => return,
        (Governor::Performance, _) => ("performance", true),
        (Governor::Powersave, _) => ("powersave", true),
        (Governor::Schedutil, _) => ("schedutil", true),
    };
    let model = &draft.topology.cpu_model;
    if model.governors.iter().any(|governor| governor == name) {
        let governor = name.to_owned();
        let cpus = division.usable.clone();
        draft.action(
            Action::Governor { governor, cpus },
            "no workload waits for a frequency to rise, or as the config says",
        );
    } else if given {
        let possible: Vec<String> = model.governors.iter().map(|name| format!("\"{name}\"")).collect();
        let reason = match &model.frequency_driver {
            Some(driver) => format!("`{driver}` has no governor `{name}`"),
            None => "no driver sets this machine's frequencies, as in most VMs".to_owned(),
        };
        let nearest = if possible.is_empty() {
            "\"auto\"".to_owned()
        } else {
            possible.join(" or ")
        };
        draft.refuse("profile.power.governor", reason, Some(nearest));
    } else {
        draft.note("no driver sets this machine's frequencies: there is no governor to choose");
    }
}

/// Parameters of KVM and of ZFS's threads, and the modules that the config asks for.
pub(super) fn modules(draft: &mut Draft<'_>, division: &Division) {
    let parameter = match draft.topology.cpu_model.virtualization.as_deref() {
        Some("vmx") => Some(("kvm_intel", "ple_gap")),
        Some("svm") => Some(("kvm_amd", "pause_filter_count")),
        _ => None,
    };
    if let Some((module, name)) = parameter
        && draft.mode() == ProfileMode::Hpc
        && !division.isolated.is_empty()
    {
        draft.action(
            Action::ModuleParameter {
                module: module.to_owned(),
                name: name.to_owned(),
                value: "0".to_owned(),
                live: false,
            },
            "a spinning vCPU has its core to itself: leaving the guest would give way to nobody",
        );
    }
    nx_huge_pages(draft);
    halt_polling(draft, division);
    if !division.isolated.is_empty() {
        draft.action(
            Action::ModuleParameter {
                module: "spl".to_owned(),
                name: "spl_taskq_thread_dynamic".to_owned(),
                value: "0".to_owned(),
                live: true,
            },
            "ZFS's threads all begin with their pool, and are moved off the isolated CPUs then",
        );
    }
    declared_modules(draft);
}

/// Large pages of guests, which a mitigation splits wherever a guest runs code. Off by itself only where the processor needs none:
/// on others a guest could halt the machine.
fn nx_huge_pages(draft: &mut Draft<'_>) {
    let affected = draft.topology.cpu_model.itlb_multihit;
    let trusted = draft.profile().cpu.mitigations == Mitigations::Off;
    let (value, why) = match draft.profile().kvm.nx_huge_pages {
        NxHugePages::Auto if affected == Some(false) => (
            "N",
            "this CPU is not affected by iTLB multihit: guests' code keeps its large pages",
        ),
        NxHugePages::Auto => return,
        NxHugePages::On => ("Y", "as `profile.kvm.nx_huge_pages` says"),
        NxHugePages::Off if affected == Some(false) || trusted => {
            ("N", "as `profile.kvm.nx_huge_pages` says")
        }
        NxHugePages::Off => {
            let reason = if affected.is_some() {
                "this CPU is affected by iTLB multihit: a guest could halt the machine"
            } else {
                "the kernel does not say whether this CPU is affected by iTLB multihit, by which a guest could halt the machine"
            };
            let nearest = "\"auto\", or `profile.cpu.mitigations = \"off\"` where every guest is trusted";
            draft.refuse("profile.kvm.nx_huge_pages", reason, Some(nearest.to_owned()));
            return;
        }
    };
    kvm(draft, "nx_huge_pages", value.to_owned(), why);
}

/// How long KVM spins for a halted vCPU. Dedicated VMs do not halt, or say by themselves how long (`KVM_CAP_HALT_POLL`), so that
/// this is about shared ones: in `hpc` they are on the host's few CPUs, where spinning takes from the host and from each other. In
/// `balanced` the kernel's own limit stays: it spins no longer than that, and not while another thread wants the CPU.
fn halt_polling(draft: &mut Draft<'_>, division: &Division) {
    let (us, why) = match (draft.profile().kvm.halt_poll_us, draft.mode()) {
        (Some(us), _) => (us, "as `profile.kvm.halt_poll_us` says"),
        (None, ProfileMode::Hpc) if !division.isolated.is_empty() => (
            0,
            "shared VMs are on the host's CPUs: one that waits gives its CPU away at once",
        ),
        (None, _) => return,
    };
    kvm(draft, "halt_poll_ns", (u64::from(us) * 1000).to_string(), why);
}

fn kvm(draft: &mut Draft<'_>, name: &str, value: String, why: &str) {
    draft.action(
        Action::ModuleParameter {
            module: "kvm".to_owned(),
            name: name.to_owned(),
            value,
            live: true,
        },
        why,
    );
}

/// `modules` of the config.
pub(super) fn declared_modules(draft: &mut Draft<'_>) {
    for name in &draft.declaration.modules {
        let name = name.clone();
        draft.action(Action::LoadModule { name }, "the config's `modules`");
    }
}

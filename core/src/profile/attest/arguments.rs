//! Kernel arguments: given on `/proc/cmdline`, and what the kernel made of them.

use std::collections::BTreeMap;

use super::{Finding, Item, Probe};
use crate::config::{Mitigations, PStates};
use crate::profile::{Argument, IommuMode, Plan, PlannedArgument, Restart, line};
use crate::secure_boot::SecureBoot;
use crate::threads::Thread;
use crate::topology::{CpuSet, IommuKind, read};

/// Where the kernel says what it does about each fault (Documentation/admin-guide/hw-vuln).
const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
/// Of these, nothing is mitigated by hardware alone: `mitigations=off` leaves them open where the CPU has them.
const BY_SOFTWARE: [&str; 3] = ["meltdown", "spectre_v2", "mds"];
/// The slot of an installed disk that was started, on the kernel command line.
const SLOT: &str = "axion.slot";

fn item_key(argument: &Argument) -> String {
    let name = match argument {
        Argument::IsolatedCpus { .. } => "isolcpus",
        Argument::NohzFull { .. } => "nohz_full",
        Argument::RcuNocbs { .. } => "rcu_nocbs",
        Argument::IrqAffinity { .. } => "irqaffinity",
        Argument::Iommu { .. } => "iommu",
        Argument::Mitigations { .. } => "mitigations",
        Argument::PStates { .. } => "p-states",
        Argument::Hugepages { page_size, .. } => return format!("cmdline.hugepages.{page_size}"),
    };
    format!("cmdline.{name}")
}

pub(super) fn item(probe: &Probe<'_>, plan: &Plan, planned: &PlannedArgument) -> Item {
    let argument = &planned.argument;
    let desired = match argument {
        Argument::IsolatedCpus { cpus }
        | Argument::NohzFull { cpus }
        | Argument::RcuNocbs { cpus }
        | Argument::IrqAffinity { cpus } => cpus.to_string(),
        _ => planned.text.clone(),
    };
    let finding = if line::has(&probe.cmdline, argument) {
        in_force(probe, argument, &desired)
    } else {
        missing(probe, plan, planned)
    };
    super::item(item_key(argument), desired, finding)
}

/// The kernel was not given it.
fn missing(probe: &Probe<'_>, plan: &Plan, planned: &PlannedArgument) -> Finding {
    let given = line::given(&probe.cmdline, &planned.argument);
    if plan.restart == Restart::Reboot && !probe.cmdline.contains(SLOT) {
        let fix = if SecureBoot::read(probe.root).is_on() {
            "say `profile.restart = \"kexec\"`: under Secure Boot the kernel takes no arguments from a loader, so that a restart of \
             the machine brings none"
                .to_owned()
        } else {
            format!(
                "give `{}` to the loader by hand: this machine is not started again by kexec (`profile.restart`), and what it was \
                 started from keeps no arguments; an installed disk does",
                planned.text
            )
        };
        return Finding::impossible(given, fix);
    }
    let fix = if given == "not given" {
        format!("reboot: the kernel takes `{}` only at its start", planned.text)
    } else {
        format!("take `{given}` off the loader's command line, then reboot")
    };
    Finding::needs_reboot(given, fix)
}

/// The kernel was given it: has it done so?
fn in_force(probe: &Probe<'_>, argument: &Argument, desired: &str) -> Finding {
    match argument {
        Argument::IsolatedCpus { cpus } => set(probe, "isolated", cpus, "CONFIG_CPU_ISOLATION"),
        Argument::NohzFull { cpus } => set(probe, "nohz_full", cpus, "CONFIG_NO_HZ_FULL"),
        Argument::Iommu { iommu, mode } => translation(probe, *iommu, *mode),
        Argument::RcuNocbs { cpus } => offloaded(probe, cpus, desired),
        Argument::Mitigations { policy } => mitigations(probe, *policy, desired),
        Argument::PStates { driver, mode } => p_states(probe, driver, *mode),
        Argument::IrqAffinity { .. } | Argument::Hugepages { .. } => Finding::ok(desired),
    }
}

/// CPUs whose callbacks run elsewhere have a thread for them, `rcuop/3`; nothing else of the kernel shows it.
fn offloaded(probe: &Probe<'_>, wanted: &CpuSet, desired: &str) -> Finding {
    let threads = probe.threads();
    if !threads.iter().any(|thread| thread.kernel) {
        return Finding::ok(desired);
    }
    let cpu = |thread: &Thread| {
        let (kind, cpu) = thread.name.split_once('/')?;
        ["rcuop", "rcuos"].contains(&kind).then(|| cpu.parse().ok())?
    };
    let offloaded: CpuSet = threads.iter().filter_map(cpu).collect();
    let online = probe.cpus("/sys/devices/system/cpu/online").unwrap_or_default();
    let missing = wanted.intersection(&online).difference(&offloaded);
    if missing.is_empty() {
        Finding::ok(desired)
    } else {
        Finding::impossible(
            format!("callbacks of {missing} run there"),
            "boot a kernel with CONFIG_RCU_NOCB_CPU; its log says what it took (`axctl host logs`)",
        )
    }
}

/// Each fault and what the kernel says of it.
fn mitigations(probe: &Probe<'_>, policy: Mitigations, desired: &str) -> Finding {
    let faults = read::entries(probe.path(VULNERABILITIES));
    let faults: BTreeMap<String, String> = faults
        .into_iter()
        .filter_map(|(fault, path)| Some((fault, read::text(path)?)))
        .collect();
    let of = |wrong: &dyn Fn(&str, &str) -> bool| {
        let found = faults.iter().filter(|(fault, state)| wrong(fault, state));
        let found: Vec<String> = found.map(|(fault, state)| format!("{fault}: {state}")).collect();
        found.join("; ")
    };
    let (wrong, fix) = match policy {
        Mitigations::Kernel => (String::new(), ""),
        Mitigations::Off => (
            of(&|fault, state| BY_SOFTWARE.contains(&fault) && state.starts_with("Mitigation")),
            "the kernel keeps a mitigation; its log says why (`axctl host logs`)",
        ),
        Mitigations::AutoNosmt => (
            of(&|_, state| state.starts_with("Vulnerable") || state.contains("SMT vulnerable")),
            "newer microcode (a firmware update), or a newer kernel",
        ),
    };
    if wrong.is_empty() {
        Finding::ok(desired)
    } else {
        Finding::impossible(wrong, fix)
    }
}

/// What the driver says that it does.
fn p_states(probe: &Probe<'_>, driver: &str, mode: PStates) -> Finding {
    let wanted = match (mode, driver) {
        (PStates::Active, _) => "active",
        (PStates::Passive, _) => "passive",
        (PStates::Off, "amd_pstate") => "disable",
        (PStates::Off | PStates::Auto, _) => "off",
    };
    let file = format!("/sys/devices/system/cpu/{driver}/status");
    match probe.text(&file) {
        Some(status) if status == wanted => Finding::ok(status),
        // A driver that was switched off early has no file.
        None if mode == PStates::Off => Finding::ok("not used"),
        None => Finding::impossible(
            format!("{driver} is not used"),
            "the CPU or the firmware's setup does not offer what the driver needs (HWP, CPPC)",
        ),
        Some(status) => Finding::impossible(
            status,
            format!("the driver did not take it; the kernel log says why, or write {wanted} to {file}"),
        ),
    }
}

/// A set of CPUs that the kernel shows. CPUs that are offline now do not count: it masks some sets by them.
fn set(probe: &Probe<'_>, file: &str, wanted: &CpuSet, symbol: &str) -> Finding {
    let path = format!("/sys/devices/system/cpu/{file}");
    let Some(effective) = probe.cpus(&path) else {
        return Finding::impossible("unknown to this kernel", format!("boot a kernel with {symbol}"));
    };
    let online = probe.cpus("/sys/devices/system/cpu/online").unwrap_or_default();
    let same = effective == *wanted || effective.intersection(&online) == wanted.intersection(&online);
    let text = if effective.is_empty() {
        "none".to_owned()
    } else {
        effective.to_string()
    };
    if same {
        Finding::ok(text)
    } else {
        Finding::impossible(
            text,
            "the kernel did not accept the argument; its log says why (`axctl host logs`)",
        )
    }
}

/// Kinds of domain that the host's devices get.
fn domains(mode: IommuMode) -> &'static [&'static str] {
    match mode {
        IommuMode::Off => &[],
        IommuMode::On => &["DMA", "DMA-FQ"],
        IommuMode::Passthrough => &["identity"],
    }
}

fn translation(probe: &Probe<'_>, iommu: IommuKind, mode: IommuMode) -> Finding {
    let units = read::entries(probe.path("/sys/class/iommu")).len();
    let groups = read::numbered(probe.path("/sys/kernel/iommu_groups"), "");
    let kinds: Vec<(u32, String)> = groups
        .iter()
        .filter_map(|(group, path)| Some((*group, read::text(path.join("type"))?)))
        .collect();
    let effective = if units == 0 {
        "off".to_owned()
    } else {
        let mut seen: Vec<&str> = kinds.iter().map(|(_, kind)| kind.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        let seen = if seen.is_empty() {
            "unknown".to_owned()
        } else {
            seen.join(", ")
        };
        format!("{units} units, {} groups ({seen})", groups.len())
    };
    match (mode, units) {
        (IommuMode::Off, 0) => Finding::ok(effective),
        (IommuMode::Off, _) => Finding::impossible(effective, "the kernel keeps it on; its log says why"),
        (IommuMode::On | IommuMode::Passthrough, 0) => {
            let setup = match iommu {
                IommuKind::Intel => "switch VT-d on in the firmware's setup",
                IommuKind::Amd => "switch AMD-Vi (IOMMU) on in the firmware's setup",
                IommuKind::Virtio => "give this VM a virtio-iommu that covers its devices",
            };
            Finding::impossible(effective, setup)
        }
        (IommuMode::On | IommuMode::Passthrough, _) => {
            let wanted = domains(mode);
            let others = kinds.iter().filter(|(_, kind)| !wanted.contains(&kind.as_str()));
            let others: CpuSet = others.map(|(group, _)| *group).collect();
            if others.is_empty() {
                return Finding::ok(effective);
            }
            let fix = format!(
                "groups {others} are not {}: the kernel has a reason of its own (memory encryption, an external device), which \
                 its log says",
                wanted.join(" or ")
            );
            Finding::impossible(effective, fix)
        }
    }
}

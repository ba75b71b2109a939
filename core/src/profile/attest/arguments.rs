//! Kernel arguments: given on `/proc/cmdline`, and what the kernel made of them.

use super::{Finding, Item, Probe};
use crate::profile::{Argument, IommuMode, PlannedArgument, line};
use crate::topology::{CpuSet, IommuKind, read};

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

pub(super) fn item(probe: &Probe<'_>, planned: &PlannedArgument) -> Item {
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
        missing(probe, planned)
    };
    super::item(item_key(argument), desired, finding)
}

/// The kernel was not given it.
fn missing(probe: &Probe<'_>, planned: &PlannedArgument) -> Finding {
    let given = line::given(&probe.cmdline, &planned.argument);
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
        Argument::RcuNocbs { .. }
        | Argument::IrqAffinity { .. }
        | Argument::Mitigations { .. }
        | Argument::PStates { .. }
        | Argument::Hugepages { .. } => Finding::ok(desired),
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

fn translation(probe: &Probe<'_>, iommu: IommuKind, mode: IommuMode) -> Finding {
    let units = read::entries(probe.path("/sys/class/iommu")).len();
    let groups = read::entries(probe.path("/sys/kernel/iommu_groups"));
    let effective = if units == 0 {
        "off".to_owned()
    } else {
        let first = groups.first().and_then(|(_, path)| read::text(path.join("type")));
        let kind = first.unwrap_or_else(|| "unknown".to_owned());
        format!("{units} units, {} groups ({kind})", groups.len())
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
        (IommuMode::On | IommuMode::Passthrough, _) => Finding::ok(effective),
    }
}

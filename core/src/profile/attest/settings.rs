//! Settings of the kernel: hugepages, CPUs, cgroups, modules.

use super::{Finding, Probe};
use crate::config::PageSize;
use crate::profile::action::pages;
use crate::profile::{NodePages, PartitionKind, sysctl_file};
use crate::topology::CpuSet;

pub(super) fn smt(probe: &Probe<'_>, on: bool) -> Finding {
    const FILE: &str = "/sys/devices/system/cpu/smt/control";
    let control = probe.text(FILE).unwrap_or_else(|| "notimplemented".to_owned());
    match (control.as_str(), on) {
        ("notsupported" | "notimplemented", true) => Finding::impossible(
            control,
            "switch multithreading on in the firmware's setup, if the CPU has it",
        ),
        ("forceoff", true) => {
            Finding::needs_reboot(control, "take `nosmt=force` off the kernel command line, reboot")
        }
        ("notsupported" | "notimplemented" | "forceoff", false) => Finding::ok("off"),
        (word, _) => Finding::compared((word == "on") == on, word, FILE),
    }
}

/// A switch that a kernel without the feature does not have.
pub(super) fn off_or_absent(probe: &Probe<'_>, file: &str) -> Finding {
    match probe.text(file) {
        None => Finding::ok("off (not in this kernel)"),
        Some(value) if value == "0" => Finding::ok("off"),
        Some(value) => Finding::drifted(format!("on ({value})"), format!("write 0 to {file}")),
    }
}

pub(super) fn sysctl(probe: &Probe<'_>, name: &str, wanted: &str) -> Finding {
    let file = sysctl_file(name).unwrap_or_default();
    if !probe.exists(&file) {
        return Finding::impossible(
            "not in this kernel",
            format!("take `{name}` out of `[sysctl]`, or load its module"),
        );
    }
    // A setting of several values has tabs between them when it is read.
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match probe.text(&file) {
        Some(effective) => Finding::compared(
            words(&effective) == words(wanted),
            words(&effective).join(" "),
            &file,
        ),
        None if wanted.trim().is_empty() => Finding::ok("empty"),
        None => Finding::drifted("empty or write-only", format!("write {file}")),
    }
}

pub(super) fn hugepages(probe: &Probe<'_>, size: PageSize, wanted: &[NodePages]) -> Finding {
    let kib = size.bytes() >> 10;
    let mut effective = Vec::new();
    let (mut free, mut short) = (0u64, Vec::new());
    for want in wanted {
        let pool = format!("hugepages/hugepages-{kib}kB");
        let numa = format!("/sys/devices/system/node/node{}/{pool}", want.node);
        let whole = format!("/sys/kernel/mm/{pool}");
        let directory = if probe.exists(&numa) || want.node > 0 {
            numa
        } else {
            whole
        };
        let number = |file: &str| probe.text(&format!("{directory}/{file}"))?.parse::<u64>().ok();
        let Some(pages) = number("nr_hugepages") else {
            return Finding::impossible(
                format!("no pages of {size} on node {}", want.node),
                "the kernel has no pools of that size there",
            );
        };
        free += number("free_hugepages").unwrap_or_default();
        if pages < want.pages {
            short.push(want.node.to_string());
        }
        effective.push(NodePages {
            node: want.node,
            pages,
        });
    }
    let text = format!("{} ({free} free)", pages(&effective));
    if effective == wanted {
        return Finding::ok(text);
    }
    let nodes = short.join(", ");
    match size {
        _ if short.is_empty() => Finding::drifted(text, "write nr_hugepages of the nodes"),
        PageSize::TwoMiB => Finding::drifted(
            text,
            format!("free memory on node {nodes}, then write nr_hugepages; or reboot"),
        ),
        PageSize::OneGiB => Finding::needs_reboot(
            text,
            format!("reboot: node {nodes} has too little memory in one piece for pages of {size}"),
        ),
    }
}

pub(super) fn transparent_hugepages(probe: &Probe<'_>, wanted: &str) -> Finding {
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Some(text) = probe.text(FILE) else {
        return match wanted {
            "never" => Finding::ok("never (not in this kernel)"),
            _ => Finding::impossible(
                "not in this kernel",
                "boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE",
            ),
        };
    };
    // `always [madvise] never`
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_owned();
    Finding::compared(chosen == wanted, &chosen, FILE)
}

pub(super) fn workqueues(probe: &Probe<'_>, wanted: &CpuSet) -> Finding {
    const FILE: &str = "/sys/devices/virtual/workqueue/cpumask";
    match probe.text(FILE).as_deref().and_then(CpuSet::from_mask) {
        None => Finding::impossible("not in this kernel", "the kernel does not show its work queues"),
        Some(cpus) => Finding::compared(cpus == *wanted, format!("on {cpus}"), FILE),
    }
}

/// Where a cgroup's processes may run. A set within what was planned is as good: a partition may have taken of it.
pub(super) fn cpuset(probe: &Probe<'_>, cgroup: &str, wanted: &CpuSet) -> Finding {
    let file = format!("/sys/fs/cgroup/{cgroup}/cpuset.cpus");
    match probe.cpus(&format!("{file}.effective")) {
        None => Finding::drifted(
            "no such cgroup with a cpuset",
            format!("make /sys/fs/cgroup/{cgroup} with the cpuset controller"),
        ),
        Some(cpus) => Finding::compared(
            !cpus.is_empty() && cpus.is_subset(wanted),
            format!("on {cpus}"),
            &file,
        ),
    }
}

pub(super) fn partition(probe: &Probe<'_>, cgroup: &str, wanted: &CpuSet, kind: PartitionKind) -> Finding {
    let directory = format!("/sys/fs/cgroup/{cgroup}");
    let Some(state) = probe.text(&format!("{directory}/cpuset.cpus.partition")) else {
        return Finding::drifted(
            "no such cgroup with a cpuset",
            format!("make {directory} with the cpuset controller"),
        );
    };
    let cpus = probe
        .cpus(&format!("{directory}/cpuset.cpus.effective"))
        .unwrap_or_default();
    // An invalid partition says why behind its kind: `root invalid (reason)`.
    let same = state == kind.word() && cpus == *wanted;
    Finding::compared(
        same,
        format!("{state} {cpus}"),
        &format!("{directory}/cpuset.cpus.partition"),
    )
}

/// A file of each CPU; those of CPUs that are offline are not asked.
pub(super) fn per_cpu(probe: &Probe<'_>, cpus: &CpuSet, file: &str, wanted: &str) -> Finding {
    let online = probe.cpus("/sys/devices/system/cpu/online").unwrap_or_default();
    let (mut right, mut wrong, mut missing) = (0usize, Vec::new(), Vec::new());
    let mut seen = String::new();
    for cpu in cpus.intersection(&online).iter() {
        match probe.text(&format!("/sys/devices/system/cpu/cpu{cpu}/{file}")) {
            None => missing.push(cpu),
            Some(value) if value == wanted => right += 1,
            Some(value) => {
                seen = value;
                wrong.push(cpu);
            }
        }
    }
    if let [_, ..] = missing.as_slice() {
        let missing = CpuSet::from_iter(missing);
        return Finding::impossible(
            format!("unknown on {missing}"),
            format!("no driver offers {file} there"),
        );
    }
    if wrong.is_empty() {
        return Finding::ok(format!("{wanted} on {right} CPUs"));
    }
    let wrong = CpuSet::from_iter(wrong);
    Finding::drifted(
        format!("{seen} on {wrong}"),
        format!("write {file} of CPU {wrong}"),
    )
}

/// Period of the deadline server that lends time to ordinary threads. A kernel without it has no such file, and a locked one
/// does not show it.
pub(super) fn fair_server(probe: &Probe<'_>, wanted_ns: u64, cpus: &CpuSet) -> Finding {
    let seconds = |ns: u64| ns / 1_000_000_000;
    let period = |cpu: u32| -> Option<u64> {
        let file = format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/period");
        probe.text(&file)?.parse().ok()
    };
    let others: CpuSet = cpus
        .iter()
        .filter(|cpu| period(*cpu).is_some_and(|ns| ns != wanted_ns))
        .collect();
    if let Some(ns) = others.first().and_then(period) {
        let effective = format!("each {} s on {others}", seconds(ns));
        return Finding::needs_reboot(effective, "reboot: it is set before anything runs there");
    }
    if cpus.first().and_then(period).is_some() {
        Finding::ok(format!("each {} s on {cpus}", seconds(wanted_ns)))
    } else {
        Finding::ok("this kernel shows none")
    }
}

/// sysfs has `-` in a module's name as `_`.
fn directory(module: &str) -> String {
    format!("/sys/module/{}", module.replace('-', "_"))
}

pub(super) fn parameter(probe: &Probe<'_>, module: &str, name: &str, wanted: &str, live: bool) -> Finding {
    let directory = directory(module);
    if !probe.exists(&directory) {
        return Finding::ok("given when the module is loaded");
    }
    let file = format!("{directory}/parameters/{name}");
    match probe.text(&file) {
        None => Finding::impossible(
            "unknown to the module",
            format!("this {module} has no parameter {name}"),
        ),
        Some(value) if value == wanted => Finding::ok(value),
        Some(value) if live => Finding::drifted(value, format!("write {wanted} to {file}")),
        Some(value) => Finding::needs_reboot(
            value,
            format!("reboot: {module} takes {name} only when it is loaded"),
        ),
    }
}

pub(super) fn module(probe: &Probe<'_>, name: &str) -> Finding {
    if probe.exists(&directory(name)) {
        return Finding::ok("loaded");
    }
    // A module that is built in and has no parameters has no directory.
    let release = probe.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let builtin = probe
        .text(&format!("/lib/modules/{release}/modules.builtin"))
        .unwrap_or_default();
    let same = |line: &str| {
        let file = line.rsplit('/').next().unwrap_or_default();
        file.strip_suffix(".ko")
            .is_some_and(|module| module.replace('-', "_") == name.replace('-', "_"))
    };
    if builtin.lines().any(same) {
        Finding::ok("built in")
    } else {
        Finding::drifted(
            "not loaded",
            format!("load {name}; `axctl host logs` says why it was not"),
        )
    }
}

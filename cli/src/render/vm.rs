//! Virtual machines.

use axion_api::vm::{
    ConsoleKind, DesiredState, HugepageSize, RestartPolicy, Scheduling, Vm, VmDisk, VmSpec, VmState,
};
use axion_api::vmm::{ResetCause, Resets, VSOCK_SOCKET};
use axion_core::paths::VMS_RUN;
use axion_core::placement::{NumaPolicy, VmThreads};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, age, capacity, fields, moment, or_dash, placement, sandbox};

/// What a state means.
pub const fn tone(state: VmState) -> Tone {
    match state {
        VmState::Running => Tone::Good,
        VmState::Starting | VmState::Stopping | VmState::Paused => Tone::Warning,
        VmState::Failed => Tone::Bad,
        VmState::Stopped => Tone::Faint,
    }
}

const fn hugepages(size: HugepageSize) -> &'static str {
    match size {
        HugepageSize::None => "none",
        HugepageSize::TwoMiB => "2MiB",
        HugepageSize::OneGiB => "1GiB",
    }
}

/// What was asked for of CPUs and their nodes.
fn cpus(spec: &VmSpec) -> String {
    let mut text = spec.cpus.to_string();
    let threads = match spec.threads {
        VmThreads::Auto => None,
        VmThreads::All => Some("every thread of a core".to_owned()),
        VmThreads::One => Some("one thread of a core".to_owned()),
    };
    let nodes: Vec<String> = spec.nodes.iter().map(ToString::to_string).collect();
    let asked = [
        threads,
        (spec.scheduling == Scheduling::Fifo).then(|| "fifo".to_owned()),
        (spec.numa == NumaPolicy::Spread).then(|| "may be spread".to_owned()),
        (!nodes.is_empty()).then(|| format!("of node {}", nodes.join(" or "))),
        spec.cpu_weight.map(|weight| format!("weight {weight}")),
        spec.cpu_limit.map(|limit| format!("at most {limit} %")),
    ];
    for asked in asked.into_iter().flatten() {
        text = format!("{text}, {asked}");
    }
    text
}

/// Why it stands still, or why it last ended.
pub fn detail(vm: &Vm) -> Option<String> {
    let pause = vm.status.pause.as_ref().map(ToString::to_string);
    pause.or_else(|| vm.status.exit.clone())
}

/// One line about a disk.
fn disk(index: usize, disk: &VmDisk) -> String {
    let what = match (&disk.volume, &disk.image) {
        (Some(volume), _) => format!("volume {volume}"),
        (None, image) => format!("image {}", or_dash(image.as_ref())),
    };
    let read_only = if disk.read_only || disk.image.is_some() {
        ", read-only"
    } else {
        ""
    };
    let serial = disk.serial.as_ref().map(|serial| format!(", serial {serial}"));
    format!("{index}: {what}{read_only}{}", serial.unwrap_or_default())
}

/// Resets since the start by cause, and the last one; nothing where there was none.
fn resets(resets: &Resets) -> Option<String> {
    let last = resets.last?;
    let counted = ResetCause::ALL.into_iter().filter(|cause| resets.of(*cause) > 0);
    let counted: Vec<String> = counted
        .map(|cause| format!("{} {}", resets.of(cause), cause.name()))
        .collect();
    Some(format!("{}; the last by {}", counted.join(", "), last.name()))
}

/// All VMs, one a line.
pub fn list(vms: &[Vm], now_us: u64, style: &Style) -> String {
    if vms.is_empty() {
        return "No VMs. `axctl vm run NAME` makes one.\n".to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("STATE"),
        right("FOR"),
        right("CPUS"),
        right("MEMORY"),
        shrinking("DETAIL"),
    ]);
    for vm in vms {
        table.row([
            (&vm.name).into(),
            Cell::new(vm.status.state.to_string(), tone(vm.status.state)),
            age(now_us, vm.status.since_unix_us).into(),
            vm.spec.cpus.to_string().into(),
            vm.memory().to_string().into(),
            detail(vm).unwrap_or_default().into(),
        ]);
    }
    table.render(style)
}

/// What became of its memory.
pub fn resized(vm: &Vm) -> String {
    let Some(memory) = &vm.status.memory else {
        return String::new();
    };
    match memory.present {
        Some(present) if present == memory.wanted => format!("{} has {present}.\n", vm.name),
        Some(present) => format!(
            "{} has {present} and is asked to have {}.\n",
            vm.name, memory.wanted
        ),
        None => format!("{} has {} from its next start on.\n", vm.name, memory.wanted),
    }
}

/// One VM, a field a line.
pub fn show(vm: &Vm, style: &Style) -> String {
    let desired = match vm.desired {
        DesiredState::Running => "running",
        DesiredState::Stopped => "stopped",
    };
    let restart = match vm.spec.restart {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on-failure",
    };
    let mut rows = vec![
        ("Name", vm.name.clone()),
        (
            "State",
            format!("{} since {}", vm.status.state, moment(vm.status.since_unix_us)),
        ),
        ("Wanted", desired.to_owned()),
        ("Process", or_dash(vm.status.pid)),
    ];
    if let Some(pause) = &vm.status.pause {
        rows.push(("Paused", pause.to_string()));
    }
    if let Some(text) = vm.status.resets.as_ref().and_then(resets) {
        rows.push(("Resets", text));
    }
    rows.extend([
        ("Last exit", or_dash(vm.status.exit.as_ref())),
        ("Class", capacity::class(vm.spec.class).to_owned()),
        ("CPUs", cpus(&vm.spec)),
        ("CPU model", vm.spec.cpu_model.to_string()),
        (
            "Memory",
            format!("{}, hugepages {}", vm.spec.memory, hugepages(vm.spec.hugepages)),
        ),
    ]);
    if let Some(memory) = &vm.status.memory {
        let present = or_dash(memory.present);
        let most = vm.spec.memory_max.unwrap_or(memory.wanted);
        let text = format!(
            "{present} of {} that it is to have; up to {most} by steps of {}",
            memory.wanted, memory.block
        );
        rows.push(("Present", text));
    }
    rows.extend(vm.status.placement.iter().flat_map(placement::rows));
    rows.extend(vm.status.in_force.iter().flat_map(placement::in_force));
    rows.extend(vm.status.in_force.iter().flat_map(sandbox::rows));
    rows.extend([
        ("Kernel", vm.spec.boot.kernel.0.clone()),
        ("Initrd", vm.spec.boot.initrd.0.clone()),
        (
            "Cmdline",
            or_dash(Some(&vm.spec.boot.cmdline).filter(|text| !text.is_empty())),
        ),
    ]);
    let disks = vm.spec.disks.iter().enumerate();
    rows.extend(disks.map(|(index, wanted)| ("Disk", disk(index, wanted))));
    let nets = vm.status.nets.iter().enumerate();
    rows.extend(nets.map(|(index, net)| {
        let text = format!("{index}: {}, {}, tap {}", net.network, net.mac, net.tap);
        ("Net", text)
    }));
    if vm.spec.console == ConsoleKind::Virtio {
        rows.push(("Console", "virtio (hvc0)".to_owned()));
    }
    if let Some(vsock) = &vm.spec.vsock {
        let text = format!("CID {}, {VMS_RUN}/{}/{VSOCK_SOCKET}", vsock.cid, vm.name);
        rows.push(("Vsock", text));
    }
    if let Some(balloon) = &vm.spec.balloon {
        let reporting = if balloon.free_page_reporting {
            ", free pages go back"
        } else {
            ""
        };
        rows.push(("Balloon", format!("{} at the start{reporting}", balloon.size)));
    }
    if let Some(told) = &vm.spec.cloud_init {
        rows.push((
            "Cloud-init",
            format!("{} bytes of user-data", told.user_data.len()),
        ));
    }
    rows.extend([
        ("Restart", restart.to_owned()),
        ("Revision", vm.revision.to_string()),
    ]);
    fields(&rows, style)
}

//! The node itself.

use axion_api::host::{BootReport, Host, HostConfig, Phase, Process, UnitState, UnitStatus};
use axion_api::init::Outcome;
use axion_api::recovery::ResetPlan;
use axion_core::secure_boot::{SecureBoot, SecureBootState};
use axion_core::topology::Topology;

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, age, bytes, fields, milliseconds, moment, or_dash, plain};

const GIB: u64 = 1 << 30;
const TWO_MIB: u64 = 2 << 20;

/// The node: identity, then hardware.
pub fn show(host: &Host, style: &Style) -> String {
    let clock = if host.time_synchronized {
        "in step by NTP"
    } else {
        "as the RTC had it (no NTP yet)"
    };
    let state = match &host.state_lock {
        Some(lock) => lock.to_string(),
        None if host.persistent_state => "on disk".to_owned(),
        None => "in memory: it is gone after a reboot".to_owned(),
    };
    let mut text = fields(
        &[
            ("Host", host.hostname.clone()),
            ("Axion", format!("{} on Linux {}", host.version, host.kernel)),
            ("Network", host.addresses.join(" ")),
            ("CA", host.ca_fingerprint.clone()),
            ("Machine", host.machine_id.clone()),
            ("Boot", host.boot_id.clone()),
            ("Up for", age(host.uptime_seconds.saturating_mul(1_000_000), 0)),
            ("Clock", clock.to_owned()),
            ("State", state),
            ("UEFI", firmware(host.secure_boot)),
            (
                "Memory",
                format!(
                    "{} available of {}",
                    bytes(host.memory.available),
                    bytes(host.memory.total)
                ),
            ),
            ("CPU", processors(&host.topology)),
            ("CPU use", format!("{:.0} %", host.cpu_usage * 100.0)),
        ],
        style,
    );
    for trouble in troubles(host) {
        text.push_str(&format!("{} {trouble}\n", style.paint("!", Tone::Bad)));
    }
    for part in [
        nodes(&host.topology, style),
        disks(&host.topology, style),
        nics(&host.topology, style),
    ] {
        text.push_str(&part);
    }
    text
}

fn firmware(secure_boot: SecureBoot) -> String {
    match secure_boot.state {
        SecureBootState::Unsupported => "not used: started by BIOS".to_owned(),
        _ => format!("Secure Boot {secure_boot}"),
    }
}

/// What somebody should know of a node that works.
fn troubles(host: &Host) -> Vec<String> {
    let crash = host.last_crash.iter().map(|crash| {
        let when = moment(crash.unix_s.saturating_mul(1_000_000));
        format!("{} at {when}: {}", crash.reason, crash.headline)
    });
    let firmware = host.missing_firmware.iter();
    let firmware = firmware.map(|missing| format!("{} misses the firmware {}", missing.device, missing.file));
    crash.chain(firmware).map(|trouble| plain(&trouble)).collect()
}

fn processors(topology: &Topology) -> String {
    let online = topology.cpus.iter().filter(|cpu| cpu.online).count();
    let isolated = topology.cpus.iter().filter(|cpu| cpu.isolated).count();
    let guests = match &topology.cpu_model.virtualization {
        Some(flag) => flag.as_str(),
        None => "no virtualization",
    };
    let name = &topology.cpu_model.name;
    format!("{online} x {name} ({guests}), {isolated} isolated")
}

fn nodes(topology: &Topology, style: &Style) -> String {
    let mut table = Table::new([
        left("NODE"),
        shrinking("CPUS"),
        right("MEMORY"),
        right("FREE"),
        right("2 MiB PAGES"),
        right("1 GiB PAGES"),
    ]);
    for node in &topology.nodes {
        let pool = |size| {
            let found = node.hugepages.iter().find(|pool| pool.page_size == size);
            or_dash(found.map(|pool| format!("{}/{} free", pool.free, pool.total)))
        };
        table.row([
            node.id.to_string().into(),
            node.cpus.to_string().into(),
            bytes(node.memory_total).into(),
            bytes(node.memory_free).into(),
            pool(TWO_MIB).into(),
            pool(GIB).into(),
        ]);
    }
    section(&table, topology.nodes.is_empty(), style)
}

fn disks(topology: &Topology, style: &Style) -> String {
    let mut table = Table::new([
        left("DISK"),
        right("SIZE"),
        shrinking("MODEL"),
        shrinking("SERIAL"),
        right("NODE"),
    ]);
    for disk in &topology.disks {
        table.row([
            (&disk.name).into(),
            bytes(disk.size).into(),
            or_dash(disk.model.as_ref()).into(),
            or_dash(disk.serial.as_ref()).into(),
            or_dash(disk.node).into(),
        ]);
    }
    section(&table, topology.disks.is_empty(), style)
}

fn nics(topology: &Topology, style: &Style) -> String {
    let mut table = Table::new([
        left("NIC"),
        left("MAC"),
        left("LINK"),
        right("Mbit/s"),
        shrinking("DRIVER"),
        left("PCI"),
        right("NODE"),
    ]);
    for nic in &topology.nics {
        let link = match nic.carrier {
            Some(true) => Cell::new("up", Tone::Good),
            Some(false) => Cell::new("no cable", Tone::Warning),
            None => Cell::new("down", Tone::Faint),
        };
        table.row([
            (&nic.name).into(),
            (&nic.mac).into(),
            link,
            or_dash(nic.speed_mbps).into(),
            or_dash(nic.driver.as_ref()).into(),
            or_dash(nic.pci.as_ref()).into(),
            or_dash(nic.node).into(),
        ]);
    }
    section(&table, topology.nics.is_empty(), style)
}

fn section(table: &Table, empty: bool, style: &Style) -> String {
    if empty {
        String::new()
    } else {
        format!("\n{}", table.render(style))
    }
}

/// What an outcome is called and means.
pub const fn outcome(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Ok => ("ok", Tone::Good),
        Outcome::Degraded => ("degraded", Tone::Warning),
        Outcome::Failed => ("failed", Tone::Bad),
    }
}

/// How the node booted: the phases, and below each the tasks that failed.
pub fn boot(report: &BootReport, style: &Style) -> String {
    let ready = report
        .ready_ms
        .map_or_else(|| "not yet".to_owned(), |ms| format!("{ms} ms"));
    let mut text = fields(
        &[("Kernel", format!("{} ms", report.kernel_ms)), ("Ready", ready)],
        style,
    );
    let mut table = Table::new([
        left("STAGE"),
        left("PHASE"),
        right("START"),
        right("TIME"),
        left("OUTCOME"),
    ]);
    for phase in &report.phases {
        let (name, tone) = outcome(phase.outcome);
        table.row([
            phase.stage.to_string().into(),
            (&phase.name).into(),
            milliseconds(phase.start_us).into(),
            milliseconds(phase.duration_us).into(),
            Cell::new(name, tone),
        ]);
    }
    text.push_str(&section(&table, report.phases.is_empty(), style));
    let failures: Vec<String> = report.phases.iter().flat_map(failures).collect();
    if !failures.is_empty() {
        text.push('\n');
        failures
            .iter()
            .for_each(|failure| text.push_str(&format!("{}\n", style.paint(failure, Tone::Warning))));
    }
    text
}

fn failures(phase: &Phase) -> Vec<String> {
    let failed = phase
        .tasks
        .iter()
        .filter_map(|task| task.error.as_ref().map(|error| (&task.name, error)));
    failed
        .map(|(task, error)| super::plain(&format!("{}/{task}: {error}", phase.name)))
        .collect()
}

/// What a unit's state means.
pub const fn unit_tone(state: UnitState) -> Tone {
    match state {
        UnitState::Running => Tone::Good,
        UnitState::Stopping | UnitState::BackOff => Tone::Warning,
        UnitState::Failed => Tone::Bad,
        UnitState::Inactive => Tone::Faint,
    }
}

/// What init runs.
pub fn units(units: &[UnitStatus], now_us: u64, style: &Style) -> String {
    let mut table = Table::new([
        left("UNIT"),
        left("STATE"),
        right("FOR"),
        right("PID"),
        right("RESTARTS"),
        shrinking("DESCRIPTION"),
        shrinking("LAST EXIT"),
    ]);
    for unit in units {
        table.row([
            (&unit.name).into(),
            Cell::new(unit.state.to_string(), unit_tone(unit.state)),
            age(now_us, unit.since_unix_us).into(),
            or_dash(unit.pid).into(),
            unit.restarts.to_string().into(),
            (&unit.description).into(),
            unit.exit.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.render(style)
}

/// What runs in user space.
pub fn processes(processes: &[Process], style: &Style) -> String {
    let mut table = Table::new([
        right("PID"),
        left("NAME"),
        left("STATE"),
        right("THREADS"),
        right("RESIDENT"),
        right("CPU TIME"),
        shrinking("CPUS"),
        shrinking("CGROUP"),
    ]);
    for process in processes {
        table.row([
            process.pid.to_string().into(),
            (&process.name).into(),
            process.state.to_string().into(),
            process.threads.to_string().into(),
            bytes(process.resident_bytes).into(),
            format!("{} ms", process.cpu_ms).into(),
            process.cpus.to_string().into(),
            (&process.cgroup).into(),
        ]);
    }
    table.render(style)
}

/// The machine config in force; below it the documents that were refused.
pub fn config(config: &HostConfig, style: &Style) -> String {
    let mut table = Table::new([
        shrinking("KEY"),
        shrinking("VALUE"),
        shrinking("SOURCE"),
        left("CHANGE"),
    ]);
    for value in &config.values {
        table.row([
            (&value.key).into(),
            (&value.value).into(),
            (&value.source).into(),
            (&value.change).into(),
        ]);
    }
    let mut text = table.render(style);
    let refused = config.rejected.iter().map(|what| ("refused:", what));
    let wrong = refused.chain(config.ignored.iter().map(|what| ("left out:", what)));
    for (word, what) in wrong {
        text.push_str(&format!(
            "\n{} {}",
            style.paint(word, Tone::Bad),
            super::plain(what)
        ));
    }
    if !(config.rejected.is_empty() && config.ignored.is_empty()) {
        text.push('\n');
    }
    text
}

/// What a factory reset would do.
pub fn reset(plan: &ResetPlan, style: &Style) -> String {
    let mut text = String::new();
    for (heading, lines) in [("Lost", &plan.lost), ("Kept", &plan.kept)] {
        if !lines.is_empty() {
            text.push_str(&format!("{}\n", style.heading(heading)));
        }
        for line in lines {
            text.push_str(&format!("  {}\n", wrapped(&plain(line), style)));
        }
    }
    text
}

/// Words on lines that fit, with an indent of four.
fn wrapped(text: &str, style: &Style) -> String {
    let width = style.width.unwrap_or(80);
    let (mut lines, mut column) = (String::new(), 2);
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 4 && column + 1 + length > width {
            lines.push_str("\n    ");
            column = 4;
        } else if !lines.is_empty() {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

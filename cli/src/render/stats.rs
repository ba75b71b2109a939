//! What a VM has used and done.

use axion_api::vm::VmStats;
use axion_api::vmm::NetPath;
use axion_api::vmm::metrics::MappedPages;

use super::table::{Table, left, right, shrinking};
use super::{Style, bytes, fields, milliseconds, or_dash};

/// The VM, then its disks, its networks, and its other devices.
pub fn show(stats: &VmStats, style: &Style) -> String {
    let mut text = fields(
        &[
            ("CPU time", milliseconds(stats.cpu_us)),
            ("Memory", bytes(stats.memory)),
            ("Mapped", or_dash(stats.mapped.map(|pages| mapped(&pages)))),
            ("Page faults", stats.page_faults.to_string()),
            ("Resets", stats.resets.to_string()),
            ("Started in", or_dash(stats.start_us.map(milliseconds))),
        ],
        style,
    );
    if !stats.vcpus.is_empty() {
        let mut table = Table::new([
            right("VCPU"),
            right("CPU TIME"),
            right("STEAL"),
            right("EXITS"),
            right("TO THE VMM"),
            right("PAGE FAULTS"),
        ]);
        for (number, vcpu) in stats.vcpus.iter().enumerate() {
            table.row([
                number.to_string().into(),
                milliseconds(vcpu.cpu_us).into(),
                milliseconds(vcpu.steal_us).into(),
                vcpu.exits.to_string().into(),
                vcpu.vmm_exits.to_string().into(),
                vcpu.page_faults.to_string().into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(style));
    }
    if !stats.exits.is_empty() {
        let mut table = Table::new([left("EXITS FOR"), left("TO"), right("COUNT")]);
        for exits in &stats.exits {
            let to = if exits.vmm { "VMM" } else { "KVM" };
            table.row([(&exits.reason).into(), to.into(), exits.count.to_string().into()]);
        }
        text.push('\n');
        text.push_str(&table.render(style));
    }
    if !stats.disks.is_empty() {
        let mut table = Table::new([
            shrinking("DISK"),
            right("READS"),
            right("READ"),
            right("WRITES"),
            right("WRITTEN"),
            right("FLUSHES"),
            right("ERRORS"),
            right("WAITS"),
        ]);
        for disk in &stats.disks {
            table.row([
                (&disk.source).into(),
                disk.reads.to_string().into(),
                bytes(disk.read_bytes).into(),
                disk.writes.to_string().into(),
                bytes(disk.write_bytes).into(),
                disk.flushes.to_string().into(),
                disk.errors.to_string().into(),
                disk.waits.to_string().into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(style));
    }
    let disks = stats.disks.iter().flat_map(|disk| {
        let kinds = [
            ("reads", disk.read_times),
            ("writes", disk.write_times),
            ("flushes", disk.flush_times),
        ];
        kinds.map(|(kind, times)| (disk.source.as_str(), kind, times))
    });
    let nets = stats.nets.iter().flat_map(|net| {
        let kinds = [("receives", net.receive_times), ("sends", net.send_times)];
        kinds.map(|(kind, times)| (net.network.as_str(), kind, times))
    });
    let console = [
        ("console", "prints", stats.console.print_times),
        ("console", "types", stats.console.type_times),
    ];
    let vsock = stats.vsock.iter().flat_map(|vsock| {
        [
            ("vsock", "receives", vsock.receive_times),
            ("vsock", "sends", vsock.send_times),
        ]
    });
    let times: Vec<_> = disks
        .chain(nets)
        .chain(console)
        .chain(vsock)
        .filter(|(_, _, times)| times.count > 0)
        .collect();
    if !times.is_empty() {
        let mut table = Table::new([
            shrinking("DEVICE"),
            left("TIME OF"),
            right("MEDIAN"),
            right("99 %"),
            right("99.9 %"),
            right("LONGEST"),
        ]);
        let time = |ns: u64| match ns.div_ceil(1000) {
            us if us < 10_000 => format!("{us} us"),
            us => milliseconds(us),
        };
        for (source, kind, times) in times {
            table.row([
                source.into(),
                kind.into(),
                time(times.median_ns).into(),
                time(times.p99_ns).into(),
                time(times.p999_ns).into(),
                time(times.longest_ns).into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(style));
    }
    if !stats.nets.is_empty() {
        let mut table = Table::new([
            left("NETWORK"),
            left("PATH"),
            right("RECEIVED"),
            right("PACKETS"),
            right("DROPPED"),
            right("SENT"),
            right("PACKETS"),
        ]);
        for net in &stats.nets {
            table.row([
                (&net.network).into(),
                or_dash(net.path.map(NetPath::name)).into(),
                bytes(net.receive_bytes).into(),
                net.receive_packets.to_string().into(),
                net.receive_drops.to_string().into(),
                bytes(net.send_bytes).into(),
                net.send_packets.to_string().into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(style));
    }
    let console = format!(
        "{} printed, {} typed",
        bytes(stats.console.printed_bytes),
        bytes(stats.console.typed_bytes)
    );
    let mut rows = vec![("Console", console)];
    if let Some(vsock) = &stats.vsock {
        let text = format!(
            "{} open; {} by the guest, {} to it; {} sent, {} received",
            vsock.connections,
            vsock.from_guest,
            vsock.to_guest,
            bytes(vsock.send_bytes),
            bytes(vsock.receive_bytes)
        );
        rows.push(("Vsock", text));
    }
    if let Some(balloon) = &stats.balloon {
        let text = format!(
            "{} of {} given, {} of free pages went back",
            bytes(balloon.actual),
            bytes(balloon.target),
            bytes(balloon.reported_bytes)
        );
        rows.push(("Balloon", text));
    }
    text.push('\n');
    text.push_str(&fields(&rows, style));
    text
}

/// The sizes of pages that there are, the largest first.
fn mapped(pages: &MappedPages) -> String {
    let sizes = [
        (pages.pages_1g, "1 GiB"),
        (pages.pages_2m, "2 MiB"),
        (pages.pages_4k, "4 KiB"),
    ];
    let there = sizes.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = there.map(|(count, size)| format!("{count} x {size}")).collect();
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    }
}

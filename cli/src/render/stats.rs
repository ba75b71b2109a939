//! What a VM has used and done.

use axion_api::vm::VmStats;

use super::table::{Table, left, right, shrinking};
use super::{Style, bytes, fields, milliseconds, or_dash};

/// The VM, then its disks, then its networks.
pub fn show(stats: &VmStats, style: &Style) -> String {
    let mut text = fields(
        &[
            ("CPU time", milliseconds(stats.cpu_us)),
            ("Memory", bytes(stats.memory)),
            ("Resets", stats.resets.to_string()),
            ("Started in", or_dash(stats.start_us.map(milliseconds))),
        ],
        style,
    );
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
    if !stats.nets.is_empty() {
        let mut table = Table::new([
            left("NETWORK"),
            right("RECEIVED"),
            right("PACKETS"),
            right("DROPPED"),
            right("SENT"),
            right("PACKETS"),
        ]);
        for net in &stats.nets {
            table.row([
                (&net.network).into(),
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
    text
}

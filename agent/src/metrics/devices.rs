//! Consoles, and socket devices and balloons where VMs have them.

use axion_api::vm::{Vm, VmStats};
use axion_api::vmm::VmmMetrics;
use axion_api::vmm::metrics::Latency;

use super::{Text, float, label};
use crate::vm::stats::Measured;

/// What they have done.
pub(super) fn counters(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    type Of = fn(&VmStats) -> Option<u64>;
    let counters: [(&str, &str, &str, Of); 8] = [
        (
            "console_printed_bytes_total",
            "counter",
            "Bytes that the guest printed.",
            |stats| Some(stats.console.printed_bytes),
        ),
        (
            "console_typed_bytes_total",
            "counter",
            "Bytes that were typed at the guest's console.",
            |stats| Some(stats.console.typed_bytes),
        ),
        (
            "vsock_connections",
            "gauge",
            "Connections of the socket device.",
            |stats| stats.vsock.as_ref().map(|vsock| vsock.connections),
        ),
        (
            "vsock_send_bytes_total",
            "counter",
            "Bytes that the guest sent by its socket device.",
            |stats| stats.vsock.as_ref().map(|vsock| vsock.send_bytes),
        ),
        (
            "vsock_receive_bytes_total",
            "counter",
            "Bytes that the guest received by its socket device.",
            |stats| stats.vsock.as_ref().map(|vsock| vsock.receive_bytes),
        ),
        (
            "balloon_target_bytes",
            "gauge",
            "Memory that is asked of the guest.",
            |stats| stats.balloon.as_ref().map(|balloon| balloon.target),
        ),
        (
            "balloon_actual_bytes",
            "gauge",
            "Memory that the guest has given.",
            |stats| stats.balloon.as_ref().map(|balloon| balloon.actual),
        ),
        (
            "balloon_reported_bytes_total",
            "counter",
            "Free pages of the guest that went back to the node.",
            |stats| stats.balloon.as_ref().map(|balloon| balloon.reported_bytes),
        ),
    ];
    for (name, kind, help, of) in counters {
        let samples = vms.iter().filter_map(|(vm, measured)| {
            let value = of(&measured.as_ref()?.stats)?;
            Some((label("vm", &vm.name), float(value)))
        });
        text.metric(&format!("vm_{name}"), kind, help, samples);
    }
}

/// How long what goes through their queues took; a console that is a serial line has none.
pub(super) fn times(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    type Of = fn(&VmmMetrics) -> Option<&Latency>;
    let times: [(&str, &str, Of); 4] = [
        (
            "console_print",
            "How long what the guest printed by virtio-console was with the VMM.",
            |counted| counted.console.as_ref().map(|pair| &pair.send),
        ),
        (
            "console_type",
            "How long what was typed waited for the guest, by virtio-console.",
            |counted| counted.console.as_ref().map(|pair| &pair.receive),
        ),
        (
            "vsock_receive",
            "How long packets of the socket device to the guest were with the VMM.",
            |counted| counted.vsock.as_ref().map(|pair| &pair.receive),
        ),
        (
            "vsock_send",
            "How long packets of the guest by its socket device were with the VMM.",
            |counted| counted.vsock.as_ref().map(|pair| &pair.send),
        ),
    ];
    for (name, help, of) in times {
        let samples = vms.iter().filter_map(|(vm, measured)| {
            let latency = of(&measured.as_ref()?.counted)?;
            Some((label("vm", &vm.name), latency))
        });
        text.histogram(&format!("vm_{name}_seconds"), help, samples);
    }
}

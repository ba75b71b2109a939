//! What vCPUs do, and how their memory is mapped.

use axion_api::vm::{Vm, VmVcpuStats};
use axion_api::vmm::metrics::VcpuCounts;

use super::{Text, float, label};
use crate::vm::stats::Measured;

type Vms<'a> = &'a [(Vm, Option<Measured>)];

/// VMs with what is known of them.
fn measured(vms: Vms<'_>) -> impl Iterator<Item = (&Vm, &Measured)> {
    vms.iter()
        .filter_map(|(vm, measured)| Some((vm, measured.as_ref()?)))
}

fn labels(vm: &Vm, vcpu: usize) -> String {
    format!("{},{}", label("vm", &vm.name), label("vcpu", &vcpu.to_string()))
}

pub(super) fn counters(text: &mut Text, vms: Vms<'_>) {
    times(text, vms);
    exits(text, vms);
    events(text, vms);
    mapped(text, vms);
}

fn times(text: &mut Text, vms: Vms<'_>) {
    type Of = fn(&VmVcpuStats) -> u64;
    let times: [(&str, &str, Of); 2] = [
        ("cpu", "CPU time of the vCPU's thread.", |vcpu| vcpu.cpu_us),
        (
            "steal",
            "Time that the vCPU wanted to run and did not get a CPU.",
            |vcpu| vcpu.steal_us,
        ),
    ];
    for (name, help, of) in times {
        let samples = measured(vms).flat_map(|(vm, measured)| {
            let vcpus = measured.stats.vcpus.iter().enumerate();
            vcpus.map(move |(number, vcpu)| (labels(vm, number), float(of(vcpu)) / 1e6))
        });
        text.metric(&format!("vm_vcpu_{name}_seconds_total"), "counter", help, samples);
    }
}

/// Exits by reason: those that KVM has seen, and those of them that it left to the VMM.
fn exits(text: &mut Text, vms: Vms<'_>) {
    let by_kvm = measured(vms).flat_map(|(vm, measured)| {
        let vcpus = measured.counted.kvm.iter().enumerate();
        vcpus.map(move |(number, counts)| (labels(vm, number), float(counts.exits)))
    });
    text.metric("vm_vcpu_exits_total", "counter", "Exits from the guest.", by_kvm);
    let reason = |labels: String, (name, count): (&str, u64)| {
        (format!("{labels},{}", label("reason", name)), float(count))
    };
    let by_reason = measured(vms).flat_map(|(vm, measured)| {
        let vcpus = measured.counted.kvm.iter().enumerate();
        vcpus.flat_map(move |(number, counts)| counts.reasons().map(|one| reason(labels(vm, number), one)))
    });
    text.metric(
        "vm_vcpu_exits_by_reason_total",
        "counter",
        "Exits from the guest for one of the reasons that KVM tells apart.",
        by_reason,
    );
    let to_vmm = measured(vms).flat_map(|(vm, measured)| {
        let vcpus = measured.counted.vcpus.iter().enumerate();
        vcpus.flat_map(move |(number, exits)| exits.reasons().map(|one| reason(labels(vm, number), one)))
    });
    text.metric(
        "vm_vcpu_vmm_exits_total",
        "counter",
        "Exits from the guest that KVM left to the VMM.",
        to_vmm,
    );
}

fn events(text: &mut Text, vms: Vms<'_>) {
    type Of = fn(&VcpuCounts) -> u64;
    let events: [(&str, &str, Of); 3] = [
        ("interrupts", "Interrupts that the guest was given.", |counts| {
            counts.injections
        }),
        (
            "emulations",
            "Instructions that KVM carried out for the guest.",
            |counts| counts.emulations,
        ),
        ("tlb_flushes", "Flushes of the TLB.", |counts| counts.tlb_flushes),
    ];
    for (name, help, of) in events {
        let samples = measured(vms).flat_map(|(vm, measured)| {
            let vcpus = measured.counted.kvm.iter().enumerate();
            vcpus.map(move |(number, counts)| (labels(vm, number), float(of(counts))))
        });
        text.metric(&format!("vm_vcpu_{name}_total"), "counter", help, samples);
    }
}

fn mapped(text: &mut Text, vms: Vms<'_>) {
    let samples = measured(vms).flat_map(|(vm, measured)| {
        measured.stats.mapped.into_iter().flat_map(|mapped| {
            let sizes = [
                (4u64 << 10, mapped.pages_4k),
                (2 << 20, mapped.pages_2m),
                (1 << 30, mapped.pages_1g),
            ];
            sizes.map(|(size, pages)| {
                let labels = [label("vm", &vm.name), label("page_bytes", &size.to_string())];
                (labels.join(","), float(pages))
            })
        })
    });
    text.metric(
        "vm_mapped_pages",
        "gauge",
        "Pages of the second stage of address translation.",
        samples,
    );
}

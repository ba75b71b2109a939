//! `bench vmm`: our VMM against others on one emulated host; `axion_vmm_bench` says how.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Network, Spec};
use axion_vmm_bench::vmm::Vmm;
use axion_vmm_bench::{END, Figure, GUEST_MIB, MISSED, Plan, SAMPLE, Sample};
use clap::Args;

use super::host::{self, Host};
use super::{Goal, meet, native, replace_section};

/// All rounds together.
const PATIENCE: Duration = Duration::from_secs(3600);
/// CPU time of a start of our VMM on this computer, ms.
const MOST: f64 = 5.0;
/// Starts of our VMM on this computer.
const NATIVE_STARTS: usize = 21;

/// Options of `bench vmm`.
#[derive(Args)]
pub struct Options {
    /// Starts of each VMM for each figure, in turns
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// A Firecracker to compare with
    #[arg(long, value_name = "PATH")]
    peer_firecracker: Option<PathBuf>,
    /// A Cloud Hypervisor to compare with
    #[arg(long, value_name = "PATH")]
    peer_cloud_hypervisor: Option<PathBuf>,
    /// Replace the section "VMM" of docs/benchmarks.md
    #[arg(long)]
    record: bool,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    let dir = super::image_dir()?;
    let mut peers = Vec::new();
    for (vmm, program) in [
        (Vmm::Firecracker, &options.peer_firecracker),
        (Vmm::CloudHypervisor, &options.peer_cloud_hypervisor),
    ] {
        peers.extend(program.clone().map(|program| (vmm, program)));
    }
    let mut vmms = vec![Vmm::Axion, Vmm::Qemu, Vmm::QemuMicrovm];
    vmms.extend(peers.iter().map(|(vmm, _)| *vmm));
    let plan = Plan {
        rounds: options.rounds,
        vmms,
    };
    let host = host::make(&dir, &plan, &peers)?;
    let starts = native::starts(&host.vmm, NATIVE_STARTS)?;
    let samples = samples(&dir, &host)?;
    let text = report(&plan, &host, &samples, &starts);
    println!("{text}");
    if options.record {
        replace_section("VMM", &text)?;
    }
    // Where there is no KVM, nothing was started.
    meet(&[Goal {
        what: "CPU time from the VMM's start to its API socket, ms",
        found: start_time(&starts),
        most: MOST,
    }])
}

/// The median, ms.
fn start_time(starts: &[Duration]) -> f64 {
    median(starts.iter().map(Duration::as_secs_f64).collect()) * 1e3
}

/// Boots the host; what it measured.
fn samples(image: &Path, host: &Host) -> Result<Vec<Sample>> {
    let spec = Spec::new("bench-vmm")
        .network(Network::None)
        .disk(DiskBus::Virtio, DiskContent::File(host.disk.clone()))
        .initramfs(&host.initramfs);
    let arguments = ["root=/dev/vda", "ro", "rootfstype=erofs", "quiet", "panic=-1"];
    let spec = arguments.into_iter().fold(spec, Spec::kernel_arg);
    let machine = spec
        .kernel_arg(format!("init={}", host::INIT))
        .start(&Image::at(image)?)?;
    machine.log().wait_for(END, PATIENCE)?;
    let mut samples = Vec::new();
    for line in machine.log().lines() {
        if let Some((_, json)) = line.text.split_once(SAMPLE) {
            samples.push(serde_json::from_str(json).with_context(|| line.text.clone())?);
        } else if line.text.contains(MISSED) || line.text.contains("bench failed") {
            eprintln!("    {}", line.text);
        }
    }
    ensure!(
        !samples.is_empty(),
        "nothing was measured; see {}",
        machine.log().path().display()
    );
    Ok(samples)
}

/// A row of the table.
struct Row {
    figure: Figure,
    name: &'static str,
    unit: &'static str,
    /// What one of the figure's units is in this one.
    scale: f64,
    digits: usize,
}

const ROWS: [Row; 9] = [
    row(
        Figure::FirstByte,
        "start to the first byte of a guest of ten instructions",
        "ms",
        1e-3,
        1,
    ),
    row(
        Figure::Userspace,
        "start to the guest's user space",
        "ms",
        1e-3,
        0,
    ),
    row(
        Figure::Overhead,
        "resident memory beyond the guest's",
        "MiB",
        1.0 / 1_048_576.0,
        1,
    ),
    row(
        Figure::OverheadAnonymous,
        "of that not shared with any file",
        "MiB",
        1.0 / 1_048_576.0,
        1,
    ),
    row(
        Figure::Reads1,
        "4 KiB random reads a second, 1 at a time",
        "",
        1.0,
        0,
    ),
    row(Figure::ReadLatency1, "their latency", "µs", 1e-3, 0),
    row(
        Figure::Reads32,
        "4 KiB random reads a second, 32 at a time",
        "",
        1.0,
        0,
    ),
    row(Figure::ReadLatency32, "their latency", "µs", 1e-3, 0),
    row(Figure::RoundTrip, "UDP round trip over tap", "µs", 1e-3, 0),
];

const fn row(figure: Figure, name: &'static str, unit: &'static str, scale: f64, digits: usize) -> Row {
    Row {
        figure,
        name,
        unit,
        scale,
        digits,
    }
}

fn report(plan: &Plan, host: &Host, samples: &[Sample], starts: &[Duration]) -> String {
    let mut values: BTreeMap<(Figure, Vmm), Vec<f64>> = BTreeMap::new();
    for sample in samples {
        values
            .entry((sample.figure, sample.vmm))
            .or_default()
            .push(sample.value);
    }
    let medians: BTreeMap<_, _> = values.into_iter().map(|(key, all)| (key, median(all))).collect();
    let rounds = plan.rounds;
    let mut text = format!(
        "`cargo xtask bench vmm --rounds {rounds}`: guests of 1 vCPU and {GUEST_MIB} MiB under each VMM on one emulated host of \
         2 CPUs, the\nsame kernel and initramfs, in turns; medians of {rounds}, in brackets the ratio of ours to it. The disk is \
         a file in the\nhost's memory.\n\n"
    );
    let names: Vec<_> = plan.vmms.iter().map(|vmm| vmm.name()).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(names.len()));
    for row in ROWS {
        let cells = plan.vmms.iter().map(|vmm| {
            let value = medians.get(&(row.figure, *vmm)).copied();
            let ours = medians.get(&(row.figure, Vmm::Axion)).copied();
            cell(&row, value, ours.filter(|_| *vmm != Vmm::Axion))
        });
        let _ = writeln!(
            text,
            "| {} | {} |",
            row.name,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    let size = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let sizes = host.sizes.iter().map(|(_, bytes)| size(*bytes));
    let _ = writeln!(
        text,
        "| bytes of the program | {} |",
        sizes.collect::<Vec<_>>().join(" | ")
    );
    if !starts.is_empty() {
        let count = starts.len();
        let median = start_time(starts);
        let _ = writeln!(
            text,
            "\nOn the build machine itself, process start to API socket: {median:.1} ms of CPU time (at most {MOST}; median of {count})."
        );
    }
    text
}

fn cell(row: &Row, value: Option<f64>, ours: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let number = format!("{:.*} {}", row.digits, value * row.scale, row.unit);
    match ours {
        Some(ours) => format!("{} ({:.2})", number.trim_end(), ours / value),
        None => number.trim_end().to_owned(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or_default()
}

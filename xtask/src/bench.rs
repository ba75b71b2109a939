//! Measurements, compared within one run: absolute times of an emulated machine mean nothing.

mod host;
mod install;
mod isolation;
mod native;
mod vmm;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_lab::bench::{self, BootTimes};
use axion_lab::image::IMAGE_DIR;
use axion_lab::{Image, Spec};
use clap::{Args, Subcommand};

use crate::{image, layout, setup};

/// Options of `bench`.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// From power-on to a node that answers, against the floor: the same kernel with an init that prints and powers off
    Boot {
        /// Boots of each, alternating
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Replace the section "Boot" of docs/benchmarks.md
        #[arg(long)]
        record: bool,
    },
    /// Interrupts on CPUs that a pinned loop keeps busy: the image in `hpc`, its kernel without a profile, Debian's kernel
    Isolation {
        /// Seconds that are counted on each
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
        /// Leave Debian's kernel out
        #[arg(long)]
        without_debian: bool,
        /// Replace the section "Isolation" of docs/benchmarks.md
        #[arg(long)]
        record: bool,
    },
    /// From power on of the installer to the first ready boot of what it installed, against a boot without a disk. With
    /// AXION_IMAGE_DIR the image there is taken as it is
    Install {
        /// Rounds
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Replace the section "Install" of docs/benchmarks.md
        #[arg(long)]
        record: bool,
    },
    /// Our VMM against others on one emulated host, in turns: start, memory, disk, network. With AXION_IMAGE_DIR the image
    /// there is taken as it is
    Vmm(vmm::Options),
}

/// Runs a benchmark.
pub fn bench(options: &Options) -> Result<()> {
    setup::install(&setup::Options::default())?;
    match &options.bench {
        Bench::Boot { rounds, record } => boot(*rounds, *record),
        Bench::Isolation {
            seconds,
            without_debian,
            record,
        } => isolation::isolation(*seconds, !without_debian, *record),
        Bench::Install { rounds, record } => install::install(*rounds, *record),
        Bench::Vmm(options) => vmm::run(options),
    }
}

/// A figure that may not be more than so much.
struct Goal {
    /// What was measured.
    what: &'static str,
    /// What it came to.
    found: f64,
    /// The most that it may be.
    most: f64,
}

/// Says which goals were missed. It comes last: a figure is printed and recorded whatever it is.
fn meet(goals: &[Goal]) -> Result<()> {
    let missed = goals.iter().filter(|goal| goal.found > goal.most);
    let missed: Vec<_> = missed
        .map(|Goal { what, found, most }| format!("{what}: {found:.3}, of at most {most}"))
        .collect();
    ensure!(missed.is_empty(), "a goal was missed: {}", missed.join("; "));
    Ok(())
}

/// Ready, against the floor.
const BOOT_RATIO: f64 = 1.6;
/// Memory in use at ready, MiB.
const BOOT_MEMORY: f64 = 160.0;
/// Kernel and initramfs without ZFS, MiB.
const IMAGE_SIZE: f64 = 40.0;

/// The image that AXION_IMAGE_DIR names as it is, or else one that is built now.
fn image_dir() -> Result<PathBuf> {
    match env::var_os(IMAGE_DIR) {
        Some(dir) => Ok(dir.into()),
        None => Ok(image::build()?.dir),
    }
}

fn boot(rounds: usize, record: bool) -> Result<()> {
    ensure!(rounds > 0, "--rounds must be at least 1");
    let products = image::build()?;
    let image = Image::at(&products.dir)?;
    let times = bench::boot(&image, &Spec::new("bench-boot"), rounds, |what, time| {
        eprintln!("    {what:<6} {:.2} s", time.as_secs_f64());
    })?;
    let sizes = fs::read_to_string(products.dir.join("sizes.json"))?;
    let sizes: Sizes = serde_json::from_str(&sizes)?;
    let text = boot_report(&times, rounds, &sizes);
    println!("{text}");
    if record {
        replace_section("Boot", &text)?;
    }
    let goal = |what, found, most| Goal { what, found, most };
    meet(&[
        goal("ready, in floors", times.ratio(), BOOT_RATIO),
        goal(
            "memory in use at ready, MiB",
            mib(memory(&times, &sizes)),
            BOOT_MEMORY,
        ),
        goal(
            "kernel and initramfs without ZFS, MiB",
            mib(without_zfs(&sizes)),
            IMAGE_SIZE,
        ),
    ])
}

/// Bytes of each part of the image.
type Sizes = serde_json::Map<String, serde_json::Value>;

fn size(sizes: &Sizes, name: &str) -> u64 {
    let size = sizes.get(name).and_then(serde_json::Value::as_u64);
    size.unwrap_or_default()
}

/// The initramfs lies in a ramfs, whose pages the kernel never calls available.
fn memory(times: &BootTimes, sizes: &Sizes) -> u64 {
    times.memory_in_use().saturating_sub(size(sizes, "initramfs"))
}

fn without_zfs(sizes: &Sizes) -> u64 {
    (size(sizes, "vmlinuz") + size(sizes, "initramfs")).saturating_sub(size(sizes, "zfs"))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn boot_report(times: &BootTimes, rounds: usize, sizes: &Sizes) -> String {
    let mut text = format!(
        "`cargo xtask bench boot --rounds {rounds}`: 2 CPUs and 2 GiB, emulated; medians of {rounds} boots each, alternating.\n\n"
    );
    let seconds = |d: Duration| format!("{:.2} s", d.as_secs_f64());
    let shown = |bytes: u64| format!("{:.1} MiB", mib(bytes));
    let mut rows = vec![
        (
            "floor: QEMU's start to the print of a bare init".to_owned(),
            seconds(times.floor_median()),
        ),
        (
            "ready: QEMU's start to an API that answers".to_owned(),
            seconds(times.median(|b| b.ready_wall)),
        ),
        (
            format!("**ratio of the two** (at most {BOOT_RATIO})"),
            format!("**{:.2}**", times.ratio()),
        ),
        (
            "kernel, by its own clock".to_owned(),
            seconds(times.median(|b| b.kernel)),
        ),
        ("stage 1".to_owned(), seconds(times.median(|b| b.stage1))),
        (
            "stage 2, to ready".to_owned(),
            seconds(times.median(|b| b.stage2)),
        ),
    ];
    rows.push((
        format!("memory in use at ready, image excluded (at most {BOOT_MEMORY} MiB)"),
        shown(memory(times, sizes)),
    ));
    rows.push((
        format!("kernel + initramfs without ZFS (at most {IMAGE_SIZE} MiB)"),
        shown(without_zfs(sizes)),
    ));
    rows.push((
        "kernel + initramfs".to_owned(),
        shown(size(sizes, "vmlinuz") + size(sizes, "initramfs")),
    ));
    for name in sizes.keys() {
        rows.push((format!("bytes of {name}"), shown(size(sizes, name))));
    }
    text.push_str("| | |\n|---|---:|\n");
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}

/// Replaces what is between the heading `## NAME` and the next one in docs/benchmarks.md.
fn replace_section(name: &str, text: &str) -> Result<()> {
    let file = layout::root().join("docs/benchmarks.md");
    let old = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let heading = format!("## {name}\n");
    let start = old
        .find(&heading)
        .with_context(|| format!("{} has no section {name}", file.display()))?
        + heading.len();
    let end = old[start..].find("\n## ").map_or(old.len(), |n| start + n + 1);
    let new = format!(
        "{}\n{text}{}{}",
        &old[..start],
        if end < old.len() { "\n" } else { "" },
        &old[end..]
    );
    fs::write(&file, new).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests;

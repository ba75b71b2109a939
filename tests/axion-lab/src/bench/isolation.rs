//! What hits isolated CPUs: the image in `hpc`, against the same kernel without a profile and against another kernel.
//!
//! Each is the same machine, and on each the same CPUs are kept busy by a pinned loop for the same time. The image is asked for
//! its own isolation proof; the others run `axion-busy` as init.

use std::path::Path;
use std::time::Duration;

use axion_core::proof::Counts;
use axion_core::topology::CpuSet;

use crate::deadline::Poll;
use crate::spec::{Network, Spec};
use crate::{Error, Image, Result};

/// What `axion-busy` prints when it has counted.
const DONE: &str = "axion: busy: done";
/// Beside the window: a boot, and the time to settle.
const BOOT: Duration = Duration::from_secs(180);
/// CPUs that the `hpc` profile isolates on [`machine`].
const ISOLATED: &str = "1,3";

/// Interrupts of a CPU within the window.
pub type PerCpu = Vec<(u32, Counts)>;

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Disturbance {
    /// The window, seconds.
    pub seconds: u32,
    /// The image in `hpc`.
    pub image: PerCpu,
    /// The image's kernel without a profile.
    pub plain: PerCpu,
    /// Another kernel, where one was given.
    pub other: Option<PerCpu>,
}

/// Interrupts of every kind a second and CPU.
pub fn rate(counts: &PerCpu, seconds: u32) -> f64 {
    let all = |(_, c): &(u32, Counts)| c.ticks + c.device_interrupts + c.ipis + c.other_interrupts;
    per_second(counts, seconds, all)
}

/// Timer ticks a second and CPU.
pub fn tick_rate(counts: &PerCpu, seconds: u32) -> f64 {
    per_second(counts, seconds, |(_, c)| c.ticks)
}

#[allow(clippy::cast_precision_loss)]
fn per_second(counts: &PerCpu, seconds: u32, of: impl Fn(&(u32, Counts)) -> u64) -> f64 {
    // Some thousands: a float has room for them.
    let sum: u64 = counts.iter().map(of).sum();
    sum as f64 / f64::from(seconds) / counts.len().max(1) as f64
}

/// Two nodes of two CPUs: `hpc` keeps the first of each.
pub fn machine(name: &str) -> Spec {
    Spec::new(name)
        .cpus(4, 2)
        .numa_node(0, 1, 1024)
        .numa_node(2, 3, 1024)
}

/// Counts for `seconds` on each. `archives` is the image's initramfs with the kernel behind it, `busy` an initramfs whose init
/// is `axion-busy`, `other` another kernel.
///
/// # Errors
/// A machine does not come up, or says nothing.
pub fn isolation(
    image: &Image,
    archives: &Path,
    busy: &Path,
    other: Option<&Path>,
    seconds: u32,
    mut progress: impl FnMut(&str, &PerCpu),
) -> Result<Disturbance> {
    let mut found = Disturbance {
        seconds,
        image: of_image(image, archives, seconds)?,
        ..Disturbance::default()
    };
    progress("image", &found.image);
    found.plain = of_kernel(image, machine("bench-plain"), busy, seconds)?;
    progress("plain", &found.plain);
    if let Some(kernel) = other {
        let spec = machine("bench-other").kernel(kernel);
        let counts = of_kernel(image, spec, busy, seconds)?;
        progress("other", &counts);
        found.other = Some(counts);
    }
    Ok(found)
}

fn of_image(image: &Image, archives: &Path, seconds: u32) -> Result<PerCpu> {
    let spec = machine("bench-image")
        .config_with_token("profile.mode = \"hpc\"\n")
        .initramfs(archives);
    let machine = spec.start(image)?;
    let node = machine.wait_ready()?;
    node.call(node.client().start_proof(seconds))?;
    let within = BOOT + Duration::from_secs(seconds.into());
    node.poll("an isolation proof", within, |node| {
        let proofs = node.call(node.client().proof())?;
        Ok(match (proofs.running, proofs.last) {
            (false, Some(proof)) => Poll::Ready(proof.cpus.iter().map(|cpu| (cpu.cpu, cpu.counts)).collect()),
            (running, _) => Poll::Pending(format!("running: {running}, {:?}", proofs.error)),
        })
    })
}

fn of_kernel(image: &Image, spec: Spec, busy: &Path, seconds: u32) -> Result<PerCpu> {
    let spec = spec
        .network(Network::None)
        .initramfs(busy)
        .kernel_arg(format!("busy.cpus={ISOLATED}"))
        .kernel_arg(format!("busy.seconds={seconds}"));
    let name = spec.name.clone();
    let machine = spec.start(image)?;
    let within = BOOT + Duration::from_secs(seconds.into());
    machine.log().wait_for(DONE, within)?;
    let lines = machine.log().lines();
    let counts: PerCpu = lines.iter().filter_map(|line| counted(&line.text)).collect();
    let cpus: CpuSet = counts.iter().map(|(cpu, _)| *cpu).collect();
    if cpus.to_string() == ISOLATED {
        Ok(counts)
    } else {
        Err(Error::Unexpected {
            machine: name,
            problem: format!("it counted CPUs `{cpus}`, and not {ISOLATED}"),
        })
    }
}

/// `axion: busy: cpu 1 ticks 2501 device 0 ipis 12 other 1`.
fn counted(line: &str) -> Option<(u32, Counts)> {
    let (_, words) = line.split_once("axion: busy: cpu ")?;
    let words: Vec<&str> = words.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse().ok()
    };
    let counts = Counts {
        ticks: after("ticks")?,
        device_interrupts: after("device")?,
        ipis: after("ipis")?,
        other_interrupts: after("other")?,
        ..Counts::default()
    };
    Some((words.first()?.parse().ok()?, counts))
}

#[cfg(test)]
mod tests;

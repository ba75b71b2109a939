//! Boot times of the image against the floor.
//!
//! A computer's speed changes from minute to minute (frequency, neighbours), so the image and the floor boot in turns
//! within one run, and what is reported are medians and the ratio between the two.

pub mod isolation;

use std::time::Duration;

use axion_api::host::{BootReport, Phase};

use crate::machine::READY;
use crate::spec::{Network, Spec};
use crate::{Error, Image, Result};

/// What the floor prints.
const FLOOR_LINE: &str = "axion: floor";
/// A floor that takes longer is broken.
const FLOOR_BOOT: Duration = Duration::from_secs(120);

/// One boot of the image.
#[derive(Debug, Clone)]
pub struct ImageBoot {
    /// From QEMU's start to the first answer of the API, by this computer's clock.
    pub ready_wall: Duration,
    /// From the kernel's start to init's first instruction, by the machine's clock.
    pub kernel: Duration,
    /// Stage 1, by the machine's clock.
    pub stage1: Duration,
    /// Stage 2, by the machine's clock.
    pub stage2: Duration,
    /// From the kernel's start to ready, by the machine's clock.
    pub ready: Duration,
    /// Memory in use once ready, bytes: what the kernel manages less what a process could get.
    pub memory_in_use: u64,
    /// Every phase.
    pub phases: Vec<Phase>,
}

/// Times of one run.
#[derive(Debug, Clone, Default)]
pub struct BootTimes {
    /// Boots of the image.
    pub image: Vec<ImageBoot>,
    /// From QEMU's start to the floor's print, by this computer's clock.
    pub floor: Vec<Duration>,
}

impl BootTimes {
    /// Median of `value` over the boots of the image.
    pub fn median(&self, value: impl Fn(&ImageBoot) -> Duration) -> Duration {
        median(self.image.iter().map(value).collect())
    }

    /// Median of the floor.
    pub fn floor_median(&self) -> Duration {
        median(self.floor.clone())
    }

    /// How many times longer than the floor the image takes to be ready, by this computer's clock.
    pub fn ratio(&self) -> f64 {
        self.median(|boot| boot.ready_wall).as_secs_f64() / self.floor_median().as_secs_f64()
    }

    /// Median of the memory in use once ready, bytes.
    pub fn memory_in_use(&self) -> u64 {
        median(self.image.iter().map(|boot| boot.memory_in_use).collect())
    }
}

/// Boots the floor and the image in turns, `rounds` times each, on machines like `spec`. `progress` is told of each boot.
///
/// # Errors
/// A boot fails.
pub fn boot(
    image: &Image,
    spec: &Spec,
    rounds: usize,
    mut progress: impl FnMut(&str, Duration),
) -> Result<BootTimes> {
    let mut times = BootTimes::default();
    for _ in 0..rounds {
        let floor = boot_floor(image, spec)?;
        progress("floor", floor);
        times.floor.push(floor);
        let ready = boot_image(image, spec)?;
        progress("ready", ready.ready_wall);
        times.image.push(ready);
    }
    Ok(times)
}

fn boot_floor(image: &Image, spec: &Spec) -> Result<Duration> {
    let spec = Spec {
        name: format!("{}-floor", spec.name),
        config: None,
        ..spec.clone()
    };
    let machine = spec.initramfs(image.floor()?).start(image)?;
    Ok(machine.log().wait_for(FLOOR_LINE, FLOOR_BOOT)?.at)
}

fn boot_image(image: &Image, spec: &Spec) -> Result<ImageBoot> {
    let network = match spec.network {
        Network::None => Network::User { port: None },
        network => network,
    };
    let machine = spec.clone().network(network).config_with_token("").start(image)?;
    // The API is asked from the start: a node is ready when it answers, whenever the log says so.
    let node = machine.node(&machine.spec().token)?;
    node.call(node.client().health())?;
    let ready_wall = machine.started().elapsed();
    machine.log().wait_for(READY, FLOOR_BOOT)?;
    let host = node.call(node.client().host())?;
    let report = node.call(node.client().boot())?;
    let memory_in_use = host.memory.total.saturating_sub(host.memory.available);
    image_boot(ready_wall, memory_in_use, report).ok_or_else(|| Error::Unexpected {
        machine: spec.name.clone(),
        problem: "its boot report is not complete".to_owned(),
    })
}

/// `None` when the report is not that of a boot that has ended.
fn image_boot(ready_wall: Duration, memory_in_use: u64, report: BootReport) -> Option<ImageBoot> {
    let kernel = Duration::from_millis(report.kernel_ms);
    let ready = Duration::from_millis(report.ready_ms?);
    let second = report.phases.iter().find(|phase| phase.stage == 2)?;
    let switch = Duration::from_micros(second.start_us);
    let stage1 = switch.saturating_sub(kernel);
    let stage2 = ready.saturating_sub(switch);
    Some(ImageBoot {
        ready_wall,
        kernel,
        stage1,
        stage2,
        ready,
        memory_in_use,
        phases: report.phases,
    })
}

/// The middle value, the lower one of two; the type's zero when there is none.
/// The middle of some values, the higher one of two; nothing's is the default.
pub fn median<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;

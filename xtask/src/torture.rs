//! Cuts the power behind every write of a node's life, offline: what the unit tests sample, in whole. On demand, a sample of the
//! disks that are left is started by firmware.

mod boot;

use std::time::Instant;

use anyhow::{Context, Result};
use axion_install::torture::{Effort, run};
use clap::Args;

/// Options of `torture`.
#[derive(Args)]
pub struct Options {
    /// Where chance begins; another number tears other writes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead, boot so many of the disks that cuts leave, by UEFI and BIOS in turn, each to ready: half a minute each
    #[arg(long, value_name = "N")]
    boot: Option<usize>,
}

/// Does it, and says how much was done.
pub fn torture(options: &Options) -> Result<()> {
    let started = Instant::now();
    if let Some(count) = options.boot {
        return boot::boot(count, options.seed);
    }
    let effort = Effort {
        seed: options.seed,
        ..Effort::WHOLE
    };
    let report = run(effort).context("a power cut leaves a disk that is not as it must be")?;
    println!(
        "{} steps cut behind {} writes and flushes: {} disks looked at, {} gone on with, 0 failed ({:.0} s)",
        report.steps,
        report.cuts,
        report.disks,
        report.resumed,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

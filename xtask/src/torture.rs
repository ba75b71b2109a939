//! Cuts the power behind every write of a node's life, offline: what the unit tests sample, in whole.

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
}

/// Does it, and says how much was done.
pub fn torture(options: &Options) -> Result<()> {
    let started = Instant::now();
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

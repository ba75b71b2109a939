//! Fuzzing of the VMM, longer than `cargo test` does: see `vmm/src/fuzz`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::layout;

/// Names of the tests begin with this.
const MODULE: &str = "fuzz::targets::";

/// Options of `fuzz`.
#[derive(Args)]
pub struct Options {
    /// One target instead of all, one after the other: acpi, balloon, blk, config_parser, console, device, http_parser,
    /// memory_device, net, net_control, queue, vsock
    target: Option<String>,
    /// How long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the inputs begin, for the same ones once more, as a failure tells it; without it by the clock
    #[arg(long)]
    seed: Option<u64>,
    /// Run only the input in this file
    #[arg(long, value_name = "FILE", requires = "target")]
    replay: Option<PathBuf>,
}

/// Runs it.
pub fn fuzz(options: &Options) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let mut command = Command::new("cargo");
    command
        .current_dir(layout::root())
        .args(["test", "--package", "axion-vmm", "--locked", "--lib", "--"])
        .args(["--nocapture", "--test-threads=1"])
        .env("AXION_FUZZ_SECONDS", options.seconds.to_string())
        .env("AXION_FUZZ_SEED", seed.to_string());
    match &options.target {
        Some(target) => command.arg(format!("{MODULE}{target}")).arg("--exact"),
        None => command.arg(MODULE),
    };
    if let Some(file) = &options.replay {
        let file = file
            .canonicalize()
            .with_context(|| format!("reading {}", file.display()))?;
        command.env("AXION_FUZZ_REPLAY", file);
    }
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("fuzzing failed ({status}); commit the input with the correction, it comes first from now on");
    }
    Ok(())
}

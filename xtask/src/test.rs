//! Everything that must pass: format, lints, unit and integration tests, and the end-to-end tests on the booted image.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::step::Step;
use crate::{image, layout, programs, setup};

/// Options of `test`.
#[derive(Args)]
pub struct Options {
    /// Install missing host packages without asking
    #[arg(long, short)]
    yes: bool,
    /// Leave out what boots a machine
    #[arg(long, conflicts_with = "e2e_only")]
    no_e2e: bool,
    /// Only what boots a machine
    #[arg(long)]
    e2e_only: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs the tests.
pub fn test(options: &Options) -> Result<()> {
    let started = Instant::now();
    setup::install(&setup::Options { yes: options.yes })?;
    if !options.e2e_only {
        let step = Step::start("format")?;
        step.run(&mut cargo(&["fmt", "--all", "--check"]))?;
        step.done();
        let step = Step::start("lints")?;
        step.run(cargo(&["clippy", "--locked"]).args(selected(&LINTED)))?;
        step.done();
        run(
            "unit and integration tests",
            options,
            cargo(&["test", "--locked", "--features", "axion-api/client"]).args(selected(&LINTED)),
        )?;
        // Those that need this machine's packages are left out of a plain `cargo test`.
        let media = [
            "test",
            "--package",
            "xtask",
            "--locked",
            "media",
            "--",
            "--include-ignored",
        ];
        let step = Step::start("media tests")?;
        step.run(&mut cargo(&media))?;
        step.done();
    }
    if !options.no_e2e {
        let image = image::build()?;
        run(
            "end-to-end tests",
            options,
            cargo(&[
                "test",
                "--package",
                "axion-e2e",
                "--test",
                "boots_to_ready",
                "--locked",
                "--no-fail-fast",
            ])
            .env("AXION_IMAGE_DIR", &image.dir)
            .env("AXION_AXCTL", programs::path("axctl")),
        )?;
    }
    eprintln!("  all tests passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Packages whose lints and tests gate a change. The others have tests too, which join when they pass on a fresh clone;
/// of the end-to-end tests only `boots_to_ready` does so far.
const LINTED: [&str; 4] = ["axion-core", "axion-api", "axctl", "axion-console"];

fn selected(packages: &[&str]) -> Vec<String> {
    packages
        .iter()
        .map(|package| format!("--package={package}"))
        .collect()
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(layout::root()).args(arguments);
    command
}

/// Runs a test command with its output on the terminal: the names of the tests are what a reader wants to see.
fn run(name: &str, options: &Options, command: &mut Command) -> Result<()> {
    eprintln!("  {name}");
    if let Some(filter) = &options.filter {
        command.arg("--").arg(filter);
    }
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

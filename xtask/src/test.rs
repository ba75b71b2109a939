//! Everything that must pass: format, lints, unit and integration tests, and the end-to-end tests on the booted image.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::keys::secure_boot;
use crate::step::Step;
use crate::{debian_guest, firmware, image, kernel, layout, media, programs, reproduce, setup};

/// Options of `test`.
#[derive(Args, Default)]
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
        step.run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
        ]))?;
        step.done();
        run(
            "unit and integration tests",
            options,
            &mut cargo(&[
                "test",
                "--workspace",
                "--exclude",
                E2E,
                "--locked",
                "--no-fail-fast",
            ]),
        )?;
        // Those that need this machine's packages are left out of a plain `cargo test`.
        let media = [
            "test",
            "--package",
            "xtask",
            "--locked",
            "--",
            "--include-ignored",
            "media",
            "secure_boot",
        ];
        let step = Step::start("media tests")?;
        step.run(&mut cargo(&media))?;
        step.done();
        if is_root() {
            let step = Step::start("tests on loop devices")?;
            step.run(&mut cargo(&[
                "test",
                "--package",
                "axctl",
                "--locked",
                "--",
                "--ignored",
            ]))?;
            step.done();
        }
    }
    let mut flaky = Vec::new();
    if !options.no_e2e {
        // Nobody is given firmware who has not asked; whether there is what drivers ask for is looked at all the same.
        firmware::build(&kernel::HOST.build()?)?;
        let image = image::build()?;
        media::media(&media::Options::default())?;
        small_enough(&image.dir.join("media/axion.efi"), UKI_LIMIT)?;
        reproduce::elsewhere()?;
        debian_guest::build()?;
        media::media(&signed(&image.dir)?)?;
        for target in e2e_targets()? {
            let mut test = cargo(&["test", "--workspace", "--locked", "--test", &target]);
            test.env("AXION_IMAGE_DIR", &image.dir)
                .env("AXION_AXCTL", programs::path("axctl"));
            let name = format!("end-to-end test {target}");
            filter(options, &mut test);
            // Others share the computer.
            let log = |attempt| layout::logs().join(format!("e2e-{target}-{attempt}.log"));
            let mut attempt = 1;
            while let Err(error) = run_logged(&name, &mut test, &log(attempt)) {
                if attempt == ATTEMPTS {
                    return Err(error);
                }
                attempt += 1;
                eprintln!("  {error:#}; attempt {attempt} of {ATTEMPTS}");
            }
            if attempt > 1 {
                let first = log(1);
                flaky.push((target, first));
            }
        }
    }
    println!("{}", summary(&flaky, started.elapsed()));
    Ok(())
}

/// The last words; `flaky`: what passed at a later attempt only, and the output of its first one.
fn summary(flaky: &[(String, PathBuf)], time: Duration) -> String {
    let mut text = format!("  all tests passed in {:.0} s", time.as_secs_f64());
    if !flaky.is_empty() {
        text += ", these not at the first attempt:";
    }
    for (target, log) in flaky {
        text += &format!("\n    FLAKY {target}: {}", log.display());
    }
    text
}

/// Media that are signed for Secure Boot, with keys that are made for these tests once.
fn signed(image: &Path) -> Result<media::Options> {
    let keys = image.join("secure-boot-keys");
    // A directory of an earlier version is not whole.
    if secure_boot::PCR_KEY.iter().any(|name| !keys.join(name).exists()) {
        drop(fs::remove_dir_all(&keys));
        secure_boot::make(&secure_boot::Options::for_tests(&keys))?;
    }
    Ok(media::Options::signed(image, &keys, &image.join("media-signed")))
}

/// Bytes that a UKI with everything in it may have.
const UKI_LIMIT: u64 = 64 << 20;

/// Whether a product keeps to its limit. Programs that were built without optimisation across crates do not count.
fn small_enough(product: &Path, limit: u64) -> Result<()> {
    let bytes = fs::metadata(product)
        .with_context(|| product.display().to_string())?
        .len();
    if bytes > limit && std::env::var_os("CARGO_PROFILE_RELEASE_LTO").is_none() {
        bail!("{} has {bytes} bytes, of at most {limit}", product.display());
    }
    Ok(())
}

/// How often a test that boots machines may be tried.
const ATTEMPTS: usize = 2;

/// The package of the tests that boot machines.
const E2E: &str = "axion-e2e";

/// What the names of tests begin with that make network namespaces, which needs root.
const FOR_ROOT: &str = "netboot";

/// The tests that boot machines, each a program of its own.
fn e2e_targets() -> Result<Vec<String>> {
    let dir = layout::root().join("tests/e2e/tests");
    let files = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut names: Vec<_> = files
        .filter_map(|f| f.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    if !is_root() {
        eprintln!("  left out, as they need root: {FOR_ROOT}*");
        names.retain(|name| !name.starts_with(FOR_ROOT));
    }
    Ok(names)
}

/// A process's own directory belongs to who it runs as.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|facts| facts.uid() == 0)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(layout::root()).args(arguments);
    command
}

/// Runs a test command with its output on the terminal: the names of the tests are what a reader wants to see.
fn run(name: &str, options: &Options, command: &mut Command) -> Result<()> {
    eprintln!("  {name}");
    filter(options, command);
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Leaves out what was not asked for.
fn filter(options: &Options, command: &mut Command) {
    if let Some(filter) = &options.filter {
        command.arg("--").arg(filter);
    }
}

/// The same with its output in the file `log` as well.
fn run_logged(name: &str, command: &mut Command, log: &Path) -> Result<()> {
    eprintln!("  {name}");
    fs::create_dir_all(layout::logs())?;
    let mut file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let (mut reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    // The command keeps copies of the pipe's writing end; the pipe ends only when they are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut buffer = [0; 4096];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        file.write_all(&buffer[..length])?;
        std::io::stderr().write_all(&buffer[..length])?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} failed ({status}); its output is in {}", log.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests;

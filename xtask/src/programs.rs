//! Our programs, linked statically against glibc so that the image needs no loader and no libraries.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::layout;
use crate::step::Step;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Where programs are below Cargo's target directory.
pub const BELOW: &str = "x86_64-unknown-linux-gnu/release";

/// Packages whose programs go into the image or are used beside it.
const PACKAGES: [&str; 6] = [
    "axion-init",
    "axion-agent",
    "axion-console",
    "axion-vmm",
    "axctl",
    "axion-lab",
];

/// Programs that go into the image, or into the archives beside it.
pub const IN_IMAGE: [&str; 6] = [
    "axion-init",
    "axion-agent",
    "axion-console",
    "axion-vmm",
    "axion-floor",
    "axion-busy",
];

/// Builds every program.
pub fn build() -> Result<()> {
    build_packages("programs", &PACKAGES)
}

/// Builds the programs of some packages.
pub fn build_packages(name: &str, packages: &[&str]) -> Result<()> {
    let step = Step::start(name)?;
    let cargo_home = std::env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    // Paths of this machine would make the image differ between machines.
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=/axion", layout::root().display()),
        // Of two prefixes that fit, the last one counts: what build scripts made is below the target directory.
        format!("--remap-path-prefix={}=/target", layout::target().display()),
        format!("--remap-path-prefix={cargo_home}=/cargo"),
    ];
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(layout::root())
        .args(["build", "--release", "--locked", "--bins", "--target", TARGET])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TERM_COLOR", "never")
        .env("SOURCE_DATE_EPOCH", layout::SOURCE_DATE_EPOCH.to_string());
    for package in packages {
        cargo.args(["-p", package]);
    }
    step.run(&mut cargo)?;
    step.done();
    Ok(())
}

/// Where the built programs are.
pub fn directory() -> PathBuf {
    layout::target().join(BELOW)
}

/// Where a built program is.
pub fn path(name: &str) -> PathBuf {
    directory().join(name)
}

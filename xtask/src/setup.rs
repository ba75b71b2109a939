//! What the build machine needs, and installing it.

use std::fs;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::emulator;
use crate::step::{Step, output};

/// Options of `setup`.
#[derive(Args, Debug, Clone, Default)]
pub struct Options {
    /// Install without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// Debian packages, and why.
const PACKAGES: [(&str, &str); 20] = [
    ("bc", "the kernel's build computes constants with it"),
    ("bison", "the kernel's build parses Kconfig with it"),
    (
        "ccache",
        "a changed kernel symbol recompiles only what it touches",
    ),
    ("cpio", "the kernel's build archives its headers with it"),
    (
        "dnsmasq-base",
        "a site's DHCP server in the tests of network boots",
    ),
    ("efitools", "lists of keys for firmware, signed: Secure Boot"),
    ("flex", "the kernel's build parses Kconfig with it"),
    ("gcc", "compiles the kernel"),
    ("iproute2", "ip makes the networks of those tests"),
    ("kmod", "depmod indexes the kernel's modules"),
    ("libc6-dev", "our programs link the C library statically"),
    ("libelf-dev", "the kernel's objtool reads object files with it"),
    ("libssl-dev", "the kernel's build signs and hashes with it"),
    ("make", "builds the kernel"),
    (
        "openssh-client",
        "the tests log in to a guest by a key that cloud-init gave it",
    ),
    ("openssl", "makes keys, and signs the modules for Secure Boot"),
    ("sbsigntool", "signs what firmware starts under Secure Boot"),
    ("swtpm", "a TPM in software, for tests and emulated machines"),
    ("xorriso", "writes the ISO"),
    ("xz-utils", "Debian's kernel source is compressed with it"),
];

fn installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f=${Status}", package]))
        .is_ok_and(|s| s == "install ok installed")
}

fn missing() -> Vec<(&'static str, &'static str)> {
    PACKAGES
        .into_iter()
        .filter(|(name, _)| !installed(name))
        .collect()
}

/// Installs what is missing; asks first unless `--yes`. The emulator goes into the cache, and is not asked for.
pub fn install(options: &Options) -> Result<()> {
    install_packages(options)?;
    emulator::install()
}

fn install_packages(options: &Options) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    println!("The build needs these Debian packages:");
    for (name, why) in &missing {
        println!("  {name:<18} {why}");
    }
    if !options.yes {
        if !stdin().is_terminal() {
            bail!("not installing without being asked to: run `cargo xtask setup --yes`");
        }
        print!("Install them with apt-get? [Y/n] ");
        stdout().flush()?;
        let mut answer = String::new();
        stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "" | "y" | "Y" | "yes") {
            bail!("the packages above are missing");
        }
    }
    let step = Step::start("host packages")?;
    step.run(&mut as_root("apt-get", &["update"]))?;
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    let arguments = ["install", "-y", "--no-install-recommends"];
    step.run(&mut as_root("apt-get", &[&arguments[..], &names[..]].concat()))?;
    step.done();
    Ok(())
}

fn as_root(program: &str, arguments: &[&str]) -> Command {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0");
    let mut command = Command::new(if root { program } else { "sudo" });
    if !root {
        command.arg(program);
    }
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Says what is missing and changes nothing.
pub fn doctor() -> Result<()> {
    let missing = missing();
    for (name, why) in PACKAGES {
        let state = if missing.iter().any(|(m, _)| *m == name) {
            "MISSING"
        } else {
            "ok"
        };
        println!("{state:<8} {name:<18} {why}");
    }
    let emulator = emulator::version();
    println!(
        "{:<8} {:<18} {}",
        if emulator.is_some() { "ok" } else { "MISSING" },
        "QEMU",
        emulator
            .as_deref()
            .unwrap_or("cargo xtask setup fetches it into the cache")
    );
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hardware = cpuinfo.split_whitespace().any(|w| w == "vmx" || w == "svm");
    println!(
        "{:<8} {:<18} {}",
        "info",
        "accelerator",
        if hardware {
            "KVM"
        } else {
            "TCG with emulated SVM: 10 to 50 times slower than metal"
        }
    );
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{} packages are missing: run `cargo xtask setup`", missing.len())
}

//! What the build machine needs, and installing it.

use std::fs;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::debian;
use crate::step::{Step, output};

/// Options of `setup`.
#[derive(Args, Debug, Clone, Default)]
pub struct Options {
    /// Install without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// Debian packages, and why.
const PACKAGES: [(&str, &str); 19] = [
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
    ("erofs-utils", "mkfs.erofs makes the root file system"),
    ("flex", "the kernel's build parses Kconfig with it"),
    ("gcc", "compiles the kernel"),
    ("iproute2", "ip makes the networks of those tests"),
    ("kmod", "depmod indexes the kernel's modules"),
    ("libc6-dev", "our programs link the C library statically"),
    ("libelf-dev", "the kernel's objtool reads object files with it"),
    ("libssl-dev", "the kernel's build signs and hashes with it"),
    ("make", "builds the kernel"),
    ("ovmf", "UEFI firmware of the emulated machines"),
    ("qemu-system-x86", "the emulated machines of run, test and bench"),
    ("seabios", "their BIOS"),
    ("xorriso", "writes the ISO"),
    ("xz-utils", "Debian's kernel source is compressed with it"),
];

/// QEMU older than this has no SR-IOV NIC and emulates too little of SVM.
const QEMU_MIN_MAJOR: u32 = 9;

fn installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f=${Status}", package]))
        .is_ok_and(|s| s == "install ok installed")
}

fn qemu_major() -> Option<u32> {
    let text = output(Command::new("qemu-system-x86_64").arg("--version")).ok()?;
    text.split_whitespace()
        .find_map(|w| w.split_once('.')?.0.parse().ok())
}

fn missing() -> Vec<(&'static str, &'static str)> {
    let old_qemu = qemu_major().is_none_or(|v| v < QEMU_MIN_MAJOR);
    PACKAGES
        .into_iter()
        .filter(|(name, _)| !installed(name) || (*name == "qemu-system-x86" && old_qemu))
        .collect()
}

/// Installs what is missing; asks first unless `--yes`.
pub fn install(options: &Options) -> Result<()> {
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
    let codename = codename()?;
    let backports = codename == "bookworm";
    if backports {
        // Bookworm's own QEMU is 7.2.
        add_backports(&step, &codename)?;
    }
    step.run(&mut as_root("apt-get", &["update"]))?;
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    let suite = format!("{codename}-backports");
    let (qemu, others): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|n| matches!(*n, "ovmf" | "qemu-system-x86" | "seabios"));
    if !others.is_empty() {
        step.run(&mut as_root("apt-get", &[&arguments[..], &others[..]].concat()))?;
    }
    if !qemu.is_empty() {
        if backports {
            arguments.extend(["-t", &suite]);
        }
        step.run(&mut as_root("apt-get", &[&arguments[..], &qemu[..]].concat()))?;
    }
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

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    text.lines()
        .find_map(|l| l.strip_prefix("VERSION_CODENAME="))
        .map(str::to_owned)
        .context("this is no Debian release: /etc/os-release has no VERSION_CODENAME")
}

fn add_backports(step: &Step, codename: &str) -> Result<()> {
    let file = Path::new("/etc/apt/sources.list.d/axion-backports.sources");
    let (uri, keyring) = debian::host_archive()?;
    let text = format!(
        "Types: deb\nURIs: {uri}\nSuites: {codename}-backports\nComponents: main\nSigned-By: {keyring}\n"
    );
    if fs::read_to_string(file).is_ok_and(|t| t == text) {
        return Ok(());
    }
    let temporary = std::env::temp_dir().join("axion-backports.sources");
    fs::write(&temporary, text)?;
    step.run(&mut as_root(
        "install",
        &["-m644", &temporary.to_string_lossy(), &file.to_string_lossy()],
    ))
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

//! A Debian guest: the root disk of a real userland, for the tests.
//!
//! ```text
//! packages of trixie with all that they depend on ── unpacked (no maintainer script runs) ── pruned ──┐
//! tests/debian-guest: accounts, a shell on the console, cloud-init's configuration ────────────────────┴─ disk.rs
//! ```
//!
//! systemd, util-linux, numactl, iproute2, sshd and cloud-init are Debian's own files, and so is the layout of the disk; the kernel is the node's. What maintainer scripts
//! would have made is in `tests/debian-guest`, and what makes a boot slow and is of no use to a test is masked.
//! Whoever builds it owns the files in the image; the guest's root is the only user that matters.

mod disk;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::{self, Key};
use crate::step::Step;
use crate::{debian, layout};

/// Grows when this file changes what comes out.
const RECIPE: u32 = 2;

/// What is asked of Debian.
const PACKAGES: [&str; 26] = [
    "base-files",
    "base-passwd",
    "bash",
    "cloud-guest-utils",
    "cloud-init",
    "coreutils",
    "e2fsprogs",
    "fdisk",
    "grep",
    "hostname",
    "iproute2",
    "iputils-ping",
    "kmod",
    "login",
    "mawk",
    "netcat-openbsd",
    "numactl",
    "openssh-server",
    "passwd",
    "procps",
    "sed",
    "systemd",
    "systemd-sysv",
    "udev",
    "util-linux",
    "wget",
];

/// What alternatives, and packages that are not there, would have made.
const LINKS: [(&str, &str); 6] = [
    ("usr/bin/awk", "mawk"),
    ("usr/bin/nc", "nc.openbsd"),
    ("usr/bin/sh", "bash"),
    ("etc/mtab", "/proc/self/mounts"),
    ("etc/ssh/sshd_config", "/usr/share/openssh/sshd_config"),
    (
        "etc/systemd/system/default.target",
        "/etc/systemd/system/multi-user.target",
    ),
];

/// What no test reads.
const PRUNED: [&str; 17] = [
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl5",
    "usr/share/zoneinfo",
    "usr/share/zsh",
    "usr/lib/udev/hwdb.d",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/lib/python3.13/test",
    "usr/lib/python3.13/pydoc_data",
    "etc/udev/hwdb.d",
];

/// Units that the test has no use for.
const MASKED: [&str; 36] = [
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "logrotate.timer",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "procps.service",
    "remote-fs.target",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-random-seed.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
];

/// Generators of units that the test has no use for: each is a program at every start. cloud-init's looks for a data source, of
/// which its configuration names one.
const MASKED_GENERATORS: [&str; 10] = [
    "cloud-init-generator",
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
];

/// cloud-init's services, which its package's scripts would have enabled.
const CLOUD_INIT: [&str; 5] = [
    "cloud-config.service",
    "cloud-final.service",
    "cloud-init-local.service",
    "cloud-init-main.service",
    "cloud-init-network.service",
];

/// Builds the disk, or finds that nothing has changed; returns its file among the products.
pub fn build() -> Result<PathBuf> {
    let step = Step::start("Debian guest")?;
    let sources = layout::root().join("tests/debian-guest");
    let mut key = Key::new("debian-guest", RECIPE).path(&sources)?;
    for package in debian::fetch_all(&step, &PACKAGES)? {
        key = key.text(&package.name, &package.sha256);
    }
    let hash = key.finish();
    let made = cache::product("debian-guest", &hash, |directory| {
        make(&step, &sources, directory)
    })?;
    let disk = layout::products().join("debian-guest.raw");
    fs::create_dir_all(layout::products())?;
    drop(fs::remove_file(&disk));
    symlink(made.join("disk.raw"), &disk).with_context(|| format!("linking {}", disk.display()))?;
    step.done();
    Ok(disk)
}

fn make(step: &Step, sources: &Path, directory: &Path) -> Result<()> {
    let root = directory.join("root");
    debian::unpack_closure(step, debian::FREE, &PACKAGES, &root)?;
    for path in PRUNED {
        let path = root.join(path);
        if path.is_dir() {
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    for entry in walkdir::WalkDir::new(sources).sort_by_file_name() {
        let entry = entry?;
        let name = entry.path().strip_prefix(sources)?;
        if entry.file_type().is_file() && name != Path::new("README.md") {
            let to = root.join(name);
            fs::create_dir_all(to.parent().context("a file without a directory")?)?;
            drop(fs::remove_file(&to));
            fs::copy(entry.path(), &to).with_context(|| format!("copying {}", to.display()))?;
        }
    }
    let units = root.join("etc/systemd/system");
    for (link, target) in LINKS {
        make_link(&root.join(link), target)?;
    }
    for unit in MASKED {
        make_link(&units.join(unit), "/dev/null")?;
    }
    for generator in MASKED_GENERATORS {
        make_link(
            &root.join("etc/systemd/system-generators").join(generator),
            "/dev/null",
        )?;
    }
    // A Python module of cloud-init's wants one, whatever is in it.
    let certificates = root.join("etc/ssl/certs/ca-certificates.crt");
    fs::create_dir_all(root.join("etc/ssl/certs"))?;
    fs::copy(
        root.join("usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"),
        certificates,
    )
    .context("copying a certificate")?;
    for unit in CLOUD_INIT {
        let target = format!("/usr/lib/systemd/system/{unit}");
        make_link(&units.join("cloud-init.target.wants").join(unit), &target)?;
    }
    fs::set_permissions(root.join("etc/shadow"), fs::Permissions::from_mode(0o640))?;
    fs::create_dir_all(root.join("boot/efi"))?;
    // One that is fixed: a machine without an id would take its first boot for the first ever, and look at every unit.
    fs::write(root.join("etc/machine-id"), "6178696f6e0040008000646562676573\n")?;
    compile_python(step, &root)?;
    disk::make(step, &root, &directory.join("disk.raw"))?;
    fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))
}

fn make_link(link: &Path, target: &str) -> Result<()> {
    fs::create_dir_all(link.parent().context("a link without a directory")?)?;
    drop(fs::remove_file(link));
    symlink(target, link).with_context(|| format!("linking {}", link.display()))
}

/// Compiles Python's modules by the image's own interpreter: a guest that compiles them itself takes minutes under emulation.
fn compile_python(step: &Step, root: &Path) -> Result<()> {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut python = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    python.arg("--library-path").arg(&libraries);
    python.arg(root.join("usr/bin/python3.13"));
    python.args([
        "-S",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
    ]);
    python.arg(root).arg("-p").arg("/");
    python
        .arg(root.join("usr/lib/python3.13"))
        .arg(root.join("usr/lib/python3/dist-packages"));
    python.env("PYTHONHOME", root.join("usr"));
    step.run(&mut python)
}

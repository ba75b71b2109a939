//! The emulated machines' QEMU and firmware: those of trixie's backports, in the cache, whatever the build machine runs
//! (`axion_lab::emulator` says why).
//!
//! Its packages are unpacked beside each other with all that they depend on, and a script runs the program with the dynamic
//! loader and the libraries of that place. One fault is taken out of it ([`mend`]).

mod mend;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use axion_lab::emulator::{MINIMUM, PROGRAM, ROOT, directory};

use crate::debian;
use crate::step::{Step, output};

/// What the machines are made of; what it depends on comes along.
const PACKAGES: [&str; 3] = ["qemu-system-x86", "ovmf", "seabios"];

/// The program itself, below [`ROOT`].
const BINARY: &str = "usr/bin/qemu-system-x86_64";

/// Version of the QEMU in the cache, if there is one.
pub fn version() -> Option<String> {
    installed(&directory())
}

fn installed(directory: &Path) -> Option<String> {
    let program = directory.join(PROGRAM);
    if !program.exists() {
        return None;
    }
    if !mend::is_mended(&directory.join(ROOT).join(BINARY)).ok()? {
        return None;
    }
    let text = output(Command::new(program).arg("--version")).ok()?;
    let line = text.lines().next()?;
    (number(line)? >= MINIMUM).then(|| line.trim_start_matches("QEMU emulator version ").to_owned())
}

/// The version in `QEMU emulator version 10.0.13 (Debian ...)`.
fn number(line: &str) -> Option<(u32, u32, u32)> {
    let word = line.split_whitespace().find(|word| word.contains('.'))?;
    let mut parts = word.splitn(3, '.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Fetches it, unless it is there.
pub fn install() -> Result<()> {
    let directory = directory();
    if installed(&directory).is_some() {
        return Ok(());
    }
    let step = Step::start("emulator")?;
    let parent = directory.parent().context("the cache has no parent directory")?;
    fs::create_dir_all(parent)?;
    let new = tempfile::tempdir_in(parent)?;
    let root = new.path().join(ROOT);
    debian::unpack_closure(&step, debian::BACKPORTS, &PACKAGES, &root)?;
    mend::mend(&root.join(BINARY))?;
    let program = new.path().join(PROGRAM);
    fs::write(&program, SCRIPT)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755))?;
    let (major, minor, patch) = MINIMUM;
    ensure!(
        installed(new.path()).is_some(),
        "the QEMU of Debian's archive does not run here, or is older than {major}.{minor}.{patch}: {}",
        output(Command::new(&program).arg("--version"))?
    );
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::rename(new.keep(), &directory)?;
    step.done();
    Ok(())
}

const SCRIPT: &str = r#"#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \
    "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
"#;

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_compared_by_number() {
        let line = "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)";
        assert_eq!(number(line), Some((10, 0, 13)));
        assert!(number("QEMU emulator version 10.1.0") > number("QEMU emulator version 10.0.13"));
        assert!(number("QEMU emulator version 10.0.2 (Debian)") < number(line));
        assert_eq!(number("no version"), None);
    }
}

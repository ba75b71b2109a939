//! Device firmware and CPU microcode, for whoever asks for them (`--with-firmware`).
//!
//! ```text
//! modules.builtin.modinfo ─> what the built-in drivers may ask for ─> found in Debian's firmware packages ─> zstd ─> lib/firmware
//!                                                          └─ not there: in rootfs/firmware.toml with a reason, or the build fails
//! intel-microcode, amd64-microcode ─> one file a vendor ─> an archive of its own, which comes first in the initramfs
//! ```
//! None of it is free software, so none is in an image that nobody asked for. Files that no built-in driver declares stay away. The
//! kernel looks for microcode before it unpacks anything: it reads the first archive of the initramfs as it lies in memory, so that
//! one must not be compressed (Documentation/arch/x86/microcode.rst).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::cache::{Key, product};
use crate::debian::{self, Package};
use crate::kernel::Built;
use crate::modinfo;
use crate::step::Step;
use crate::{image, layout, sbom};

/// Grows when this file changes what comes out.
const RECIPE: u32 = 2;
/// Where the kernel looks for microcode in the first archive, by the vendor's name in CPUID.
const MICROCODE: [(&str, &str, &str); 2] = [
    ("intel-microcode", "intel-ucode", "GenuineIntel"),
    ("amd64-microcode", "amd-ucode", "AuthenticAMD"),
];
/// Where firmware is in Debian's packages.
const PLACES: [&str; 2] = ["usr/lib/firmware", "lib/firmware"];
/// Archives begin at multiples of this many bytes.
const BLOCK: usize = 512;

/// `rootfs/firmware.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Packages that are looked into, and why.
    package: Vec<Entry>,
    /// Files that drivers declare and no package has.
    #[serde(default)]
    absent: Vec<Absent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Absent {
    /// A file, or the beginning of several and `*`.
    file: String,
    why: String,
}

/// What comes into the initramfs.
pub struct Firmware {
    /// The archive that comes first.
    pub microcode: Vec<u8>,
    /// The archive with `lib/firmware`.
    pub files: Vec<u8>,
    /// The list of the packages, with versions and licences.
    pub sbom: String,
}

/// Gathers what the drivers of `kernel` declare, or finds it in the cache.
pub fn build(kernel: &Built) -> Result<Firmware> {
    let step = Step::start("firmware")?;
    let file = layout::root().join("rootfs/firmware.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| file.display().to_string())?;
    for (name, why) in manifest
        .package
        .iter()
        .map(|entry| (&entry.name, &entry.why))
        .chain(manifest.absent.iter().map(|absent| (&absent.file, &absent.why)))
    {
        ensure!(!why.trim().is_empty(), "{}: {name} says not why", file.display());
    }
    let drivers = modinfo::read(&kernel.dir)?;
    let declared: BTreeSet<String> = drivers.into_iter().flat_map(|driver| driver.firmware).collect();
    let names = manifest.package.iter().map(|entry| entry.name.as_str());
    let names: Vec<&str> = names
        .chain(MICROCODE.iter().map(|(package, ..)| *package))
        .collect();
    let packages = debian::fetch_firmware(&step, &names)?;
    let mut key = Key::new("firmware", RECIPE).text("manifest", &text);
    for package in &packages {
        key = key.text(&package.name, &package.sha256);
    }
    for file in &declared {
        key = key.text("declared", file);
    }
    let dir = product("firmware", &key.finish(), |dir| {
        gather(&step, &packages, &manifest, &declared, dir)
    })?;
    step.done();
    let read = |name: &str| fs::read(dir.join(name)).with_context(|| format!("reading {name}"));
    let firmware = Firmware {
        microcode: read("microcode.cpio")?,
        files: read("firmware.cpio")?,
        sbom: String::from_utf8(read("firmware.spdx.json")?)?,
    };
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    eprintln!(
        "  firmware: {:.1} MiB for drivers, {:.1} MiB of microcode",
        mib(firmware.files.len()),
        mib(firmware.microcode.len())
    );
    Ok(firmware)
}

fn gather(
    step: &Step,
    packages: &[Package],
    manifest: &Manifest,
    declared: &BTreeSet<String>,
    dir: &Path,
) -> Result<()> {
    let unpacked = dir.join("packages");
    for package in packages {
        package.unpack(step, &unpacked.join(&package.name))?;
    }
    let mut available: BTreeMap<String, (usize, PathBuf)> = BTreeMap::new();
    for (number, package) in packages.iter().enumerate() {
        for (name, path) in files_of(&unpacked.join(&package.name))? {
            available.entry(name).or_insert((number, path));
        }
    }
    let (found, missing) = select(declared, &available.keys().map(String::as_str).collect());
    check(&missing, &manifest.absent)?;

    let staging = dir.join("staging");
    let mut used: BTreeSet<usize> = BTreeSet::new();
    for name in &found {
        let (number, path) = &available[name];
        used.insert(*number);
        let to = staging.join("lib/firmware").join(format!("{name}.zst"));
        fs::create_dir_all(to.parent().context("a file has a directory")?)?;
        // Neither time stamps nor names are in it; the size is, which the kernel wants to know.
        let mut zstd = Command::new("zstd");
        step.run(zstd.args(["-q", "-19", "-f", "-o"]).arg(&to).arg(path))?;
    }
    let early = dir.join("early");
    for (package, place, vendor) in MICROCODE {
        let (number, _) = packages
            .iter()
            .enumerate()
            .find(|(_, found)| found.name == package)
            .with_context(|| format!("{package} is not there"))?;
        used.insert(number);
        let to = early.join("kernel/x86/microcode").join(format!("{vendor}.bin"));
        fs::create_dir_all(to.parent().context("a file has a directory")?)?;
        fs::write(to, microcode(&unpacked.join(package), place)?)?;
    }
    let debs: Vec<(&Package, PathBuf)> = used
        .iter()
        .map(|number| &packages[*number])
        .map(|package| (package, unpacked.join(&package.name)))
        .collect();
    let listed: Vec<(&Package, &Path)> = debs.iter().map(|(deb, files)| (*deb, files.as_path())).collect();
    let list = sbom::write_packages("axion-firmware", &listed)?;
    fs::write(staging.join("lib/firmware/axion.spdx.json"), &list)?;
    fs::write(dir.join("firmware.spdx.json"), &list)?;
    let mut microcode = image::cpio(&early)?;
    microcode.resize(microcode.len().next_multiple_of(BLOCK), 0);
    fs::write(dir.join("microcode.cpio"), microcode)?;
    fs::write(dir.join("firmware.cpio"), image::cpio(&staging)?)?;
    for scratch in [unpacked, staging, early] {
        fs::remove_dir_all(scratch)?;
    }
    Ok(())
}

/// Firmware of an unpacked package: name below the firmware directory, file. Links are followed, as drivers follow them.
fn files_of(package: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for place in PLACES.map(|place| package.join(place)) {
        if !place.is_dir() {
            continue;
        }
        for entry in walkdir::WalkDir::new(&place).sort_by_file_name() {
            let entry = entry?;
            // One that leads to another package leads nowhere here.
            let Ok(real) = entry.path().canonicalize() else {
                continue;
            };
            if real.is_file() {
                let name = entry.path().strip_prefix(&place)?.to_string_lossy().into_owned();
                files.push((name, real));
            }
        }
    }
    Ok(files)
}

/// Declared files that are available, and those that are not. A `*` in a declaration stands for whatever there is. Pure.
fn select(declared: &BTreeSet<String>, available: &BTreeSet<&str>) -> (BTreeSet<String>, Vec<String>) {
    let (mut found, mut missing) = (BTreeSet::new(), Vec::new());
    for wanted in declared {
        let fits: Vec<&str> = match wanted.split_once('*') {
            None => available.get(wanted.as_str()).copied().into_iter().collect(),
            Some((begin, end)) => available
                .iter()
                .copied()
                .filter(|name| name.len() >= begin.len() + end.len())
                .filter(|name| name.starts_with(begin) && name.ends_with(end))
                .collect(),
        };
        if fits.is_empty() {
            missing.push(wanted.clone());
        }
        found.extend(fits.into_iter().map(str::to_owned));
    }
    (found, missing)
}

/// Whether every missing file is known to be missing, and nothing is known that is not so. Pure.
fn check(missing: &[String], known: &[Absent]) -> Result<()> {
    let fits = |absent: &Absent, file: &str| match absent.file.strip_suffix('*') {
        Some(begin) => file.starts_with(begin),
        None => file == absent.file,
    };
    let new = missing
        .iter()
        .filter(|file| !known.iter().any(|absent| fits(absent, file)));
    let new: Vec<&str> = new.map(String::as_str).collect();
    let stale = known
        .iter()
        .filter(|absent| !missing.iter().any(|file| fits(absent, file)));
    let stale: Vec<&str> = stale.map(|absent| absent.file.as_str()).collect();
    if new.is_empty() && stale.is_empty() {
        return Ok(());
    }
    let list = |heading: &str, files: &[&str]| match files {
        [] => String::new(),
        files => format!("\n{heading}\n    {}", files.join("\n    ")),
    };
    bail!(
        "rootfs/firmware.toml is not what the kernel and Debian's packages say:{}{}",
        list(
            "declared by a driver, in no package, and not in [[absent]]:",
            &new
        ),
        list("in [[absent]], and not missing:", &stale)
    )
}

/// All microcode of a vendor in one file, as the kernel reads it.
fn microcode(package: &Path, place: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for (name, path) in files_of(package)? {
        let is_one = name.split_once('/').is_some_and(|(directory, file)| {
            directory == place && !file.ends_with(".asc") && !file.ends_with(".initramfs")
        });
        if is_one {
            all.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
        }
    }
    ensure!(
        !all.is_empty(),
        "{} has no microcode in {place}",
        package.display()
    );
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(file: &str) -> Absent {
        Absent {
            file: file.to_owned(),
            why: "because".to_owned(),
        }
    }

    #[test]
    fn only_declared_files_are_taken() {
        let declared = ["a/x.fw", "b/*.bin", "c/none.fw", "intel/ice/ddp/ice.pkg"];
        let declared = declared.map(str::to_owned).into_iter().collect();
        let available = ["a/x.fw", "a/y.fw", "b/1.bin", "b/2.bin", "b/2.txt"]
            .into_iter()
            .collect();
        let (found, missing) = select(&declared, &available);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["a/x.fw", "b/1.bin", "b/2.bin"]
        );
        assert_eq!(missing, ["c/none.fw", "intel/ice/ddp/ice.pkg"]);
    }

    #[test]
    fn what_is_missing_must_be_known_and_what_is_known_be_missing() {
        let missing = ["old/a.fw".to_owned(), "old/b.fw".to_owned(), "x.fw".to_owned()];
        check(&missing, &[absent("old/*"), absent("x.fw")]).unwrap();
        let error = check(&missing, &[absent("old/*")]).unwrap_err().to_string();
        assert!(error.contains("not in [[absent]]:\n    x.fw"), "{error}");
        let error = check(&missing, &[absent("old/*"), absent("x.fw"), absent("y.fw")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("not missing:\n    y.fw"), "{error}");
    }

    #[test]
    fn microcode_is_one_file_a_vendor() {
        let package = tempfile::tempdir().unwrap();
        let place = package.path().join("usr/lib/firmware/intel-ucode");
        fs::create_dir_all(&place).unwrap();
        for (name, content) in [
            ("06-01-02", "b"),
            ("06-01-01", "a"),
            ("06-01-03.asc", "signature"),
        ] {
            fs::write(place.join(name), content).unwrap();
        }
        assert_eq!(microcode(package.path(), "intel-ucode").unwrap(), b"ab");
        assert!(microcode(package.path(), "amd-ucode").is_err());
    }
}

//! Debian's packages for the image, from a private apt root.
//!
//! The image is made from trixie whatever the build machine runs, so apt works on a directory of its own with its own
//! lists and its own (empty) idea of what is installed; the host is left alone. The archive's address and keyring are
//! those of the host's own configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::layout;
use crate::step::{Step, output};

const SUITE: &str = "trixie";
/// Lists older than this are fetched again: packages move, and a version that has gone cannot be downloaded.
const LISTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A package that was downloaded.
#[derive(Debug, Clone)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the .deb file.
    pub sha256: String,
    /// The .deb file.
    pub file: PathBuf,
}

impl Package {
    /// Unpacks the package's files below `into`.
    pub fn unpack(&self, step: &Step, into: &Path) -> Result<()> {
        fs::create_dir_all(into)?;
        step.run(Command::new("dpkg-deb").arg("-x").arg(&self.file).arg(into))
    }
}

/// What apt knows: a directory of its own for each choice of components, so that firmware that nobody asked for is not even listed.
#[derive(Debug, Clone, Copy)]
pub struct Archive {
    name: &'static str,
    components: &'static str,
    /// Newer releases of some packages, which are taken before those of the suite.
    backports: bool,
}

/// What the image is made of.
pub const FREE: Archive = Archive {
    name: SUITE,
    components: "main contrib",
    backports: false,
};
/// Programs of the build.
pub const BACKPORTS: Archive = Archive {
    name: "trixie-backports",
    components: "main",
    backports: true,
};
const FIRMWARE: Archive = Archive {
    name: "trixie-firmware",
    components: "non-free-firmware",
    backports: false,
};

impl Archive {
    fn root(self) -> PathBuf {
        layout::cache().join("apt").join(self.name)
    }
}

fn apt(archive: Archive, program: &str) -> Command {
    let root = archive.root();
    let mut command = Command::new(program);
    command
        .arg("-o")
        .arg(format!("Dir={}", root.display()))
        .arg("-o")
        .arg(format!(
            "Dir::State::status={}",
            root.join("var/lib/dpkg/status").display()
        ))
        .arg("-o")
        .arg(format!("Dir::Cache={}", root.join("var/cache/apt").display()))
        .args(["-o", "APT::Sandbox::User=root"])
        .env("LC_ALL", "C");
    command
}

/// Address and keyring of the Debian archive, from the host's deb822 sources or its one-line `sources.list`.
pub fn host_archive() -> Result<(String, String)> {
    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let text = fs::read_to_string("/etc/apt/sources.list.d/debian.sources")
        .or_else(|_| fs::read_to_string("/etc/apt/sources.list"))
        .context("finding the Debian archive: neither /etc/apt/sources.list.d/debian.sources nor /etc/apt/sources.list can be read")?;
    let uri = text
        .lines()
        .filter(|l| !l.trim_start().starts_with('#'))
        .find_map(|l| match l.split_once(':') {
            Some(("URIs", uri)) => uri.split_whitespace().next(),
            _ => l
                .strip_prefix("deb ")
                .and_then(|l| l.split_whitespace().find(|w| w.contains("://"))),
        })
        .context("the host's apt sources name no Debian archive")?;
    Ok((uri.to_owned(), KEYRING.to_owned()))
}

fn prepare(step: &Step, archive: Archive) -> Result<()> {
    let root = archive.root();
    for dir in [
        "etc/apt/sources.list.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
    ] {
        fs::create_dir_all(root.join(dir))?;
    }
    let status = root.join("var/lib/dpkg/status");
    if !status.exists() {
        fs::write(&status, "")?;
    }
    let (uri, keyring) = host_archive()?;
    let mut suites = format!("{SUITE} {SUITE}-updates");
    if archive.backports {
        suites = format!("{suites} {SUITE}-backports");
    }
    let sources = format!(
        "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {}\nSigned-By: {keyring}\n",
        archive.components
    );
    let sources_file = root.join("etc/apt/sources.list.d/axion.sources");
    let stamp = root.join("updated");
    let fresh = fs::read_to_string(&sources_file).is_ok_and(|t| t == sources)
        && fs::metadata(&stamp).and_then(|m| m.modified()).is_ok_and(|t| {
            SystemTime::now()
                .duration_since(t)
                .is_ok_and(|age| age < LISTS_MAX_AGE)
        });
    if !fresh {
        fs::write(&sources_file, sources)?;
        step.run(apt(archive, "apt-get").arg("update"))?;
        fs::write(&stamp, "")?;
    }
    Ok(())
}

/// Downloads a package without its dependencies: the image takes the files that it names, not closures.
pub fn fetch(step: &Step, name: &str) -> Result<Package> {
    let package = fetch_all(step, &[name])?.pop();
    package.with_context(|| format!("apt-cache knows no package {name}"))
}

/// The first package that `name` depends on and whose name begins with `prefix`: the kernel behind `linux-image-amd64`.
pub fn dependency(step: &Step, name: &str, prefix: &str) -> Result<String> {
    prepare(step, FREE)?;
    let shown = output(apt(FREE, "apt-cache").args(["show", "--no-all-versions", name]))?;
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "));
    let wanted = depends.into_iter().flat_map(|list| list.split([',', '|']));
    wanted
        .filter_map(|package| package.split_whitespace().next())
        .find(|package| package.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("{name} depends on nothing that begins with {prefix}"))
}

/// Downloads packages without their dependencies, in the order of `names`. Reading the lists takes apt seconds, so they are read
/// once for all.
pub fn fetch_all(step: &Step, names: &[&str]) -> Result<Vec<Package>> {
    fetch_from(step, FREE, names)
}

/// The same for packages of firmware, which are not free software.
pub fn fetch_firmware(step: &Step, names: &[&str]) -> Result<Vec<Package>> {
    fetch_from(step, FIRMWARE, names)
}

fn fetch_from(step: &Step, archive: Archive, names: &[&str]) -> Result<Vec<Package>> {
    prepare(step, archive)?;
    let archives = archive.root().join("var/cache/apt/archives");
    let mut show = apt(archive, "apt-cache");
    let shown = output(show.args(["show", "--no-all-versions"]).args(names))?;
    let packages = names.iter().map(|name| parse(&shown, name, &archives));
    let packages = packages.collect::<Result<Vec<_>>>()?;
    let missing = packages.iter().filter(|package| !package.file.exists());
    let missing: Vec<_> = missing.map(|package| &package.name).collect();
    if !missing.is_empty() {
        let mut download = apt(archive, "apt-get");
        step.run(download.arg("download").args(missing).current_dir(&archives))?;
    }
    Ok(packages)
}

/// Unpacks packages and all that they depend on below `into`: for a program of the build that is to run beside the host's
/// libraries.
pub fn unpack_closure(step: &Step, archive: Archive, names: &[&str], into: &Path) -> Result<()> {
    prepare(step, archive)?;
    let archives = tempfile::tempdir()?;
    fs::create_dir(archives.path().join("partial"))?;
    let mut download = apt(archive, "apt-get");
    if archive.backports {
        download.arg(format!("--target-release={SUITE}-backports"));
    }
    download
        .arg("-o")
        .arg(format!("Dir::Cache::archives={}", archives.path().display()))
        .args(["install", "--yes", "--download-only", "--no-install-recommends"])
        .args(names);
    step.run(&mut download)?;
    fs::create_dir_all(into)?;
    for file in fs::read_dir(archives.path())? {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            step.run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(into))?;
        }
    }
    Ok(())
}

/// A package from what `apt-cache show` printed: one paragraph for each.
fn parse(shown: &str, name: &str, archives: &Path) -> Result<Package> {
    let field = |paragraph: &str, key: &str| {
        paragraph
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(": "))
            .map(str::to_owned)
    };
    let paragraph = shown
        .split("\n\n")
        .find(|p| field(p, "Package").is_some_and(|package| package == name))
        .with_context(|| format!("apt-cache knows no package {name}"))?;
    let need =
        |key: &str| field(paragraph, key).with_context(|| format!("apt-cache show {name} gives no {key}"));
    let (version, architecture) = (need("Version")?, need("Architecture")?);
    let file = archives.join(format!(
        "{name}_{}_{architecture}.deb",
        version.replace(':', "%3a")
    ));
    Ok(Package {
        name: name.to_owned(),
        sha256: need("SHA256")?,
        version,
        file,
    })
}

#[cfg(test)]
mod tests;

//! The two kernels: Debian's `linux-source-6.12`, configured from the fragments in `kernel-config/`.
//!
//! The base is `alldefconfig`, so that what no fragment mentions has the kernel's own default (a mitigation that a
//! point release adds is on, for one); the fragments say what Axion wants beyond it. A symbol whose menu is off would
//! be dropped without a word, so every requested symbol is checked in the configuration that came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::cache::{Key, product};
use crate::debian::{self, Package};
use crate::layout;
use crate::step::{Step, output};

const SOURCE_PACKAGE: &str = "linux-source-6.12";
/// Grows when this file changes what comes out.
const RECIPE: u32 = 1;

/// A kernel that is built.
pub struct Kernel {
    /// Name of the product, and of the fragments' directory below `kernel-config/`.
    name: &'static str,
    /// What is made and kept: make target, file in the build tree, name in the product.
    artifacts: &'static [(&'static str, &'static str)],
    targets: &'static [&'static str],
    modules: bool,
}

/// The appliance's own kernel: `vmlinuz`, `modules/`.
pub const HOST: Kernel = Kernel {
    name: "host",
    artifacts: &[
        ("arch/x86/boot/bzImage", "vmlinuz"),
        (".config", "config"),
        ("Module.symvers", "Module.symvers"),
    ],
    targets: &["bzImage", "modules"],
    modules: true,
};

/// What microVMs boot by default: `vmlinux` (entered by its PVH note) and `bzImage`.
pub const GUEST: Kernel = Kernel {
    name: "guest",
    artifacts: &[("arch/x86/boot/bzImage", "bzImage"), (".config", "config")],
    targets: &["vmlinux", "bzImage"],
    modules: false,
};

/// A kernel as it was built.
pub struct Built {
    /// Directory with the artifacts.
    pub dir: PathBuf,
    /// What it was built from.
    pub source: Package,
}

#[derive(Serialize)]
struct Record<'a> {
    package: &'a str,
    version: &'a str,
    sha256: &'a str,
    compiler: &'a str,
}

impl Kernel {
    /// Builds the kernel, or finds it in the cache.
    pub fn build(&self) -> Result<Built> {
        let title = format!("kernel {}", self.name);
        let step = Step::start(&title)?;
        let source = debian::fetch(&step, SOURCE_PACKAGE)?;
        let compiler = output(Command::new("gcc").arg("-dumpfullversion"))?;
        let fragments = layout::root().join("kernel-config").join(self.name);
        let hash = Key::new("kernel", RECIPE)
            .text("source", &source.sha256)
            .text("compiler", &compiler)
            .path(&fragments)?
            .finish();
        let dir = product(&format!("kernel-{}", self.name), &hash, |dir| {
            let tree = unpack(&step, &source)?;
            let build = self.build_tree();
            fs::create_dir_all(&build)?;
            self.configure(&step, &tree, &build, &fragments)?;
            step.run(
                make(&tree, &build)?
                    .arg(format!("-j{}", std::thread::available_parallelism()?))
                    .args(self.targets),
            )?;
            for (from, to) in self.artifacts {
                fs::copy(build.join(from), dir.join(to)).with_context(|| format!("keeping {from}"))?;
            }
            if self.modules {
                let strip = [
                    "INSTALL_MOD_STRIP=1".to_owned(),
                    format!("INSTALL_MOD_PATH={}", dir.join("modules").display()),
                ];
                step.run(make(&tree, &build)?.args(strip).arg("modules_install"))?;
            } else {
                let (from, to) = (build.join("vmlinux"), dir.join("vmlinux"));
                step.run(Command::new("strip").arg("-o").arg(to).arg(from))?;
            }
            let record = Record {
                package: SOURCE_PACKAGE,
                version: &source.version,
                sha256: &source.sha256,
                compiler: &compiler,
            };
            fs::write(dir.join("source.json"), serde_json::to_string_pretty(&record)?)?;
            Ok(())
        })?;
        step.done();
        Ok(Built { dir, source })
    }

    /// Where the kernel is built; its object files stay.
    pub fn build_tree(&self) -> PathBuf {
        layout::cache()
            .join("build")
            .join(format!("kernel-{}", self.name))
    }

    /// The kernel that was built last and its source, where that was of this configuration; nothing is built.
    #[cfg(test)]
    pub fn found(&self) -> Option<(PathBuf, PathBuf)> {
        let fragments = layout::root().join("kernel-config").join(self.name);
        let merged = fs::read_to_string(self.build_tree().join("axion.config")).ok()?;
        if merged != merge(&read_fragments(&fragments).ok()?) {
            return None;
        }
        let newest = |place: PathBuf, is_wanted: fn(&str) -> bool| {
            let entries = fs::read_dir(place).ok()?.flatten();
            let wanted = entries.filter(|entry| is_wanted(&entry.file_name().to_string_lossy()));
            wanted
                .max_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok())
                .map(|entry| entry.path())
        };
        let products = layout::cache().join(format!("kernel-{}", self.name));
        let built = newest(products, |name| !name.starts_with('.'))?;
        let tree = newest(layout::cache().join("src"), |name| name.starts_with("linux-"))?;
        Some((built, tree))
    }

    fn configure(&self, step: &Step, tree: &Path, build: &Path, fragments: &Path) -> Result<()> {
        let requested = read_fragments(fragments)?;
        let merged = build.join("axion.config");
        fs::write(&merged, merge(&requested))?;
        // make compares time stamps: an unchanged configuration must not rebuild the tree.
        let config = build.join(".config");
        let before = fs::read(&config).ok();
        step.run(
            make(tree, build)?
                .arg("-s")
                .env("KCONFIG_ALLCONFIG", &merged)
                .arg("alldefconfig"),
        )?;
        let after = fs::read_to_string(&config)?;
        if before.as_deref() != Some(after.as_bytes()) {
            step.run(make(tree, build)?.arg("-s").arg("syncconfig"))?;
        }
        let wrong = not_in_effect(&requested, &after);
        ensure!(
            wrong.is_empty(),
            "{} requested kernel symbols did not take effect (a menu or a dependency of theirs is off):\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        Ok(())
    }
}

/// The kernel's source, unpacked once.
pub fn unpack(step: &Step, source: &Package) -> Result<PathBuf> {
    let sources = layout::cache().join("src");
    let tree = sources.join(format!("linux-{}", source.version));
    if !tree.join("Makefile").exists() {
        let scratch = sources.join(".unpack");
        drop(fs::remove_dir_all(&scratch));
        source.unpack(step, &scratch)?;
        step.run(
            Command::new("tar")
                .arg("-xf")
                .arg(scratch.join(format!("usr/src/{SOURCE_PACKAGE}.tar.xz")))
                .arg("-C")
                .arg(&scratch),
        )?;
        fs::rename(scratch.join(SOURCE_PACKAGE), &tree).context("moving the kernel source into place")?;
        fs::remove_dir_all(&scratch)?;
    }
    Ok(tree)
}

/// Environment in which two builds give the same bytes.
pub fn reproducible() -> [(&'static str, &'static str); 5] {
    [
        ("LC_ALL", "C"),
        ("KBUILD_BUILD_TIMESTAMP", "2026-01-01T00:00:00Z"),
        ("KBUILD_BUILD_USER", "axion"),
        ("KBUILD_BUILD_HOST", "axion"),
        ("KBUILD_BUILD_VERSION", "1"),
    ]
}

/// `make` of the source in `tree` for the build in `build`.
pub fn make(tree: &Path, build: &Path) -> Result<Command> {
    let mut command = Command::new("make");
    command
        .arg("-C")
        .arg(tree)
        .arg(format!("O={}", build.display()))
        .args(["CC=ccache gcc", "HOSTCC=ccache gcc"])
        .envs(reproducible())
        .env("CCACHE_DIR", layout::cache().join("ccache"))
        .env("CCACHE_BASEDIR", layout::cache())
        .env("CCACHE_NOHASHDIR", "1")
        .env("CCACHE_MAXSIZE", "4G")
        .env_remove("MAKEFLAGS");
    Ok(command)
}

/// The symbols of every fragment in a directory. A symbol may be asked for once only: two fragments that disagree
/// would otherwise be settled by their names.
fn read_fragments(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut requested = BTreeMap::new();
    let mut files: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "config"))
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file)?;
        for (symbol, value) in parse_fragment(&text).with_context(|| file.display().to_string())? {
            if requested.insert(symbol.clone(), value).is_some() {
                bail!("{}: {symbol} is asked for twice", file.display());
            }
        }
    }
    Ok(requested)
}

/// What is requested, as one fragment.
fn merge(requested: &BTreeMap<String, String>) -> String {
    requested.iter().map(|(k, v)| format!("{k}={v}\n")).collect()
}

fn parse_fragment(text: &str) -> Result<Vec<(String, String)>> {
    let mut symbols = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((symbol, value)) if symbol.starts_with("CONFIG_") && !value.is_empty() => {
                symbols.push((symbol.to_owned(), value.to_owned()));
            }
            _ => bail!(
                "line {}: `{line}` is neither a comment nor CONFIG_SYMBOL=value (write =n for off)",
                number + 1
            ),
        }
    }
    Ok(symbols)
}

/// Requested symbols that the configuration does not have as requested, one line each.
fn not_in_effect(requested: &BTreeMap<String, String>, config: &str) -> Vec<String> {
    let effective: BTreeMap<_, _> = config.lines().filter_map(|l| l.split_once('=')).collect();
    requested
        .iter()
        .filter_map(|(symbol, wanted)| {
            let got = effective.get(symbol.as_str()).copied().unwrap_or("n");
            (got != wanted).then(|| format!("    {symbol}: wanted {wanted}, got {got}"))
        })
        .collect()
}

#[cfg(test)]
mod tests;

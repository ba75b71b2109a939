//! OpenZFS's kernel modules: the source in Debian's `zfs-dkms`, built against our kernel.
//!
//! A module fits one configuration of one kernel. The tree that the kernel was built in may be gone, or another
//! configuration's by now, so the modules get a tree of their own, from what the kernel's product keeps:
//!
//! ```text
//! kernel-host/HASH/config          ─► olddefconfig, modules_prepare ─┐
//! kernel-host/HASH/Module.symvers  ─► versions of every symbol      ─┴─► configure, make ─► spl.ko, zfs.ko
//! ```
//!
//! The kernel has MODVERSIONS, so modules that slipped past the hash would be refused when they are loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection};

use crate::cache::{Key, product};
use crate::debian::{self, Package};
use crate::kernel::{self, Built};
use crate::layout;
use crate::step::Step;

const SOURCE_PACKAGE: &str = "zfs-dkms";
/// Grows when this file changes what comes out.
const RECIPE: u32 = 1;
/// What `configure` is told besides the kernel's trees.
const OPTIONS: [&str; 3] = [
    "--with-config=kernel",
    "--disable-dependency-tracking",
    "--prefix=/usr",
];
/// In the order in which they are loaded.
const MODULES: [&str; 2] = ["spl", "zfs"];

/// The modules as they were built.
pub struct Modules {
    /// Directory with `spl.ko`, `zfs.ko` and the source's `copyright`.
    pub dir: PathBuf,
    /// What they were built from.
    pub source: Package,
}

/// Builds the modules for `kernel`, or finds them in the cache.
pub fn build(kernel: &Built) -> Result<Modules> {
    let step = Step::start("zfs modules")?;
    let source = debian::fetch(&step, SOURCE_PACKAGE)?;
    // Its name is the hash of the kernel's inputs, the configuration and the compiler among them.
    let kernel_hash = kernel.dir.file_name().unwrap_or_default().to_string_lossy();
    let hash = Key::new("zfs-modules", RECIPE)
        .text("source", &source.sha256)
        .text("kernel", &kernel_hash)
        .text("options", &OPTIONS.join(" "))
        .finish();
    let dir = product("zfs-modules", &hash, |dir| {
        let build = layout::cache().join("build");
        let headers = build.join("zfs-kernel");
        prepare_kernel(&step, kernel, &headers)?;
        let unpacked = build.join("zfs");
        drop(fs::remove_dir_all(&unpacked));
        source.unpack(&step, &unpacked)?;
        let tree = source_tree(&unpacked)?;
        compile(&step, &tree, &kernel::unpack(&step, &kernel.source)?, &headers)?;
        for module in MODULES {
            let (from, to) = (
                tree.join(format!("module/{module}.ko")),
                dir.join(format!("{module}.ko")),
            );
            step.run(
                Command::new("strip")
                    .arg("--strip-debug")
                    .arg("-o")
                    .arg(to)
                    .arg(from),
            )?;
        }
        fs::copy(licence_below(&unpacked), dir.join("copyright")).context("keeping the licence")?;
        for scratch in [headers, unpacked] {
            fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
        }
        Ok(())
    })?;
    step.done();
    Ok(Modules { dir, source })
}

/// A tree that external modules can be built against, without building the kernel.
fn prepare_kernel(step: &Step, kernel: &Built, headers: &Path) -> Result<()> {
    drop(fs::remove_dir_all(headers));
    fs::create_dir_all(headers)?;
    let tree = kernel::unpack(step, &kernel.source)?;
    let (kept, config) = (kernel.dir.join("config"), headers.join(".config"));
    fs::copy(&kept, &config).with_context(|| format!("copying {}", kept.display()))?;
    step.run(kernel::make(&tree, headers)?.args(["-s", "olddefconfig"]))?;
    ensure!(
        fs::read(&kept)? == fs::read(&config)?,
        "the kernel in {} has another configuration than its source gives now: remove it, and it is built again",
        kernel.dir.display()
    );
    step.run(
        kernel::make(&tree, headers)?
            .arg(parallel()?)
            .arg("modules_prepare"),
    )?;
    let symbols = kernel.dir.join("Module.symvers");
    fs::copy(&symbols, headers.join("Module.symvers"))
        .with_context(|| format!("copying {}", symbols.display()))?;
    Ok(())
}

/// The one directory below `usr/src`, which is named after the version.
fn source_tree(unpacked: &Path) -> Result<PathBuf> {
    let sources = unpacked.join("usr/src");
    let mut trees = fs::read_dir(&sources)
        .with_context(|| format!("reading {}", sources.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let tree = trees.find(|tree| tree.join("configure").exists());
    tree.with_context(|| format!("{SOURCE_PACKAGE} has no source with a `configure` in usr/src"))
}

fn compile(step: &Step, tree: &Path, kernel_source: &Path, headers: &Path) -> Result<()> {
    let own = |program: &str| {
        let mut command = Command::new(program);
        command
            .current_dir(tree)
            .envs(kernel::reproducible())
            // Assertions name their file; the path of this machine would get into the modules.
            .env("KCFLAGS", format!("-fmacro-prefix-map={}/=", tree.display()));
        command.env_remove("MAKEFLAGS");
        command
    };
    step.run(
        own("./configure")
            .args(OPTIONS)
            .arg(format!("--with-linux={}", kernel_source.display()))
            .arg(format!("--with-linux-obj={}", headers.display())),
    )?;
    step.run(own("make").arg(parallel()?).args(["-C", "module"]))
}

fn parallel() -> Result<String> {
    Ok(format!("-j{}", std::thread::available_parallelism()?))
}

impl Modules {
    /// Adds the modules to those of the kernel `release` in `directory` (`/usr/lib/modules` of a root), and to its list.
    pub fn install(&self, directory: &Path) -> Result<()> {
        let mut releases = fs::read_dir(directory)
            .with_context(|| format!("reading {}", directory.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()));
        let release = releases
            .find(|release| release.join("modules.dep").exists())
            .with_context(|| format!("{} has no modules.dep", directory.display()))?;
        fs::create_dir_all(release.join("extra"))?;
        let list = release.join("modules.dep");
        let mut dependencies = fs::read_to_string(&list)?;
        for module in MODULES {
            let file = self.dir.join(format!("{module}.ko"));
            let needed = needed_by(&fs::read(&file)?).with_context(|| file.display().to_string())?;
            dependencies.push_str(&dependency_line(module, &needed)?);
            fs::copy(&file, release.join(format!("extra/{module}.ko")))
                .with_context(|| format!("copying {}", file.display()))?;
        }
        fs::write(&list, dependencies).with_context(|| format!("writing {}", list.display()))
    }

    /// Puts the source's licence where it is in the package, below `packages`.
    pub fn unpack_licence(&self, packages: &Path) -> Result<()> {
        let to = licence_below(&packages.join(SOURCE_PACKAGE));
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::copy(self.dir.join("copyright"), &to).with_context(|| format!("writing {}", to.display()))?;
        Ok(())
    }
}

fn licence_below(package: &Path) -> PathBuf {
    package.join(format!("usr/share/doc/{SOURCE_PACKAGE}/copyright"))
}

/// What a module says that it needs, as modinfo(8) lists it: `depends=a,b` among the words of its section `.modinfo`.
fn needed_by(module: &[u8]) -> Result<String> {
    let elf = ElfFile64::<LittleEndian>::parse(module)?;
    let section = elf.section_by_name(".modinfo").context("it has no .modinfo")?;
    let mut words = section.data()?.split(|byte| *byte == 0);
    let depends = words.find_map(|word| word.strip_prefix(b"depends="));
    Ok(String::from_utf8(
        depends.context("it does not say what it needs")?.to_vec(),
    )?)
}

/// A line of `modules.dep` (modules.dep(5)) for a module that needs the modules `needed`, as modinfo(8) lists them.
fn dependency_line(module: &str, needed: &str) -> Result<String> {
    let needed: Vec<_> = needed.split(',').filter(|name| !name.is_empty()).collect();
    for name in &needed {
        ensure!(
            MODULES.contains(name),
            "{module}.ko needs the module {name}, which is no part of OpenZFS: build it into the kernel"
        );
    }
    let files: String = needed.iter().map(|name| format!(" extra/{name}.ko")).collect();
    Ok(format!("extra/{module}.ko:{files}\n"))
}

#[cfg(test)]
mod tests;

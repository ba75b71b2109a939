//! The root file system: our programs, the kernel's modules, static files and what `rootfs/manifest.toml` names of
//! Debian's packages; nothing else. Also the initramfs of the default guest, made the same way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cache::Key;
use crate::debian::{self, Package};
use crate::kernel::{self, Built};
use crate::media::grub::{self, Grub};
use crate::step::Step;
use crate::{erofs, layout, programs, sbom, zfs};

/// Grows when this file changes what comes out.
const RECIPE: u32 = 6;

/// Programs in the root, and where. PID 1 is not among them: it runs on from the initramfs.
const PROGRAMS: [(&str, &str); 3] = [
    ("axion-agent", "usr/lib/axion/axion-agent"),
    ("axion-console", "usr/lib/axion/axion-console"),
    ("axion-vmm", "usr/lib/axion/axion-vmm"),
];

/// Mount points and directories that the root has besides those of its files.
const DIRECTORIES: [&str; 10] = [
    "dev",
    "newroot",
    "proc",
    "run",
    "sys",
    "tmp",
    "var",
    "usr/share/axion/guest",
    "usr/lib/modules",
    // An initramfs with firmware shows it here.
    "usr/lib/firmware",
];

const SYMLINKS: [(&str, &str); 6] = [
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("bin", "usr/bin"),
    ("sbin", "usr/bin"),
    ("etc/resolv.conf", "/run/axion/resolv.conf"),
    ("etc/mtab", "/proc/self/mounts"),
];

/// Where an entry of the manifest goes: into the appliance, into its share of ZFS, or into its default guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Destination {
    Root,
    Zfs,
    Guest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    package: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// For the reader of the manifest; it is refused without one.
    why: String,
    into: Destination,
    files: BTreeMap<String, String>,
}

/// What a root file system is made of, besides Debian's packages.
pub struct Inputs {
    /// The directory with the manifest and the static files.
    pub sources: PathBuf,
    /// The directory of our programs.
    pub programs: PathBuf,
    /// The kernel.
    pub kernel: Built,
    /// The guest's kernel.
    pub guest_kernel: Built,
    zfs_modules: zfs::Modules,
}

impl Inputs {
    /// Builds the kernels and the programs, or finds that nothing has changed.
    pub fn build() -> Result<Self> {
        let kernel = kernel::HOST.build()?;
        let zfs_modules = zfs::build(&kernel)?;
        let guest_kernel = kernel::GUEST.build()?;
        programs::build()?;
        Ok(Self {
            sources: layout::root().join("rootfs"),
            programs: programs::directory(),
            kernel,
            guest_kernel,
            zfs_modules,
        })
    }

    /// The same, with copies of our own part below the directory `to`.
    pub fn copied(self, to: &Path) -> Result<Self> {
        let (sources, programs) = (to.join("sources"), to.join("programs"));
        copy_tree(&self.sources, &sources)?;
        for name in programs::IN_IMAGE {
            copy(&self.programs.join(name), &programs.join(name))?;
        }
        Ok(Self {
            sources,
            programs,
            ..self
        })
    }
}

/// A root file system that was built.
pub struct Root {
    /// The EROFS image.
    pub erofs: PathBuf,
    /// The same without ZFS: what the image would be without it.
    pub erofs_without_zfs: PathBuf,
    /// The guest's initramfs.
    pub guest_initrd: PathBuf,
}

/// Where the root has the public key that it trusts for updates (`axion_core::paths::UPDATE_KEY`).
const UPDATE_KEY: &str = "usr/share/axion/update.pub";

/// Where the root has the loader of installed disks.
const LOADER: &str = "usr/lib/axion/boot/systemd-bootx64.efi";

/// Where the root has what machines load that boot from the node (`axion_core::paths::IPXE`).
const NETBOOT: &str = "usr/lib/axion/netboot";

/// Where the root has the loaders of installed disks.
const BOOT: &str = "usr/lib/axion/boot";

/// Those for a BIOS: code of the first sector, and the rest.
const GRUB: [&str; 2] = ["grub-boot.img", "grub-core.img"];

/// Builds the root file system of `inputs` in the directory `products`, or finds that nothing has changed; with an `update_key`, one
/// that takes updates signed by it.
pub fn build(inputs: &Inputs, products: &Path, update_key: Option<&str>) -> Result<Root> {
    let Inputs {
        sources,
        programs,
        kernel,
        guest_kernel,
        zfs_modules,
    } = inputs;
    let step = Step::start("root file system")?;
    let manifest = read_manifest(&sources.join("manifest.toml"))?;
    let names: Vec<_> = manifest.package.iter().map(|entry| entry.name.as_str()).collect();
    let mut packages = debian::fetch_all(&step, &[&names[..], &grub::PACKAGES].concat())?;
    let of_grub = packages.split_off(names.len());
    let packages: Vec<_> = packages.into_iter().zip(&manifest.package).collect();

    fs::create_dir_all(products)?;
    let (erofs, guest_initrd) = (products.join("root.erofs"), products.join("guest/initrd"));
    let erofs_without_zfs = products.join("root-without-zfs.erofs");
    let mut key = Key::new("rootfs", RECIPE)
        .path(sources)?
        .path(&kernel.dir)?
        .path(&zfs_modules.dir)?
        .path(&guest_kernel.dir)?;
    for package in packages.iter().map(|(package, _)| package).chain(&of_grub) {
        key = key.text(&package.name, &package.sha256);
    }
    for (program, _) in PROGRAMS {
        key = key.path(&programs.join(program))?;
    }
    if let Some(update_key) = update_key {
        key = key.text("update key", update_key);
    }
    let hash = key.path(&layout::root().join("Cargo.lock"))?.finish();
    let stamp = products.join("root.hash");
    let loader = products.join("systemd-bootx64.efi");
    let grub = GRUB.map(|name| products.join(name));
    let products_exist = [&erofs, &erofs_without_zfs, &guest_initrd, &loader]
        .into_iter()
        .chain(&grub)
        .all(|product| product.exists());
    if products_exist && fs::read_to_string(&stamp).is_ok_and(|h| h == hash) {
        step.done();
        return Ok(Root {
            erofs,
            erofs_without_zfs,
            guest_initrd,
        });
    }

    let staging = products.join("staging");
    drop(fs::remove_dir_all(&staging));
    let (root, zfs, guest) = (staging.join("root"), staging.join("zfs"), staging.join("guest"));
    for (package, entry) in &packages {
        let unpacked = staging.join("packages").join(&package.name);
        package.unpack(&step, &unpacked)?;
        let into = match entry.into {
            Destination::Root => &root,
            Destination::Zfs => &zfs,
            Destination::Guest => &guest,
        };
        for (from, to) in &entry.files {
            copy(&unpacked.join(from), &into.join(to)).with_context(|| {
                format!(
                    "package {} has no {from}; correct rootfs/manifest.toml",
                    package.name
                )
            })?;
        }
    }

    // For tests, which make installed disks without a machine.
    copy(&root.join(LOADER), &loader)?;
    copy(&sources.join("guest/init"), &guest.join("init"))?;
    fs::create_dir_all(products.join("guest"))?;
    fs::write(&guest_initrd, crate::image::cpio(&guest)?)?;
    for name in ["vmlinux", "bzImage"] {
        copy(&guest_kernel.dir.join(name), &products.join("guest").join(name))?;
    }

    for dir in DIRECTORIES {
        fs::create_dir_all(root.join(dir))?;
    }
    copy_tree(&sources.join("root"), &root)?;
    for (link, target) in SYMLINKS {
        symlink(target, root.join(link)).with_context(|| format!("linking {link}"))?;
    }
    for (program, to) in PROGRAMS {
        copy(&programs.join(program), &root.join(to))?;
    }
    copy(
        &guest_kernel.dir.join("vmlinux"),
        &root.join("usr/share/axion/guest/vmlinux"),
    )?;
    copy(&guest_initrd, &root.join("usr/share/axion/guest/initrd"))?;
    let loader_package = install_grub(&step, &of_grub, &staging.join("packages"), &root)?;
    for (name, product) in GRUB.iter().zip(&grub) {
        copy(&root.join(BOOT).join(name), product)?;
    }
    write_sums(&root.join(NETBOOT))?;
    copy_modules(
        &kernel.dir.join("modules/lib/modules"),
        &root.join("usr/lib/modules"),
    )?;

    if let Some(update_key) = update_key {
        fs::write(root.join(UPDATE_KEY), update_key)?;
    }

    let unpacked = staging.join("packages");
    zfs_modules.unpack_licence(&unpacked)?;
    let mut debs: Vec<&Package> = packages.iter().map(|(p, _)| p).collect();
    debs.extend([loader_package.loader(), &zfs_modules.source]);
    let list = sbom::write(&debs, &kernel.source, &unpacked)?;
    fs::write(products.join("sbom.spdx.json"), &list)?;
    fs::write(root.join("usr/share/axion/sbom.spdx.json"), &list)?;

    erofs::make(&step, &root, &erofs_without_zfs)?;
    copy_tree(&zfs, &root)?;
    zfs_modules.install(&root.join("usr/lib/modules"))?;
    erofs::make(&step, &root, &erofs)?;
    fs::remove_dir_all(&staging)?;
    fs::write(&stamp, hash)?;
    step.done();
    Ok(Root {
        erofs,
        erofs_without_zfs,
        guest_initrd,
    })
}

/// Makes the loader that the installer writes for machines with a BIOS.
fn install_grub(step: &Step, packages: &[Package], unpacked: &Path, root: &Path) -> Result<Grub> {
    // The list of what is in the image looks for its licence there.
    let grub = grub::unpack(step, packages, &unpacked.join(grub::LOADER))?;
    let loader = grub.for_installed_disk(step)?;
    let to = root.join(BOOT);
    fs::create_dir_all(&to)?;
    for (name, content) in GRUB.iter().zip([&loader.boot_code[..], &loader.partition]) {
        fs::write(to.join(name), content)?;
    }
    Ok(grub)
}

/// Writes what the boot server checks the files of `dir` by.
fn write_sums(dir: &Path) -> Result<()> {
    let mut sums = String::new();
    for entry in walkdir::WalkDir::new(dir).min_depth(1).sort_by_file_name() {
        let path = entry?.into_path();
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().display();
        sums += &format!("{}  {name}\n", hex::encode(Sha256::digest(content)));
    }
    let to = dir.join("SHA256SUMS");
    fs::write(&to, sums).with_context(|| format!("writing {}", to.display()))
}

fn read_manifest(file: &Path) -> Result<Manifest> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| file.display().to_string())?;
    for entry in &manifest.package {
        ensure!(
            !entry.why.trim().is_empty(),
            "{}: package {} says not why it is there",
            file.display(),
            entry.name
        );
    }
    Ok(manifest)
}

/// Copies a file with mode 0644 or, where its owner may run it, 0755.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    let executable = fs::metadata(from)?.permissions().mode() & 0o100 != 0;
    fs::set_permissions(
        to,
        fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }),
    )?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            copy(entry.path(), &to.join(entry.path().strip_prefix(from)?))?;
        }
    }
    Ok(())
}

/// Modules and what `modprobe` reads of them; `build` and `source` point into the build machine and stay away.
fn copy_modules(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from).sort_by_file_name() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let wanted = name.ends_with(".ko")
            || matches!(name.as_ref(), "modules.dep" | "modules.alias" | "modules.builtin");
        if entry.file_type().is_file() && wanted {
            copy(entry.path(), &to.join(entry.path().strip_prefix(from)?))?;
        }
    }
    Ok(())
}

//! The host of `bench vmm`: the image's root with the measuring init, the guests' files and the other VMMs in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use axion_lab::emulator::{self, ROOT};
use axion_vmm_bench::vmm::Vmm;
use axion_vmm_bench::{Plan, kernel};

use crate::step::{Step, output};
use crate::{erofs, image, layout, programs};

/// Path of the measuring init on the host.
pub const INIT: &str = "/bench/init";
/// What QEMU's microvm needs of its data.
const QEMU_DATA: [&str; 4] = ["qboot.rom", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"];
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Files of the host.
pub struct Host {
    /// Its root file system, EROFS.
    pub disk: PathBuf,
    /// An initramfs with nothing in it.
    pub initramfs: PathBuf,
    /// The VMM of the image.
    pub vmm: PathBuf,
    /// Bytes of the program of each VMM.
    pub sizes: Vec<(Vmm, u64)>,
}

/// Makes the host from the image in `image`; `peers` are programs of other VMMs.
pub fn make(image: &Path, plan: &Plan, peers: &[(Vmm, PathBuf)]) -> Result<Host> {
    programs::build_packages("programs that measure", &["axion-vmm-bench"])?;
    let step = Step::start("host of the VMMs")?;
    let dir = layout::products().join("bench-vmm");
    drop(fs::remove_dir_all(&dir));
    let root = dir.join("root");
    fs::create_dir_all(&dir)?;
    erofs::unpack(&step, &image.join("root.erofs"), &root)?;
    let bench = root.join("bench");
    fs::create_dir_all(&bench)?;
    copy(
        &programs::path("axion-bench-host"),
        &root.join(INIT.trim_start_matches('/')),
    )?;
    fs::write(bench.join("plan.json"), serde_json::to_vec(plan)?)?;
    fs::write(bench.join("byte.elf"), kernel::file())?;
    fs::write(bench.join("guest.cpio"), guest(&dir)?)?;
    if plan
        .vmms
        .iter()
        .any(|vmm| matches!(vmm, Vmm::Qemu | Vmm::QemuMicrovm))
    {
        qemu(&bench.join("qemu"))?;
    }
    for (vmm, program) in peers {
        copy(program, &bench.join(vmm.name()))?;
    }
    let size = |vmm: &Vmm| {
        let file = root.join(vmm.program().strip_prefix("/")?);
        let size = fs::metadata(&file)
            .with_context(|| file.display().to_string())?
            .len();
        Ok((*vmm, size))
    };
    let sizes = plan.vmms.iter().map(size).collect::<Result<_>>()?;
    let disk = dir.join("root.erofs");
    erofs::make_plain(&step, &root, &disk)?;
    let initramfs = dir.join("empty.cpio");
    let empty = dir.join("empty");
    fs::create_dir_all(&empty)?;
    fs::write(&initramfs, image::cpio(&empty)?)?;
    step.done();
    let vmm = root.join(Vmm::Axion.program().strip_prefix("/")?);
    Ok(Host {
        disk,
        initramfs,
        vmm,
        sizes,
    })
}

/// The guests' initramfs.
fn guest(dir: &Path) -> Result<Vec<u8>> {
    let staging = dir.join("guest");
    fs::create_dir_all(&staging)?;
    copy(&programs::path("axion-bench-guest"), &staging.join("init"))?;
    image::cpio(&staging)
}

/// QEMU's programs with what they link against.
fn qemu(into: &Path) -> Result<()> {
    let root = emulator::directory().join(ROOT);
    let loader = root.join(LOADER);
    ensure!(loader.exists(), "there is no QEMU in {}", root.display());
    copy(&loader, &into.join(LOADER))?;
    for vmm in [Vmm::Qemu, Vmm::QemuMicrovm] {
        let program = Path::new("usr/bin").join(vmm.name());
        copy(&root.join(&program), &into.join(&program))?;
        let list = output(
            Command::new(&loader)
                .arg("--library-path")
                .arg(root.join(LIBRARIES))
                .arg("--list")
                .arg(root.join(&program)),
        )?;
        for library in list.lines().filter_map(|line| line.split(" => ").nth(1)) {
            let library = Path::new(library.split(" (").next().unwrap_or(library));
            let name = library.file_name().context("a library without a name")?;
            copy(library, &into.join(LIBRARIES).join(name))?;
        }
    }
    for name in QEMU_DATA {
        let file = Path::new("usr/share/qemu").join(name);
        copy(&root.join(&file), &into.join(&file))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

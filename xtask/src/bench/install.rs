//! From a machine that starts the installer to the first ready boot of the node that it leaves, against a boot without a disk.

use std::fs::{self, File};
use std::time::Duration;

use anyhow::{Result, ensure};
use axion_lab::bench::median;
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Spec};

use super::{Goal, image_dir, meet, replace_section};

/// Installer and first boot without the write, in plain boots.
const MOST: f64 = 3.0;
/// Bytes of the disk.
const DISK: u64 = 3 << 30;
/// An installation in emulation, on a busy computer.
const LONG: Duration = Duration::from_secs(240);

/// What a round took.
struct Round {
    /// The kernel and initramfs without a disk, power to ready.
    plain: Duration,
    /// The installer, power on to power off, its writes included.
    installer: Duration,
    /// Of that, from the first write to the last.
    write: Duration,
    /// The disk by UEFI, power to ready.
    first: Duration,
}

/// Measures it, and records it on demand.
pub fn install(rounds: usize, record: bool) -> Result<()> {
    ensure!(rounds > 0, "--rounds must be at least 1");
    let image = Image::at(&image_dir()?)?;
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let round = measure(&image)?;
        eprintln!(
            "    plain {:.2} s, installer {:.2} s, {:.2} s of it the write, first boot {:.2} s",
            round.plain.as_secs_f64(),
            round.installer.as_secs_f64(),
            round.write.as_secs_f64(),
            round.first.as_secs_f64()
        );
        taken.push(round);
    }
    let of = |value: fn(&Round) -> Duration| median(taken.iter().map(value).collect());
    let (plain, installer, first) = (of(|r| r.plain), of(|r| r.installer), of(|r| r.first));
    let whole = of(|r| (r.installer + r.first).saturating_sub(r.write));
    let ratio = whole.as_secs_f64() / plain.as_secs_f64();
    let text = format!(
        "`cargo xtask bench install --rounds {rounds}`: 2 CPUs and 2 GiB, emulated; medians of {rounds} rounds, alternating.\n\n| | |\n|---|---:|\n\
         | plain boot by UEFI: kernel and initramfs from memory, power to ready | {:.2} s |\n\
         | installer, power on to power off | {:.2} s |\n\
         | of that, the write | {:.2} s |\n\
         | first boot of the disk by UEFI, power to ready | {:.2} s |\n\
         | **installer and first boot without the write, in plain boots** (at most {MOST}) | **{ratio:.2}** |\n",
        plain.as_secs_f64(),
        installer.as_secs_f64(),
        of(|r| r.write).as_secs_f64(),
        first.as_secs_f64(),
    );
    println!("{text}");
    if record {
        replace_section("Install", &text)?;
    }
    meet(&[Goal {
        what: "installer and first boot without the write, in plain boots",
        found: ratio,
        most: MOST,
    }])
}

fn measure(image: &Image) -> Result<Round> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    File::create(&disk)?.set_len(DISK)?;

    // By the same firmware as the others.
    let machine = Spec::new("bench-install-plain").uefi().start(image)?;
    machine.log().wait_for(READY, LONG)?;
    let plain = machine.started().elapsed();
    drop(machine);

    let archives = dir.path().join("initramfs.cpio");
    fs::write(
        &archives,
        [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat(),
    )?;
    let spec = Spec::new("bench-install");
    let config = spec.medium_config("[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\n");
    let machine = spec
        .uefi()
        .initramfs(&archives)
        .kernel_arg("axion.mode=install")
        .config(config)
        .disk(DiskBus::Nvme, DiskContent::File(disk.clone()))
        .start(image)?;
    let begun = machine.log().wait_for("installing on nvme0n1", LONG)?.at;
    let write = machine
        .log()
        .wait_for("installed on nvme0n1", LONG)?
        .at
        .saturating_sub(begun);
    machine.wait_exit()?;
    let installer = machine.started().elapsed();
    drop(machine);

    let machine = Spec::new("bench-install-first")
        .uefi()
        .boot_from_disks()
        .disk(DiskBus::Nvme, DiskContent::File(disk))
        .start(image)?;
    machine.log().wait_for(READY, LONG)?;
    Ok(Round {
        plain,
        installer,
        write,
        first: machine.started().elapsed(),
    })
}

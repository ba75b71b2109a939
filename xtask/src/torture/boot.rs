//! Starts disks that power cuts have left, in emulated machines: what the offline check says of them, firmware and loader must say.
//!
//! The life of a node is recorded with the image itself, once for each firmware. A cut is behind an operation of a step that was
//! chosen by chance, and so is what is left of the writes that were not flushed. The machine that starts from the disk must come
//! to ready in the slot that the check names.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axion_install::esp::Update;
use axion_install::fat::Volume;
use axion_install::inspect::{self, Inspection};
use axion_install::perform::{Installation, install};
use axion_install::plan::{Plan, Sizes};
use axion_install::recording::{Disk, Operation};
use axion_install::slot::{Named, Slot};
use axion_install::torture::Chance;
use axion_install::{bios, config, storage};
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Firmware, Image, Spec};

use crate::media::grub::{self, DiskLoader};
use crate::step::Step;
use crate::{debian, image, media};

/// Bytes of the disk.
const SIZE: u64 = 3 << 30;
/// Bytes that are written at once: most cuts are to be between the writes that matter.
const CHUNK: usize = 8 << 20;
/// From power to ready, on a busy computer.
const START: Duration = Duration::from_secs(180);
const BOOTLOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// As an installer that the lab starts would leave it.
const ARGUMENTS: &str = "console=ttyS1 axion.log=ttyS1 no_timer_check";

/// What is done to the disk.
#[derive(Debug, Clone, Copy)]
enum Act {
    Stage(&'static str, Slot),
    Start,
    Confirm(Slot),
    RollBack,
    SetOptions(Slot),
    Configure,
}

/// The life of a node that was installed.
const LIFE: [Act; 9] = [
    Act::Stage("0.2.0", Slot::A),
    Act::Start,
    Act::Confirm(Slot::B),
    Act::SetOptions(Slot::B),
    Act::Configure,
    Act::Stage("0.3.0", Slot::B),
    Act::Start,
    Act::RollBack,
    Act::Stage("0.4.0", Slot::B),
];

/// An act, recorded.
struct Recorded {
    act: Act,
    before: Disk,
    log: Vec<Operation>,
}

/// Boots `count` disks.
pub fn boot(count: usize, seed: u64) -> Result<()> {
    let started = Instant::now();
    let image = image::build()?;
    media::media(&media::Options::default())?;
    let image = Image::at(&image.dir)?;
    let uki = std::fs::read(image.medium("axion.efi")?)?;
    // It has nothing to tell but where the log goes: nobody calls the node.
    let config = Spec::new("tortured").medium_config("hostname = \"tortured\"\n");

    let step = Step::start("recording")?;
    let (loader, grub) = loaders(&step)?;
    let lives = [Firmware::Uefi, Firmware::Bios];
    let lives =
        lives.map(|firmware| record(firmware, &uki, &loader, &grub, &config).map(|life| (firmware, life)));
    let [uefi, bios] = lives;
    let lives = [uefi?, bios?];
    step.done();

    let mut chance = Chance::new(seed);
    for number in 0..count {
        let (firmware, life) = &lives[number % lives.len()];
        let recorded = &life[chance.below(life.len())];
        let behind = 1 + chance.below(recorded.log.len());
        let what = format!(
            "{number}: {firmware:?}, {:?} cut behind operation {behind} of {}",
            recorded.act,
            recorded.log.len()
        );
        let left = recorded
            .before
            .cut_behind(&recorded.log, behind, |versions| chance.below(versions))?;
        let slot = start(&image, *firmware, &left, number).with_context(|| format!("{what}, seed {seed}"))?;
        eprintln!("    {what}: {slot}");
    }
    println!(
        "{count} disks that power cuts left, seed {seed}: each came to ready in the slot that the check names ({:.0} s)",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// systemd-boot, and GRUB as the image has it.
fn loaders(step: &Step) -> Result<(Vec<u8>, DiskLoader)> {
    let dir = tempfile::tempdir()?;
    let systemd = debian::fetch(step, "systemd-boot-efi")?;
    systemd.unpack(step, dir.path())?;
    let loader = std::fs::read(dir.path().join(BOOTLOADER))?;
    let packages = debian::fetch_all(step, &grub::PACKAGES)?;
    let grub = grub::unpack(step, &packages, &dir.path().join("grub"))?;
    Ok((loader, grub.for_installed_disk(step)?))
}

fn record(
    firmware: Firmware,
    uki: &[u8],
    loader: &[u8],
    grub: &DiskLoader,
    config: &str,
) -> Result<Vec<Recorded>> {
    let mut disk = Disk::new(SIZE);
    let what = Installation {
        loader,
        bios: bios::Loader::new(&grub.boot_code, &grub.partition)?,
        image: &update("0.1.0", uki),
        config,
        mirror: None,
        chunk: CHUNK,
    };
    let plan = Plan::fresh(SIZE, Sizes::for_sector(512), 0x7000);
    install(&disk, &plan, &what, &mut &*uki, &mut |_| {})?;
    let mut life = Vec::new();
    for act in LIFE {
        let before = disk.settled();
        let after = before.fresh();
        perform(&after, act, firmware, uki).with_context(|| format!("{act:?}"))?;
        let log = after.log();
        disk = after;
        life.push(Recorded { act, before, log });
    }
    Ok(life)
}

fn update(version: &str, uki: &[u8]) -> Update {
    Update {
        version: version.to_owned(),
        size: uki.len() as u64,
        digest: inspect::digest(uki),
        options: ARGUMENTS.to_owned(),
    }
}

fn perform(disk: &Disk, act: Act, firmware: Firmware, mut uki: &[u8]) -> Result<()> {
    let esp = inspect::open(disk)?.with_chunk(CHUNK);
    match act {
        Act::Stage(version, running) => {
            let update = update(version, uki);
            esp.stage(Some(running), &update, &mut uki, &mut |_| {})?;
        }
        Act::Start => {
            match firmware {
                Firmware::Uefi => esp.count_start()?,
                Firmware::Bios => esp.count_start_of_grub()?,
            };
        }
        Act::Confirm(slot) => {
            esp.confirm(slot)?;
        }
        Act::RollBack => {
            esp.roll_back()?;
        }
        Act::SetOptions(slot) => esp.set_options(slot, &format!("{ARGUMENTS} printk.time=1"))?,
        Act::Configure => {
            let [volume, ..] = Plan::fresh(SIZE, Sizes::for_sector(512), 0x7000).partitions;
            let volume = Volume::open(storage::Part::new(disk, volume.start, volume.length))?;
            let config = Spec::new("tortured").medium_config("hostname = \"tortured-again\"\n");
            config::replace(&volume, &config)?;
        }
    }
    Ok(())
}

/// Starts a machine from a disk to ready, and looks at the disk again; says which slot it was.
fn start(image: &Image, firmware: Firmware, left: &Disk, number: usize) -> Result<String> {
    let found = inspect::inspect(left)?;
    let next = starts(&found, firmware).context("what starts is not whole")?;
    let expected = format!("slot {} runs, Axion {}", next.name.slot, next.entry.version);
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("disk.img");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    file.set_len(SIZE)?;
    left.copy_to(&storage::Disk::new(file, 512)?)?;

    let spec = Spec::new(format!("torture-{number}"))
        .boot_from_disks()
        .disk(DiskBus::Nvme, DiskContent::File(path.clone()));
    let spec = match firmware {
        Firmware::Uefi => spec.uefi(),
        Firmware::Bios => spec,
    };
    let machine = spec.start(image)?;
    machine.log().wait_for(&expected, START)?;
    machine.log().wait_for(READY, START)?;
    machine.power_button()?;
    machine.wait_exit()?;
    drop(machine);
    let file = File::options().read(true).write(true).open(&path)?;
    let found = inspect::inspect(&storage::Disk::new(file, 512)?)?;
    ensure!(
        found.good().is_some() && starts(&found, firmware).is_some(),
        "after that start, the disk is not as it must be: {found:?}"
    );
    Ok(expected)
}

fn starts(found: &Inspection, firmware: Firmware) -> Option<&Named> {
    match firmware {
        Firmware::Uefi => found.starts(),
        Firmware::Bios => found.bios.as_ref()?.starts(),
    }
}

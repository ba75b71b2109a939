//! A person installs a node from a USB stick, by the console alone, and the node starts from its disk under the name that was typed.
//! The screens on the way are kept in the machine's directory, as `screens`.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_e2e::SOON;
use axion_install::fat::Volume;
use axion_install::inspect;
use axion_install::perform::CONFIG;
use axion_install::storage::{Disk, Part};
use axion_install::table;
use axion_lab::machine::READY;
use axion_lab::screen::key;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Drive, Firmware, Image, Machine, Spec, media};

/// The layout needs little more than 2 GiB.
const DISK_MIB: u64 = 3072;
/// Reading the stick, writing the image in emulation.
const INSTALLATION: Duration = Duration::from_secs(240);
/// What the console needs for a key and a page.
const MOMENT: Duration = Duration::from_secs(20);
const NETWORK: &str = "How is the installed node reached?";
const NODE: &str = "What is the installed node called";
/// What the last row of a page with fields says while it waits for keys.
const FIELD_KEYS: &str = "Up/Down field   Left/Right change   Enter next   Esc back";
const DISK_KEYS: &str = "Esc leave; nothing is written before the end";
const CONFIRM_KEYS: &str = "Enter install   Esc back";

#[test]
fn a_person_installs_from_a_stick_by_the_console() -> Result<()> {
    let (image, dir) = (Image::find()?, tempfile::tempdir()?);
    let (stick, disk) = (dir.path().join("stick.img"), dir.path().join("disk.img"));
    File::create(&disk)?.set_len(DISK_MIB << 20)?;
    let spec = Spec::new("install-tui")
        .boot_from(Firmware::Uefi, Drive::UsbStick, &stick)
        .disk(DiskBus::Nvme, DiskContent::File(disk.clone()))
        .exit_on_reboot();
    let token = spec.token.clone();
    media::edited_image(
        &image.medium("axion.img")?,
        &stick,
        &spec.medium_config("time.ntp = []\n"),
    )?;

    let machine = spec.start(&image)?;
    machine.log().wait_for(READY, INSTALLATION)?;
    let mut screens = answer(&machine)?;
    let shown = page(&machine, "Type \"", CONFIRM_KEYS)?;
    let word = shown
        .split('"')
        .nth_back(1)
        .context("no word is shown")?
        .to_owned();
    screens.push(shown);
    type_word(&machine, "qqqq")?;
    screens.push(page(&machine, "is not the word", CONFIRM_KEYS)?);
    ensure!(fs::metadata(&disk)?.blocks() == 0, "the disk was written");

    type_word(&machine, &word)?;
    screens.push(machine.screen().wait_for("Axion is being installed", SOON)?);
    machine
        .screen()
        .wait_for("press Enter to restart", INSTALLATION)?;
    screens.push(page(
        &machine,
        "press Enter to restart",
        "Esc stay in this system",
    )?);
    fs::write(machine.dir().join("screens"), screens.join("\n\n"))?;
    machine.screen().press(key::ENTER)?;
    machine.wait_exit()?;
    drop(machine);

    ensure!(inspect::inspect(&open(&disk)?)?.starts().is_some());
    let config = config_on(&disk)?;
    for part in ["rack9", "mode = \"off\"", "disks = [\"system\"]", &token.hash()] {
        ensure!(config.contains(part), "{config}");
    }
    let spec = Spec::new("installed-tui").token(token).uefi().boot_from_disks();
    let machine = spec.disk(DiskBus::Nvme, DiskContent::File(disk)).start(&image)?;
    machine.log().wait_for("slot a runs", INSTALLATION)?;
    let node = machine.wait_ready()?;
    machine.screen().wait_for("rack9", SOON)?;
    let hostname = node.call(node.client().host())?.hostname;
    ensure!(hostname == "rack9", "{hostname}");
    // It keeps what it is told, on the rest of its disk, which nobody was asked about twice.
    let host = node.call(node.client().host())?;
    ensure!(host.persistent_state, "{host:?}");
    // A node that is installed is not installed again.
    let footer = machine.screen().contents();
    ensure!(!footer.contains("i install"), "{footer}");
    Ok(())
}

/// Answers everything, a host name that is none first; gives the screens.
fn answer(machine: &Machine) -> Result<Vec<String>> {
    let screen = machine.screen();
    screen.wait_for("i install", SOON)?;
    screen.press("i")?;
    let disks = page(machine, "serial:axion-0", DISK_KEYS)?;
    let offered = ["serial:", "wwid:", "pci:"].map(|kind| disks.matches(kind).count());
    ensure!(
        offered.iter().sum::<usize>() == 1,
        "the stick is offered: {disks}"
    );
    let network = enter(machine, NETWORK, FIELD_KEYS)?;
    enter(machine, NODE, FIELD_KEYS)?;
    screen.press("rack 9")?;
    let refused = enter(machine, "is not a host name", FIELD_KEYS)?;
    screen.press("\x7f\x7f9")?;
    screen.press(key::DOWN)?;
    screen.press(key::LEFT)?;
    let node = screen.wait_for("< off >", SOON)?;
    screen.press(key::ENTER)?;
    Ok(vec![disks, network, refused, node])
}

/// A page with `text`, once it is painted down to its keys.
fn page(machine: &Machine, text: &str, keys: &str) -> Result<String> {
    let whole = |shown: &str| shown.contains(text) && shown.contains(keys);
    Ok(machine.screen().wait_until(text, SOON, whole)?)
}

/// Presses Enter for a page with `text`, as [`page`]. Of keys that come while a slow machine paints, some were seen to be lost.
fn enter(machine: &Machine, text: &str, keys: &str) -> Result<String> {
    let whole = |shown: &str| shown.contains(text) && shown.contains(keys);
    machine.screen().press(key::ENTER)?;
    if let Ok(shown) = machine.screen().wait_until(text, MOMENT, whole) {
        return Ok(shown);
    }
    machine.screen().press(key::ENTER)?;
    page(machine, text, keys)
}

fn type_word(machine: &Machine, word: &str) -> Result<()> {
    machine.screen().press(word)?;
    machine.screen().wait_for(&format!("> {word}_"), SOON)?;
    machine.screen().press(key::ENTER)?;
    Ok(())
}

#[test]
fn a_node_that_is_started_to_be_installed_asks_by_itself() -> Result<()> {
    let (image, dir) = (Image::find()?, tempfile::tempdir()?);
    let (archives, disk) = (dir.path().join("initramfs.cpio"), dir.path().join("disk.img"));
    File::create(&disk)?.set_len(DISK_MIB << 20)?;
    let content = [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat();
    fs::write(&archives, content)?;
    let spec = Spec::new("install-asks")
        .uefi()
        .initramfs(&archives)
        .kernel_arg("axion.mode=install")
        .disk(DiskBus::Nvme, DiskContent::File(disk.clone()))
        .disk(DiskBus::Virtio, DiskContent::Blank { mib: 64 });
    let machine = spec.start(&image)?;
    let screen = machine.screen();
    screen.wait_for("not possible: it has 64.0 MiB", INSTALLATION)?;
    let disks = page(&machine, "not possible: it has 64.0 MiB", DISK_KEYS)?;
    ensure!(disks.contains("> serial:axion-0"), "{disks}");
    enter(&machine, NETWORK, FIELD_KEYS)?;
    a_wrong_address_is_told_at_its_field(&machine)?;
    // Back to the disks, out, and in again by the key.
    screen.press(key::ESCAPE)?;
    page(&machine, "On which disk?", DISK_KEYS)?;
    screen.press(key::ESCAPE)?;
    screen.wait_until("the page below", SOON, |shown| {
        !shown.contains("Install on a disk")
    })?;
    screen.press("i")?;
    page(&machine, "> serial:axion-0", DISK_KEYS)?;
    enter(&machine, NETWORK, FIELD_KEYS)?;
    screen.press(key::RIGHT)?;
    screen.press(&[key::DOWN, key::DOWN, "10.0.2.77/24", key::DOWN, "10.0.2.2"].concat())?;
    screen.wait_for("10.0.2.2_", SOON)?;
    enter(&machine, NODE, FIELD_KEYS)?;
    let shown = enter(&machine, "Type \"", CONFIRM_KEYS)?;
    let word = shown.split('"').nth_back(1).context("no word is shown")?;
    type_word(&machine, word)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    page(&machine, "press Enter to restart", "Esc stay in this system")?;
    screen.press(key::ESCAPE)?;
    screen.wait_until("the page below", SOON, |shown| {
        !shown.contains("press Enter to restart")
    })?;
    screen.press("i")?;
    screen.wait_for("holds: Axion", SOON)?;
    machine.log().wait_for("no pool is imported", SOON)?;
    machine.power_button()?;
    machine.wait_exit()?;
    ensure!(inspect::inspect(&open(&disk)?)?.starts().is_some());
    let config = config_on(&disk)?;
    for part in ["10.0.2.77/24", "gateways = [\"10.0.2.2\"]"] {
        ensure!(config.contains(part), "{config}");
    }
    Ok(())
}

fn a_wrong_address_is_told_at_its_field(machine: &Machine) -> Result<()> {
    let screen = machine.screen();
    page(machine, NETWORK, FIELD_KEYS)?;
    screen.press(key::RIGHT)?;
    screen.wait_for("Resolvers", SOON)?;
    screen.press(key::ENTER)?;
    screen.wait_for("! `` is not an address with a prefix length", SOON)?;
    screen.press("10.0.2.77/24")?;
    screen.press(key::DOWN)?;
    screen.press("10.0.3.2")?;
    screen.press(key::ENTER)?;
    screen.wait_for("`10.0.3.2` is not in the network of 10.0.2.77/24", SOON)?;
    Ok(())
}

fn open(disk: &Path) -> Result<Disk> {
    let file = File::options().read(true).write(true).open(disk)?;
    Ok(Disk::new(file, 512)?)
}

/// The installed machine config.
fn config_on(disk: &Path) -> Result<String> {
    let disk = open(disk)?;
    let partitions = table::read(&disk)?;
    let at = partitions.iter().find(|partition| partition.name == "AXION-CFG");
    let at = at.context("there is no config volume")?;
    let volume = Volume::open(Part::new(&disk, at.start, at.length))?;
    let text = volume.read(CONFIG, 1 << 20)?.context("there is no config")?;
    Ok(String::from_utf8(text)?)
}

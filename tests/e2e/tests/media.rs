//! Every boot medium starts the node, by every firmware and from every drive that it is made for, and tells it nothing but what
//! its `AXION-CFG` volume says.
//!
//! |                          | BIOS | UEFI |
//! |--------------------------|------|------|
//! | `axion.iso`, CD          | yes  | yes  |
//! | `axion.iso`, USB stick   | yes  | yes  |
//! | `axion.img`, USB stick   | yes  | yes  |
//! | `axion.img`, disk        | yes  | yes  |
//! | `axion.img`, written by `axctl` with a config | | yes |
//! | `axion.efi` alone        |      | yes  |
//! | `axion.ipxe`             | yes  | `tests/netboot.rs` |

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::init::Outcome;
use axion_e2e::SOON;
use axion_lab::deadline::Poll;
use axion_lab::{Display, Drive, Firmware, Image, Machine, Node, Spec, command, media, node};

/// Serial number of the stick.
const SERIAL: &str = "AX-1";
/// Bytes that the stick has more than the medium, as one that was bought does.
const ROOM: u64 = 8 << 20;
/// Some 200 MiB, written, read back and compared.
const WRITTEN: Duration = Duration::from_secs(120);

#[test]
fn the_iso_is_a_cd_for_bios_and_the_console_is_on_the_screen_and_the_serial_line() -> Result<()> {
    let spec = Spec::new("iso-cd-bios").display(Display::Text);
    let (machine, node) = iso(spec, Firmware::Bios, Drive::CdRom)?;
    let report = node.call(node.client().boot())?;
    for phase in report.phases {
        ensure!(phase.outcome == Outcome::Ok, "{}: {:?}", phase.name, phase.tasks);
    }
    machine.screen().wait_for("iso-cd-bios", SOON)?;
    machine.wait_vga("iso-cd-bios", SOON)?;
    Ok(())
}

#[test]
fn the_iso_is_a_cd_for_uefi() -> Result<()> {
    let (machine, _) = iso(Spec::new("iso-cd-uefi"), Firmware::Uefi, Drive::CdRom)?;
    machine.screen().wait_for("iso-cd-uefi", SOON)?;
    Ok(())
}

#[test]
fn the_iso_is_a_usb_stick_for_bios() -> Result<()> {
    iso(Spec::new("iso-usb-bios"), Firmware::Bios, Drive::UsbStick)?;
    Ok(())
}

#[test]
fn the_iso_is_a_usb_stick_for_uefi() -> Result<()> {
    iso(Spec::new("iso-usb-uefi"), Firmware::Uefi, Drive::UsbStick)?;
    Ok(())
}

/// A person in front of the node has it write a support bundle to the stick, and reads it elsewhere.
#[test]
fn the_edited_disk_image_is_a_usb_stick_for_bios_and_takes_a_support_bundle() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (machine, _) = edited_image("img-usb-bios", Firmware::Bios, Drive::UsbStick, dir.path())?;
    press_until(&machine, "t", "support bundle to a USB stick")?;
    press_until(&machine, "b", "AXION-CFG")?;
    machine.screen().press("1")?;
    machine
        .screen()
        .wait_until("the bundle on the stick", WRITTEN, |screen| {
            screen.contains("Written to ") && screen.contains("unplugged")
        })?;
    machine.power_button()?;
    machine.wait_exit()?;
    let files = media::on_config_volume(&dir.path().join("disk.img"))?;
    let bundle = files.iter().find(|(name, _)| name.ends_with(".tar"));
    let (_, bundle) = bundle.context("there is no bundle on the stick")?;
    let holds = |text: &str| bundle.windows(text.len()).any(|part| part == text.as_bytes());
    ensure!(
        bundle.len() > 10_000 && holds("ustar") && holds("img-usb-bios"),
        "{} bytes",
        bundle.len()
    );
    Ok(())
}

#[test]
fn the_edited_disk_image_is_a_usb_stick_for_uefi() -> Result<()> {
    let dir = tempfile::tempdir()?;
    edited_image("img-usb-uefi", Firmware::Uefi, Drive::UsbStick, dir.path())?;
    Ok(())
}

#[test]
fn the_edited_disk_image_is_a_disk_for_bios() -> Result<()> {
    let dir = tempfile::tempdir()?;
    edited_image("img-virtio-bios", Firmware::Bios, Drive::Virtio, dir.path())?;
    Ok(())
}

#[test]
fn the_edited_disk_image_is_a_disk_for_uefi() -> Result<()> {
    let dir = tempfile::tempdir()?;
    edited_image("img-nvme-uefi", Firmware::Uefi, Drive::Nvme, dir.path())?;
    Ok(())
}

/// Presses a key as a person does who sees that nothing came of it: a busy serial line loses one now and then.
fn press_until(machine: &Machine, key: &str, text: &str) -> Result<()> {
    const GLANCE: Duration = Duration::from_secs(10);
    for _ in 0..3 {
        machine.screen().press(key)?;
        if machine.screen().wait_for(text, GLANCE).is_ok() {
            return Ok(());
        }
    }
    machine.screen().wait_for(text, SOON)?;
    Ok(())
}

/// What `axctl media write --config` leaves on a stick. The computer that it writes on has that stick alone ([`computer`]).
#[test]
fn axctl_writes_a_stick_with_a_config() -> Result<()> {
    let (image, dir) = (Image::find()?, tempfile::tempdir()?);
    let medium = image.medium("axion.img")?;
    let stick = computer(dir.path(), fs::metadata(&medium)?.len() + ROOM)?;
    let spec = Spec::new("img-axctl").boot_from(Firmware::Uefi, Drive::UsbStick, &stick);
    let document = dir.path().join("axion.toml");
    fs::write(&document, config(&spec))?;
    let arguments = ["--disk", SERIAL, "--yes", "--config"];
    let mut axctl = Command::new("unshare");
    axctl.arg("--mount");
    if fs::metadata("/proc/self")?.uid() != 0 {
        axctl.args(["--user", "--map-root-user"]);
    }
    axctl
        .args(["sh", "-ec", IN_COMPUTER, "sh"])
        .args([dir.path().join("sys"), dir.path().join("dev")])
        .arg(node::axctl()?.get_program())
        .args(["media", "write"])
        .arg(&medium)
        .args(arguments)
        .arg(&document);
    command::succeed(&mut axctl, WRITTEN)?;
    start(spec, &image)?;
    Ok(())
}

/// Runs the rest of its arguments where the first two directories are `/sys` and `/dev`.
const IN_COMPUTER: &str = "mount --bind \"$1\" /sys; mount --bind \"$2\" /dev; shift 2; exec \"$@\"";

/// A `/sys` and a `/dev` in `dir` with one USB stick of `bytes`, a file; gives the file. What `axctl` may write to is what it finds
/// in them, so that no disk of the computer that tests can be meant.
fn computer(dir: &Path, bytes: u64) -> Result<PathBuf> {
    let device = dir.join("sys/devices/usb1/1-1");
    let disk = device.join("host6/block/sdzz");
    fs::create_dir_all(disk.join("queue"))?;
    fs::write(device.join("idVendor"), "0781")?;
    fs::write(device.join("serial"), SERIAL)?;
    fs::write(disk.join("size"), (bytes / 512).to_string())?;
    symlink("../..", disk.join("device"))?;
    for class in ["sys/block", "sys/class/block"] {
        fs::create_dir_all(dir.join(class))?;
        symlink(
            "/sys/devices/usb1/1-1/host6/block/sdzz",
            dir.join(class).join("sdzz"),
        )?;
    }
    fs::create_dir(dir.join("dev"))?;
    let stick = dir.join("dev/sdzz");
    File::create(&stick)?.set_len(bytes)?;
    Ok(stick)
}

#[test]
fn the_uki_starts_from_any_fat_volume() -> Result<()> {
    let (image, dir) = (Image::find()?, tempfile::tempdir()?);
    let stick = dir.path().join("stick.img");
    media::efi_volume(&stick, &image.medium("axion.efi")?)?;
    let spec = Spec::new("uki").boot_from(Firmware::Uefi, Drive::UsbStick, stick);
    with_config_volume(spec, &image)?;
    Ok(())
}

#[test]
fn ipxe_loads_the_files_beside_its_script() -> Result<()> {
    let image = Image::find()?;
    let script = image.medium("axion.ipxe")?;
    let directory = script.parent().context("the script is in no directory")?;
    with_config_volume(Spec::new("pxe").boot_from_network(directory), &image)?;
    Ok(())
}

fn iso(spec: Spec, firmware: Firmware, drive: Drive) -> Result<(Machine, Node)> {
    let image = Image::find()?;
    let iso = image.medium("axion.iso")?;
    with_config_volume(spec.boot_from(firmware, drive, iso), &image)
}

/// A medium that cannot be written to gets its config from a volume beside it.
fn with_config_volume(spec: Spec, image: &Image) -> Result<(Machine, Node)> {
    let config = config(&spec);
    start(spec.config_volume(&config), image)
}

/// The disk image brings its own config, which somebody has edited.
fn edited_image(name: &str, firmware: Firmware, drive: Drive, dir: &Path) -> Result<(Machine, Node)> {
    let image = Image::find()?;
    let disk: PathBuf = dir.join("disk.img");
    let spec = Spec::new(name).boot_from(firmware, drive, &disk).writes_medium();
    media::edited_image(&image.medium("axion.img")?, &disk, &config(&spec))?;
    start(spec, &image)
}

/// The machine's name as host name, and what the lab needs.
fn config(spec: &Spec) -> String {
    spec.medium_config(&format!("hostname = \"{}\"\n", spec.name))
}

fn start(spec: Spec, image: &Image) -> Result<(Machine, Node)> {
    let machine = spec.start(image)?;
    let node = machine.wait_ready()?;
    let name = &machine.spec().name;
    // The agent listens before it has found init, and answers this call only then.
    node.poll(&format!("host name {name}"), SOON, |node| {
        let hostname = node.call(node.client().host())?.hostname;
        Ok(if hostname == *name {
            Poll::Ready(())
        } else {
            Poll::Pending(hostname)
        })
    })?;
    Ok((machine, node))
}

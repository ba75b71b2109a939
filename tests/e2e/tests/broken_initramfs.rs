//! An image that arrived broken says so, on the log and on every console, and does not leave the machine hanging.

use std::fs;

use anyhow::{Result, ensure};
use axion_e2e::SOON;
use axion_lab::{Display, Image, Machine, Spec, media};

#[test]
fn a_root_file_system_that_is_none_is_reported_with_a_countdown() -> Result<()> {
    let machine = start("broken-root", Display::Text, |image, out| {
        Ok(media::overlay(
            &image.initramfs(),
            out,
            &[("axion/root.erofs", &[0_u8; 4096])],
        )?)
    })?;
    let log = machine.log().wait_for("boot failed", SOON * 2)?;
    ensure!(log.text.contains("root"), "{}", log.text);
    let screen = machine.screen().wait_for("Rebooting in", SOON)?;
    ensure!(
        screen.contains("Axion cannot start") && screen.contains("Cause:"),
        "{screen}"
    );
    ensure!(screen.contains("Next step:"), "{screen}");
    let vga = machine.wait_vga("Rebooting in", SOON)?;
    ensure!(
        vga.contains("Axion cannot start") && vga.contains("Cause:"),
        "{vga}"
    );
    // The countdown of 30 s ends in a reset, which ends this machine.
    machine.wait_exit()?;
    Ok(())
}

#[test]
fn a_download_that_broke_off_is_reported() -> Result<()> {
    let machine = start("broken-download", Display::None, |image, out| {
        let size = fs::metadata(image.initramfs())?.len();
        Ok(media::truncated(&image.initramfs(), out, size / 4 * 3)?)
    })?;
    machine.log().wait_for("boot failed", SOON * 2)?;
    machine.screen().wait_for("Rebooting in", SOON)?;
    Ok(())
}

fn start(
    name: &str,
    display: Display,
    breaks: impl FnOnce(&Image, &std::path::Path) -> Result<()>,
) -> Result<Machine> {
    let image = Image::find()?;
    let dir = std::env::temp_dir().join(format!("axion-{name}-{}.cpio", std::process::id()));
    breaks(&image, &dir)?;
    let machine = Spec::new(name)
        .display(display)
        .exit_on_reboot()
        .initramfs(&dir)
        .start(&image);
    // QEMU has read it; nothing else will.
    fs::remove_file(&dir)?;
    Ok(machine?)
}

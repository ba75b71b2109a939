//! Power verbs are orderly: guests are asked to power off first, a reboot comes back as the same machine.

use anyhow::{Result, ensure};
use axion_api::host::PowerAction;
use axion_e2e::{GUEST_BOOT, GUEST_READY, SOON, boot, console};
use axion_lab::Spec;

const UUID: &str = "6f1c7a6e-3c0d-4f4e-9a51-1d2f3a4b5c6d";

#[test]
fn a_reboot_comes_back_and_the_power_button_ends_guests_first() -> Result<()> {
    let (machine, node) = boot(Spec::new("power").uuid(UUID).config_with_token(""))?;
    let before = node.call(node.client().host())?;
    let ready = machine.log().wait_for(axion_lab::machine::READY, SOON)?;
    node.call(node.client().power(PowerAction::Reboot))?;
    let node = machine.wait_ready_after(&ready)?;
    let after = node.call(node.client().host())?;
    ensure!(
        after.machine_id == before.machine_id && after.hostname == before.hostname,
        "{before:?} {after:?}"
    );
    ensure!(after.boot_id != before.boot_id, "{}", after.boot_id);

    node.axctl(&["vm", "run", "guest"])?;
    let guest = console(&node, "guest")?;
    guest.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    machine.power_button()?;
    guest.log().wait_for("Power down", GUEST_BOOT)?;
    machine.log().wait_for("axion: init: powering off", GUEST_BOOT)?;
    ensure!(machine.wait_exit()?.success());
    Ok(())
}

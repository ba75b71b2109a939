//! The console shows a person at the machine what the node is, on the serial line and on the screen, and powers it off.

use anyhow::{Result, ensure};
use axion_e2e::{SOON, boot};
use axion_lab::screen::key;
use axion_lab::{Display, Spec};

#[test]
fn the_console_shows_the_node_and_powers_it_off() -> Result<()> {
    let config = "hostname = \"rack7\"\ntime.ntp = [\"10.0.2.200\"]\n";
    let (machine, node) = boot(
        Spec::new("console-tui")
            .display(Display::Text)
            .config_with_token(config),
    )?;
    let fingerprint = node.fingerprint().to_string();
    let start = fingerprint.get(..23).unwrap_or_default();

    let screen = machine.screen().wait_for("10.0.2.15", SOON)?;
    for part in ["rack7", start, "agent"] {
        ensure!(
            screen.contains(part),
            "`{part}` is not on the serial console:\n{screen}"
        );
    }
    let vga = machine.wait_vga("10.0.2.15", SOON)?;
    for part in ["rack7", start] {
        ensure!(vga.contains(part), "`{part}` is not on the screen:\n{vga}");
    }

    machine.screen().press("p")?;
    machine.screen().wait_until("a question about power", SOON, |s| {
        s.to_lowercase().contains("power off")
    })?;
    machine.screen().press(key::ESCAPE)?;
    node.call(node.client().health())?;
    Ok(())
}

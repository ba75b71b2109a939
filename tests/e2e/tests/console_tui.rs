//! The console shows a person at the machine what the node is, on the serial line and on the screen, and powers it off.

use anyhow::{Result, ensure};
use axion_e2e::{SOON, boot};
use axion_lab::screen::key;
use axion_lab::{Display, Machine, Node, Spec};

const QUESTION: &str = "Power this node off?";

#[test]
fn the_console_shows_the_node_and_powers_it_off() -> Result<()> {
    let config = "hostname = \"rack7\"\ntime.ntp = [\"10.0.2.200\"]\n";
    let (machine, node) = boot(
        Spec::new("console-tui")
            .display(Display::Text)
            .config_with_token(config),
    )?;
    the_serial_line_shows_how_to_reach_it(&machine, &node)?;
    the_screen_shows_the_same_and_has_a_keyboard(&machine, &node)?;
    phases_have_their_times(&machine)?;
    a_slip_does_not_power_off(&machine, &node)?;
    the_written_word_does(&machine)
}

fn the_serial_line_shows_how_to_reach_it(machine: &Machine, node: &Node) -> Result<()> {
    let fingerprint = node.fingerprint().to_string();
    // A frame goes out in pieces, and what is not known yet comes with a later one.
    for part in [
        "https://10.0.2.15:8443",
        "rack7",
        fingerprint.as_str(),
        "not set by NTP",
        "in memory only",
    ] {
        machine.screen().wait_for(part, SOON)?;
    }
    Ok(())
}

fn the_screen_shows_the_same_and_has_a_keyboard(machine: &Machine, node: &Node) -> Result<()> {
    let fingerprint = node.fingerprint().to_string();
    for part in ["https://10.0.2.15:8443", "rack7", fingerprint.as_str()] {
        machine.wait_vga(part, SOON)?;
    }
    machine.press_keys(&["3"])?;
    machine.wait_vga("console@ttyS0", SOON)?;
    machine.screendump("services")?;
    Ok(())
}

fn phases_have_their_times(machine: &Machine) -> Result<()> {
    machine.screen().press("2")?;
    machine.screen().wait_for("kernel, until init starts", SOON)?;
    machine.screen().press("1")?;
    machine.screen().wait_for("not set by NTP", SOON)?;
    Ok(())
}

fn a_slip_does_not_power_off(machine: &Machine, node: &Node) -> Result<()> {
    machine.screen().press("p")?;
    machine.screen().wait_for(QUESTION, SOON)?;
    machine.screen().press("yes")?;
    machine.screen().wait_for("> yes", SOON)?;
    machine.screen().press(key::ENTER)?;
    machine
        .screen()
        .wait_until("the question without an answer", SOON, |s| s.contains("> _"))?;
    machine.screen().press(key::ESCAPE)?;
    machine
        .screen()
        .wait_until("the page without a question", SOON, |s| !s.contains(QUESTION))?;
    node.call(node.client().health())?;
    Ok(())
}

fn the_written_word_does(machine: &Machine) -> Result<()> {
    machine.screen().press("p")?;
    machine.screen().wait_for(QUESTION, SOON)?;
    machine.screen().press("power off")?;
    machine.screen().press(key::ENTER)?;
    machine.log().wait_for("axion: init: powering off", SOON)?;
    ensure!(machine.wait_exit()?.success());
    Ok(())
}

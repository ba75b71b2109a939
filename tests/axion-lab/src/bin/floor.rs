//! The floor of every boot time: an init that prints one line and powers off.
//!
//! With the appliance's kernel and firmware, this is the least that any system needs from the machine's start to its first
//! own word.

use std::io::Write;

use nix::sys::reboot::{RebootMode, reboot};

fn main() {
    // The kernel gives init its console before anything is mounted (init/main.c, console_on_rootfs).
    let _ = std::io::stdout().write_all(b"axion: floor\n");
    // Only an error comes back; an init that then returns makes the kernel panic, which ends the boot too.
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

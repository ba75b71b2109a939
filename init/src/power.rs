//! Going down: what asks for it, and the order in which it is done.
//!
//! ```text
//! D-Bus, Ctrl-Alt-Del, SIGPWR, the power button
//!   -> VMs: SIGTERM (the guest's power button), each its deadline, SIGKILL
//!   -> services -> whatever is left -> pools given back -> sync -> unmount -> reboot(2)
//! ```

use std::convert::Infallible;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_core::config::FailureAction;
use nix::mount::{MntFlags, umount2};
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::log::Log;
use crate::mounts;
use crate::node::Node;
use crate::stage2;
use crate::sys;

/// How the node goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// And comes back.
    Reboot,
    /// And stays down.
    PowerOff,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "power off",
        })
    }
}

/// What is neither a VM nor a service gets this long after SIGTERM.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// Starts listening to what asks for going down besides D-Bus.
///
/// # Errors
/// Signals cannot be received.
pub fn listen(node: &Arc<Node>) -> std::io::Result<()> {
    // Otherwise the kernel restarts the machine at once on Ctrl-Alt-Del; now it sends SIGINT.
    if let Err(e) = set_cad_enabled(false) {
        node.log
            .warning(&format!("Ctrl-Alt-Del stays with the kernel: {e}"));
    }
    for (kind, verb, cause) in [
        (SignalKind::interrupt(), Verb::Reboot, "Ctrl-Alt-Del"),
        (SignalKind::from_raw(libc::SIGPWR), Verb::PowerOff, "SIGPWR"),
    ] {
        let mut signals = signal(kind)?;
        let node = node.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                ask(&node.log, &node.power, verb, cause);
            }
        });
    }
    for button in power_buttons(Path::new("/")) {
        let node = node.clone();
        tokio::spawn(async move {
            if let Err(e) = watch_button(&button, &node).await {
                node.log.warning(&format!("power button {button}: {e}"));
            }
        });
    }
    Ok(())
}

fn ask(log: &Log, power: &UnboundedSender<Verb>, verb: Verb, cause: &str) {
    log.info(&format!("{cause}: asked to {verb}"));
    let _ = power.send(verb);
}

/// Linux's code of the power key (input-event-codes.h).
const KEY_POWER: usize = 116;
const EV_KEY: u16 = 1;

/// Input devices below `root` that have a power key: `event0`.
fn power_buttons(root: &Path) -> Vec<String> {
    let Ok(inputs) = std::fs::read_dir(root.join("sys/class/input")) else {
        return Vec::new();
    };
    let has_key = |input: &std::fs::DirEntry| {
        let keys = std::fs::read_to_string(input.path().join("device/capabilities/key")).unwrap_or_default();
        has_bit(&keys, KEY_POWER)
    };
    let name = |input: std::fs::DirEntry| input.file_name().into_string().ok();
    inputs
        .flatten()
        .filter(has_key)
        .filter_map(name)
        .filter(|n| n.starts_with("event"))
        .collect()
}

/// Whether a bitmap of sysfs (64-bit words in hex, the highest first) has a bit.
fn has_bit(bitmap: &str, bit: usize) -> bool {
    let word = bitmap.split_whitespace().rev().nth(bit / 64);
    word.and_then(|w| u64::from_str_radix(w, 16).ok())
        .is_some_and(|w| w >> (bit % 64) & 1 == 1)
}

/// Whether a `struct input_event` (64-bit: two times of 8 bytes, type, code, value) says that the power key went down.
fn is_power_key(event: &[u8; 24]) -> bool {
    let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event;
    let kind = u16::from_ne_bytes([t0, t1]);
    let code = u16::from_ne_bytes([c0, c1]);
    let value = i32::from_ne_bytes([v0, v1, v2, v3]);
    kind == EV_KEY && usize::from(code) == KEY_POWER && value == 1
}

async fn watch_button(name: &str, node: &Node) -> std::io::Result<()> {
    let path = Path::new("/dev/input").join(name);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let button = sys::readable(file)?;
    let mut event = [0; 24];
    loop {
        button
            .async_io(Interest::READABLE, |mut file: &File| file.read_exact(&mut event))
            .await?;
        if is_power_key(&event) {
            ask(&node.log, &node.power, Verb::PowerOff, "power button");
        }
    }
}

/// Takes everything down in order, and then the machine.
pub async fn go_down(node: &Node, verb: Verb) -> Infallible {
    node.log.info(&format!("shutting down to {verb}"));
    node.units.shut_down(true).await;
    node.units.shut_down(false).await;
    end_the_rest().await;
    // A pool that the kernel does not let go of would hold sync(2) up for ever.
    if stage2::give_back(node).await {
        unmount(&node.log);
    }
    if verb == Verb::PowerOff {
        node.watchdog.disarm();
    }
    node.log.info(match verb {
        Verb::Reboot => "rebooting",
        Verb::PowerOff => "powering off",
    });
    call_kernel(verb)
}

/// Ends every process but PID 1: what a unit left outside its cgroup.
async fn end_the_rest() {
    let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    let end = clock::since_start() + LEFTOVERS;
    // Orphans become children of PID 1: without a child there is nobody left.
    while sys::has_children() && clock::since_start() < end {
        tokio::time::sleep(LEFTOVERS / 20).await;
    }
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}

fn unmount(log: &Log) {
    nix::unistd::sync();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in mounts::to_unmount(&mounts) {
        if let Err(e) = umount2(target, MntFlags::empty()) {
            log.warning(&format!("cannot unmount {target}: {e}"));
        }
    }
    nix::unistd::sync();
}

fn call_kernel(verb: Verb) -> ! {
    let mode = match verb {
        Verb::Reboot => RebootMode::RB_AUTOBOOT,
        Verb::PowerOff => RebootMode::RB_POWER_OFF,
    };
    let _ = reboot(mode);
    halt()
}

/// Stays, since PID 1 must not end. Orphans are still reaped.
fn halt() -> ! {
    loop {
        while sys::reap().is_some() {}
        sys::pause(Duration::from_secs(1));
    }
}

/// The end of a PID 1 that cannot take anything down in order any more.
pub fn last_resort(action: FailureAction) -> ! {
    nix::unistd::sync();
    match action {
        FailureAction::Reboot => call_kernel(Verb::Reboot),
        FailureAction::PowerOff => call_kernel(Verb::PowerOff),
        FailureAction::Halt => halt(),
    }
}

#[cfg(test)]
mod tests;

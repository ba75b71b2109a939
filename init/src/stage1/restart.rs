//! Kernel arguments by a restart of the machine, where a kexec is no way.
//!
//! ```text
//! arguments missing ─ in the entry of the running slot? ─ no ──► store them, with the guard ─► restart
//!                     ├ yes: the loader does not give them ──► go on without
//!                     └ it must not change (Secure Boot, a key that is sealed to it) ──► go on without
//! a start with the guard ─ take it out of the entry ─ never restart
//! ```
//! So there is one restart for each start that somebody else caused. What was not started from an installed disk keeps nothing.

use std::convert::Infallible;
use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config::Encryption;
use axion_core::profile::{Plan, stored, unguarded};
use axion_core::secure_boot::SecureBoot;
use axion_install::esp::{Esp, EspError};
use axion_install::fat::FatError;
use axion_install::slot::Slot;
use nix::sys::reboot::{RebootMode, reboot};

use crate::failure::chain;
use crate::log::Log;
use crate::slot::{self, SlotError};

/// The machine was not restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// Nothing is planned.
    #[error("nothing is planned")]
    NoPlan,
    /// It was not started from an installed disk.
    #[error(
        "it does not start again by kexec (`profile.restart`), and what it was started from keeps no arguments: give them to the \
         loader by hand, or install the node (`axctl profile show` names them)"
    )]
    NoEntry,
    /// The entry must stay as it is.
    #[error(
        "it does not start again by kexec (`profile.restart`), and the arguments of slot {slot} stay as they are: {why}"
    )]
    Untouched {
        /// Slot.
        slot: Slot,
        /// Why.
        why: String,
    },
    /// The loader does not give what the entry says.
    #[error("the entry of slot {0} has the arguments, and the loader did not give them; not a second time")]
    NotGiven(Slot),
    /// The disk.
    #[error("the installed disk cannot be used")]
    Disk(#[from] SlotError),
    /// Its volume.
    #[error("the EFI system partition cannot be used")]
    Volume(#[from] FatError),
    /// The entry.
    #[error("the entry of the slot cannot be written")]
    Entry(#[from] EspError),
    /// The kernel.
    #[error("the kernel refuses to restart the machine")]
    Restart(#[source] nix::Error),
}

/// Stores the plan's arguments for the next start and restarts the machine. It comes back only with an error, and then the boot
/// goes on.
///
/// # Errors
/// There is no place for them, the place has them already or is not to be changed, or the disk fails.
pub fn with_stored(
    cmdline: &CommandLine,
    plan: Option<&Plan>,
    encryption: &Encryption,
    log: &Log,
) -> Result<Infallible, RestartError> {
    let plan = plan.ok_or(RestartError::NoPlan)?;
    let slot = slot::running(cmdline).ok_or(RestartError::NoEntry)?;
    if let Some(why) = slot::untouched(SecureBoot::read(Path::new("/")).is_on(), encryption) {
        return Err(RestartError::Untouched { slot, why });
    }
    let is_new = change(slot, |options| stored(options, plan))?;
    if !is_new {
        return Err(RestartError::NotGiven(slot));
    }
    log.warning(&format!(
        "boot profile: the arguments are stored in the entry of slot {slot}; restarting the machine"
    ));
    nix::unistd::sync();
    reboot(RebootMode::RB_AUTOBOOT).map_err(RestartError::Restart)
}

/// Takes the guard out of the entry of the slot that was restarted, so that the next start may be followed by a restart again. What
/// fails leaves the guard, which restarts nothing.
pub fn settle(cmdline: &CommandLine, log: &Log) {
    let Some(slot) = slot::running(cmdline) else {
        return;
    };
    let without = |options: &CommandLine| {
        let rest = unguarded(options);
        (rest != *options).then_some(rest)
    };
    if let Err(e) = change(slot, without) {
        log.warning(&format!(
            "boot profile: slot {slot} keeps the mark of a restart: {}",
            chain(&e)
        ));
    }
}

/// Changes the options of a slot's entry, where `to` has others; whether it did.
fn change(slot: Slot, to: impl FnOnce(&CommandLine) -> Option<CommandLine>) -> Result<bool, RestartError> {
    let installed = slot::find()?;
    let esp = Esp::new(installed.esp()?);
    let state = esp.state()?;
    let named = state.of(slot).ok_or(SlotError::NoEntry)?;
    let Some(options) = to(&CommandLine::parse(&named.entry.options)) else {
        return Ok(false);
    };
    esp.set_options(slot, &options.to_string())?;
    Ok(true)
}

//! The kernel arguments of the slot that runs follow the boot profile, so that a start from disk is one start again.
//!
//! ```text
//! config changed ─ start: the entry's arguments ─ kexec: the profile's ─ ready, the API answers ─> they become the entry's
//! ```
//! Only what this very start has proved is kept: the running kernel's own arguments, where they are the entry's with the plan in
//! its place, word for word. What somebody typed at the loader for one start is no such thing, and nothing is kept then. The other
//! slot keeps its arguments, so the way back is what it was.

use std::path::Path;
use std::sync::Arc;

use axion_core::cmdline::{CommandLine, Param};
use axion_core::config::{Encryption, KeySource};
use axion_core::profile::{Resolved, Standing, compose, is_switched_off};
use axion_core::secure_boot::SecureBoot;
use axion_install::slot::Slot;
use axion_install::started;

use super::disk::{SlotError, on_installed};
use super::{guest, ready};
use crate::failure::chain;
use crate::node::Node;

/// Words that a start adds by itself: the loader, the kernel, the kexec, or the restart in its place.
const OF_THE_START: [&str; 5] = [
    "BOOT_IMAGE",
    "initrd",
    "rootfstype",
    "axion.kexec",
    "axion.restart",
];
/// Bytes of arguments that a kernel keeps for certain: 2047, less what a start adds by itself.
const LONGEST: usize = 1900;
/// Registers that loaders measure the arguments into: GRUB, systemd-boot, its stub.
const MEASURED: [u8; 3] = [8, 9, 12];

/// The arguments of an entry that has `options` and lies on the partition `esp`, as this start has proved them; `None`: it has
/// not, or they would be too long.
pub fn proved(options: &str, running: &CommandLine, resolved: &Resolved, esp: u128) -> Option<String> {
    if resolved.standing == Standing::Refused || is_switched_off(running) {
        return None;
    }
    let entry = CommandLine::parse(options);
    let wanted = compose(&entry, &resolved.plan).line;
    if of_any_start(running) != of_any_start(&wanted) {
        return None;
    }
    let with_place = with_place(&wanted, esp).to_string();
    let kept = [with_place, wanted.to_string()];
    kept.into_iter().find(|line| line.len() <= LONGEST)
}

fn of_any_start(line: &CommandLine) -> Vec<Param> {
    let words = line.iter().filter(|param| {
        let added = OF_THE_START.iter().any(|key| param.is(key));
        !added && !param.is(started::ARGUMENT)
    });
    words.cloned().collect()
}

/// The line with the partition that the slot is on.
fn with_place(line: &CommandLine, esp: u128) -> CommandLine {
    let own = Param::new(started::ARGUMENT, Some(&started::text(esp)));
    let others = line.iter().filter(|param| !param.is(started::ARGUMENT));
    line.with_params(own.into_iter().chain(others.cloned()).collect())
}

/// Why the arguments of entries stay as they are on this node, whatever a start proves.
pub fn untouched(secure_boot: bool, encryption: &Encryption) -> Option<String> {
    if secure_boot {
        return Some("under Secure Boot the loader's arguments are not used".to_owned());
    }
    let measured = encryption.pcrs.iter().find(|pcr| MEASURED.contains(pcr));
    let sealed = measured.filter(|_| encryption.key == KeySource::Tpm);
    sealed.map(|pcr| format!("the state's key is sealed to PCR {pcr}, which they are measured into"))
}

/// Whether GRUB's start by these arguments says which of two disks it was from, where there are two that hold the same.
fn tells_disks_apart(line: &str, mirrored: bool) -> bool {
    !mirrored || CommandLine::parse(line).get(started::ARGUMENT).is_some()
}

/// What the entry of a staged slot gets: what this start has proved, or else what the running slot has.
pub fn current(node: &Node, options: &str, esp: u128, mirrored: bool) -> String {
    let resolved = node.handover.profile.as_ref();
    let proved = resolved.and_then(|resolved| proved(options, &node.cmdline, resolved, esp));
    let proved = proved.filter(|line| tells_disks_apart(line, mirrored));
    proved.unwrap_or_else(|| options.to_owned())
}

/// Keeps what this start has proved, once it is known to be good.
pub async fn keep(node: &Arc<Node>, slot: Slot) {
    let encryption = node
        .config
        .get()
        .map(|effective| &effective.config.storage.encryption);
    let is_on = SecureBoot::read(Path::new("/")).is_on();
    let good = match ready(node).await {
        Ok(()) => guest::api_answers().await,
        Err(why) => Err(why),
    };
    let why_not = match good {
        Ok(()) => untouched(is_on, encryption.unwrap_or(&Encryption::default())),
        Err(why) => Some(why),
    };
    let Some(resolved) = node.handover.profile.clone() else {
        return;
    };
    let running = node.cmdline.clone();
    let kept = on_installed(move |installed| -> Result<_, SlotError> {
        let esp = axion_install::esp::Esp::new(installed.esp()?);
        let state = esp.state()?;
        let options = &state.of(slot).ok_or(SlotError::NoEntry)?.entry.options;
        let proved = proved(options, &running, &resolved, installed.guid());
        let mirrored = installed.record()?.is_some();
        let proved = proved.filter(|proved| tells_disks_apart(proved, mirrored));
        let Some(proved) = proved.filter(|proved| proved != options) else {
            return Ok(None);
        };
        if why_not.is_none() {
            esp.set_options(slot, &proved)?;
        }
        Ok(Some((proved, why_not)))
    });
    match kept.await {
        Ok(None) => {}
        Ok(Some((line, None))) => node.log.info(&format!(
            "slot {slot}: the next start has the arguments of this one: {line}"
        )),
        Ok(Some((_, Some(why)))) => node
            .log
            .info(&format!("slot {slot}: its arguments stay as they are: {why}")),
        Err(e) => node.log.warning(&format!(
            "slot {slot}: its arguments cannot be changed: {}",
            chain(&e)
        )),
    }
}

#[cfg(test)]
mod tests;

//! What systemd-boot says of the start, in variables of firmware's (Boot Loader Interface). They outlive a kexec.

use std::path::Path;
use std::sync::OnceLock;

use axion_core::secure_boot::SecureBoot;
use axion_install::slot::{Name, Slot};
use nix::mount::{MntFlags, MsFlags, umount2};

use crate::mounts::Mount;

const ROOT: &str = "/";
/// The entry that was started.
const SELECTED: &str = "LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// GUID of the partition that the loader itself was loaded from.
const PARTITION: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Firmware's variables, for a moment: who asks does so before they are mounted for everyone.
const VARIABLES: Mount = Mount {
    source: "efivarfs",
    target: "/run/axion/variables",
    kind: "efivarfs",
    flags: MsFlags::MS_NOSUID
        .union(MsFlags::MS_NODEV)
        .union(MsFlags::MS_NOEXEC),
    options: "",
};
/// Bytes of a variable's attributes, before its content.
const ATTRIBUTES: usize = 4;

/// What the loader has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    entry: Option<String>,
    partition: Option<String>,
}

fn said() -> &'static Said {
    static SAID: OnceLock<Said> = OnceLock::new();
    SAID.get_or_init(|| {
        // A BIOS has none.
        if VARIABLES.perform().is_err() {
            return Said::default();
        }
        let read = |name: &str| std::fs::read(Path::new(VARIABLES.target).join(name)).ok();
        let [entry, partition] = [SELECTED, PARTITION].map(|name| text_of(&read(name)?));
        // Else it stays mounted, for whoever may read it.
        let _ = umount2(VARIABLES.target, MntFlags::MNT_DETACH);
        Said { entry, partition }
    })
}

/// The slot that the loader has started, where Secure Boot is on: the stub does not tell the kernel what the loader's entry says.
pub fn selected_slot() -> Option<Slot> {
    if !SecureBoot::read(Path::new(ROOT)).is_on() {
        return None;
    }
    slot_of(said().entry.as_deref()?)
}

/// GUID of the partition that the loader was started from.
pub fn partition() -> Option<&'static str> {
    said().partition.as_deref()
}

fn slot_of(entry: &str) -> Option<Slot> {
    Name::parse(entry).map(|name| name.slot)
}

/// A variable with text in UTF-16 and a NUL at its end.
fn text_of(variable: &[u8]) -> Option<String> {
    let units = variable.get(ATTRIBUTES..)?.chunks_exact(2);
    let units = units.map(|pair| {
        u16::from_le_bytes([
            pair.first().copied().unwrap_or(0),
            pair.get(1).copied().unwrap_or(0),
        ])
    });
    let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&text).ok()
}

#[cfg(test)]
mod tests;

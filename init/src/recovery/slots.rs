//! The slots of an installed node, as they are on its disk.

use axion_api::problem::{Kind, Problem};
use axion_api::recovery::InstalledSlot;
use axion_core::cmdline::CommandLine;
use axion_install::esp::Note;

use crate::failure::chain;
use crate::slot::{on_thread, running};

/// The slots that hold an image.
pub async fn tell(cmdline: &CommandLine) -> Result<Vec<InstalledSlot>, Problem> {
    let Some(started) = running(cmdline) else {
        let none = "the node was not started from an installed disk";
        return Err(Problem::new(Kind::NotFound, none));
    };
    let read = on_thread(move |esp| {
        let state = esp.state()?;
        let mut slots = Vec::new();
        for named in state.0 {
            let slot = named.name.slot;
            slots.push(InstalledSlot {
                slot: slot.to_string(),
                version: named.entry.version,
                generation: named.entry.generation,
                running: slot == started,
                tries: named.name.tries.map(|tries| (tries.left, tries.done)),
                options: named.entry.options,
                verdict: esp.note(slot, Note::Verdict)?,
            });
        }
        Ok(slots)
    });
    read.await
        .map_err(|error| Problem::new(Kind::Unavailable, chain(&error)))
}

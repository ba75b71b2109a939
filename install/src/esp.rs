//! What changes on the ESP of an installed disk: update, confirmation, rollback, and the repair of what a cut left behind.
//!
//! ```text
//! stage     entry of the slot away ─ UKI of the slot away ─ UKI as new.tmp, read back ─ UKI gets its name
//!           ─ entry as axion-new, read back ─ entry gets its name, with tries
//! confirm   entry loses its tries
//! give up   entry is left without a try
//! rollback  entry of a higher generation as axion-new, read back ─ it replaces the slot's
//! ```
//! After each step the loader starts what it would have started before, or, after the last, what it is meant to start; both are
//! whole. Each step may be repeated: [`Esp::repair`] comes first and takes away what an interrupted one has left.

use std::io::Read;

use crate::Digest;
use crate::fat::{FatError, Volume, join};
use crate::slot::{ENTRIES, Entry, IMAGES, NEW_ENTRY, NEW_IMAGE, Name, Named, Refusal, Slot, State};
use crate::storage::Storage;

/// Bytes of an entry at most.
pub const MAX_ENTRY: usize = 8192;
/// Bytes of a note at most.
pub const MAX_NOTE: usize = 64 << 10;

/// Nothing, or not everything, was done.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// The volume.
    #[error("the EFI system partition cannot be changed")]
    Fat(#[from] FatError),
    /// It must not be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The image is another one.
    #[error("the image has the digest {found}, and {wanted} was announced")]
    Digest {
        /// Digest of what came.
        found: String,
        /// Digest that was announced.
        wanted: String,
    },
}

/// An image for the slot that is free.
#[derive(Debug, Clone)]
pub struct Update {
    /// Version, for people.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// Digest.
    pub digest: Digest,
    /// Kernel command line without the slot.
    pub options: String,
}

/// Kernel command line of a slot.
pub fn options_of(options: &str, slot: Slot) -> String {
    let others = options.split_whitespace();
    let others = others.filter(|word| word.split('=').next() != Some(crate::slot::ARGUMENT));
    let mut words: Vec<&str> = others.collect();
    let own = format!("{}={slot}", crate::slot::ARGUMENT);
    words.push(&own);
    words.join(" ")
}

/// What is kept of a slot beside its UKI, until it is written again. A version that does not know one takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Why it was not confirmed.
    Verdict,
    /// The end of the log of the start that was not confirmed.
    Log,
    /// How the node was when it was written.
    Before,
}

impl Note {
    const ALL: [Self; 3] = [Self::Verdict, Self::Log, Self::Before];

    /// Its file in [`IMAGES`].
    fn file(self, slot: Slot) -> String {
        let extension = match self {
            Self::Verdict => "txt",
            Self::Log => "log",
            Self::Before => "was",
        };
        format!("{slot}.{extension}")
    }
}

/// Every file of a slot in [`IMAGES`].
fn files_of(slot: Slot) -> [String; 4] {
    let [verdict, log, before] = Note::ALL.map(|note| note.file(slot));
    [slot.image(), verdict, log, before]
}

/// The ESP of an installed disk.
#[derive(Debug)]
pub struct Esp<S> {
    volume: Volume<S>,
}

impl<S: Storage> Esp<S> {
    /// On that volume.
    pub const fn new(volume: Volume<S>) -> Self {
        Self { volume }
    }

    /// Content is written in pieces of `chunk` bytes.
    #[must_use]
    pub fn with_chunk(self, chunk: usize) -> Self {
        Self {
            volume: self.volume.with_chunk(chunk),
        }
    }

    /// The volume.
    pub const fn volume(&self) -> &Volume<S> {
        &self.volume
    }

    /// The volume, taken.
    pub fn into_volume(self) -> Volume<S> {
        self.volume
    }

    /// The entries of the slots; what cannot be read as one is none.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn state(&self) -> Result<State, EspError> {
        let mut entries = Vec::new();
        for file in self.volume.list(ENTRIES)? {
            let Some(name) = Name::parse(&file) else {
                continue;
            };
            let text = self.volume.read(&join(ENTRIES, &file), MAX_ENTRY)?;
            let text = text.and_then(|text| String::from_utf8(text).ok());
            if let Some(entry) = text.and_then(|text| Entry::parse(&text, name.slot)) {
                entries.push(Named { name, entry });
            }
        }
        Ok(State(entries))
    }

    /// Takes away what an interrupted step has left; gives the entries.
    ///
    /// # Errors
    /// The volume cannot be read or written.
    pub fn repair(&self) -> Result<State, EspError> {
        let state = self.state()?;
        let known = |file: &str| state.0.iter().any(|named| named.name.to_string() == file);
        for file in self.volume.list(ENTRIES)? {
            // A short name without its long one, and what was never finished.
            if file.to_ascii_lowercase().starts_with("axion-") && !known(&file) {
                self.volume.unlink(&join(ENTRIES, &file))?;
            }
        }
        for slot in [Slot::A, Slot::B] {
            let mut names: Vec<Name> = state.0.iter().map(|named| named.name).collect();
            names.retain(|name| name.slot == slot);
            // Two names of one entry: a count or a confirmation was interrupted. What had been done counts.
            names.sort_by_key(|name| name.tries.map(|tries| tries.left));
            for name in names.iter().skip(1) {
                self.volume.unlink(&join(ENTRIES, &name.to_string()))?;
            }
        }
        for file in self.volume.list(IMAGES)? {
            let kept = [Slot::A, Slot::B].map(files_of);
            if !kept.as_flattened().contains(&file) {
                self.volume.unlink(&join(IMAGES, &file))?;
            }
        }
        self.volume.sweep()?;
        self.state()
    }

    /// Writes an image to the slot that is free while `running` runs; gives the slot. `progress` is told of bytes.
    ///
    /// # Errors
    /// No slot is free, there is no room, the image is not what was announced, or the disk fails; then the node starts what it
    /// would have started before.
    pub fn stage(
        &self,
        running: Option<Slot>,
        update: &Update,
        image: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Slot, EspError> {
        let state = self.repair()?;
        let slot = state.target(running)?;
        let generation = state.next_generation();
        let files = files_of(slot).map(|file| join(IMAGES, &file));
        // What is there stays where the new image does not fit.
        self.volume
            .room(&join(IMAGES, &slot.image()), update.size, &files)?;
        if let Some(named) = state.of(slot) {
            self.volume.unlink(&join(ENTRIES, &named.name.to_string()))?;
        }
        for file in &files {
            self.volume.unlink(file)?;
        }
        self.volume.sweep()?;
        self.write_slot(Name::untried(slot), generation, update, image, progress)?;
        Ok(slot)
    }

    /// Writes UKI and entry of a slot that has neither.
    ///
    /// # Errors
    /// As [`Esp::stage`].
    pub fn write_slot(
        &self,
        name: Name,
        generation: u64,
        update: &Update,
        image: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), EspError> {
        let new = join(IMAGES, NEW_IMAGE);
        let digest = self.volume.write(&new, image, update.size, progress)?;
        if digest != update.digest {
            self.volume.remove(&new)?;
            return Err(EspError::Digest {
                found: hex::encode(digest),
                wanted: hex::encode(update.digest),
            });
        }
        self.volume.rename(IMAGES, NEW_IMAGE, &name.slot.image())?;
        let entry = Entry {
            generation,
            version: update.version.clone(),
            size: update.size,
            digest,
            options: options_of(&update.options, name.slot),
        };
        self.write_entry(&Named { name, entry })
    }

    fn write_entry(&self, named: &Named) -> Result<(), EspError> {
        let text = named.entry.text(named.name.slot);
        let length = u64::try_from(text.len()).unwrap_or(0);
        let path = join(ENTRIES, NEW_ENTRY);
        self.volume
            .write(&path, &mut text.as_bytes(), length, &mut |_| {})?;
        Ok(self.volume.rename(ENTRIES, NEW_ENTRY, &named.name.to_string())?)
    }

    /// Confirms the running slot; whether it was not yet.
    ///
    /// # Errors
    /// It has no entry, or the disk fails.
    pub fn confirm(&self, running: Slot) -> Result<bool, EspError> {
        let state = self.repair()?;
        let Some(name) = state.to_confirm(running)? else {
            return Ok(false);
        };
        let confirmed = Name::confirmed(running).to_string();
        self.volume.rename(ENTRIES, &name.to_string(), &confirmed)?;
        Ok(true)
    }

    /// Makes the other confirmed slot the one that is started; gives it.
    ///
    /// # Errors
    /// There is none, or the disk fails.
    pub fn roll_back(&self) -> Result<Slot, EspError> {
        let chosen = self.repair()?.to_roll_back_to()?;
        self.write_entry(&chosen)?;
        self.volume.sweep()?;
        Ok(chosen.name.slot)
    }

    /// Makes the kernel arguments of a slot those of `options`, as the boot profile now wants them.
    ///
    /// # Errors
    /// The slot has no entry, or the disk fails.
    pub fn set_options(&self, slot: Slot, options: &str) -> Result<(), EspError> {
        let state = self.repair()?;
        let mut named = state.of(slot).cloned().ok_or(Refusal::NoSuchSlot(slot))?;
        let options = options_of(options, slot);
        if named.entry.options == options {
            return Ok(());
        }
        named.entry.options = options;
        self.write_entry(&named)?;
        Ok(self.volume.sweep()?)
    }

    /// Leaves a slot that is not confirmed without a try, so that the confirmed one is started; whether it had one.
    ///
    /// # Errors
    /// It has no entry, it is confirmed, or the disk fails.
    pub fn give_up(&self, slot: Slot) -> Result<bool, EspError> {
        let state = self.repair()?;
        let Some(name) = state.to_give_up(slot)? else {
            return Ok(false);
        };
        let given_up = Name::given_up(name).to_string();
        self.volume.rename(ENTRIES, &name.to_string(), &given_up)?;
        Ok(true)
    }

    /// Keeps a note about a slot, in place of what it said before; of one that is too long, the end.
    ///
    /// # Errors
    /// The disk fails.
    pub fn set_note(&self, slot: Slot, note: Note, text: &str) -> Result<(), EspError> {
        let path = join(IMAGES, &note.file(slot));
        self.volume.remove(&path)?;
        let from = text.len().saturating_sub(MAX_NOTE);
        let text = text.get(text.ceil_char_boundary(from)..).unwrap_or_default();
        let length = u64::try_from(text.len()).unwrap_or(0);
        self.volume
            .write(&path, &mut text.as_bytes(), length, &mut |_| {})?;
        Ok(())
    }

    /// What a note about a slot says, where there is one.
    ///
    /// # Errors
    /// The disk fails.
    pub fn note(&self, slot: Slot, note: Note) -> Result<Option<String>, EspError> {
        let text = self.volume.read(&join(IMAGES, &note.file(slot)), MAX_NOTE)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// What the loader does before it starts a slot: it counts. The firmware's driver does this; here it is done for tests and
    /// for a machine whose loader is emulated.
    ///
    /// # Errors
    /// The disk fails.
    pub fn count_start(&self) -> Result<Option<Slot>, EspError> {
        let state = self.state()?;
        let Some(next) = state.next() else {
            return Ok(None);
        };
        let counted = next.name.after_start();
        if counted != next.name {
            self.volume
                .rename(ENTRIES, &next.name.to_string(), &counted.to_string())?;
        }
        Ok(Some(next.name.slot))
    }
}

#[cfg(test)]
mod tests;

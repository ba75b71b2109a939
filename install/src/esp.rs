//! What changes on the ESP of an installed disk: update, confirmation, rollback, and the repair of what a cut left behind.
//!
//! ```text
//! stage     entry of the slot away ─ menu ─ UKI of the slot away ─ UKI as new.tmp, read back ─ UKI gets its name
//!           ─ entry as axion-new, read back ─ entry gets its name, with tries ─ menu
//! confirm   entry loses its tries ─ menu
//! give up   entry is left without a try ─ menu
//! rollback  UKI of the slot is read ─ entry of a higher generation as axion-new, read back ─ it replaces the slot's ─ menu
//! menu      what GRUB runs, of the entries, as grub.new, read back ─ it replaces grub.cfg; where the disk has GRUB ([`crate::bios`])
//! ```
//! Where the disk is one of a mirror, its record says before the first step that it is ahead of the other one
//! ([`crate::mirror::go_on_alone`]).
//!
//! After each step the loader starts what it would have started before, or, after the last, what it is meant to start; both are
//! whole. Each step may be repeated: [`Esp::repair`] comes first and takes away what an interrupted one has left.
//!
//! A UKI may rot where it lies. So the one that a rollback or an update relies upon is read before: a slot that is confirmed has no
//! tries, and the loader would start it for ever.

use std::io::Read;

use crate::Digest;
use crate::bios::{self, Count, Menu};
use crate::fat::{FatError, Volume, join};
use crate::mirror;
use crate::slot::{ENTRIES, Entry, IMAGES, NEW_ENTRY, NEW_IMAGE, Name, Named, Refusal, Slot, State};
use crate::storage::Storage;
use crate::uki;

/// Bytes of an entry at most.
pub const MAX_ENTRY: usize = 8192;
/// Bytes of a menu at most: it has each entry twice.
const MAX_MENU: usize = 8 * MAX_ENTRY;
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
    /// The image that would be started is damaged.
    #[error(
        "the image in slot {0} is damaged: it is not what its entry says, or cannot be read; the slot is not rolled back to, and \
         the next start is what it was"
    )]
    Damaged(Slot),
    /// The image that would be kept is damaged, and the other one is not.
    #[error(
        "the image in slot {damaged}, which would be kept to fall back to, is damaged, and the update would take the place of the \
         good one in slot {whole}; roll back to slot {whole} first (axctl update rollback)"
    )]
    OnlyGood {
        /// The slot that would be kept.
        damaged: Slot,
        /// The slot that would be written.
        whole: Slot,
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
    pub(crate) const ALL: [Self; 3] = [Self::Verdict, Self::Log, Self::Before];

    /// Its file in [`IMAGES`].
    pub(crate) fn file(self, slot: Slot) -> String {
        let extension = match self {
            Self::Verdict => "txt",
            Self::Log => "log",
            Self::Before => "was",
        };
        format!("{slot}.{extension}")
    }
}

/// Every file of a slot in [`IMAGES`].
pub(crate) fn files_of(slot: Slot) -> [String; 4] {
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

    /// The entries of the slots, with what either loader has counted; what cannot be read as one is none.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn state(&self) -> Result<State, EspError> {
        let count = self.count()?;
        let mut state = self.entries()?;
        for named in &mut state.0 {
            named.name = Count::apply(count.as_ref(), named);
        }
        Ok(state)
    }

    /// As [`Esp::state`]; what GRUB has counted is taken over first, and GRUB gets a menu that fits the entries.
    ///
    /// # Errors
    /// The volume cannot be read or written.
    pub fn settle(&self) -> Result<State, EspError> {
        let state = self.state()?;
        if !self.has_grub()? || (self.entries()? == state && self.menu_fits(&self.wanted_menu()?)?) {
            Ok(state)
        } else {
            self.repair()
        }
    }

    /// The entries by their names.
    pub(crate) fn entries(&self) -> Result<State, EspError> {
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
        let state = self.entries()?;
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
        if self.has_grub()? {
            self.volume.unlink(&join(bios::DIRECTORY, bios::NEW_MENU))?;
        }
        self.volume.sweep()?;
        let count = self.count()?;
        for named in &self.entries()?.0 {
            let counted = Count::apply(count.as_ref(), named);
            if counted != named.name {
                let (old, new) = (named.name.to_string(), counted.to_string());
                self.volume.rename(ENTRIES, &old, &new)?;
            }
        }
        self.write_menu()?;
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
        self.check_kept(&state, slot)?;
        // A count that is left of an entry must not be about the new one.
        let counted = self.count()?.map_or(0, |count| count.generation);
        let generation = state.next_generation().max(counted.saturating_add(1));
        let files = files_of(slot).map(|file| join(IMAGES, &file));
        // What is there stays where the new image does not fit.
        self.volume
            .room(&join(IMAGES, &slot.image()), update.size, &files)?;
        mirror::go_on_alone(&self.volume)?;
        if let Some(named) = state.of(slot) {
            self.volume.unlink(&join(ENTRIES, &named.name.to_string()))?;
            self.write_menu()?;
        }
        for file in &files {
            self.volume.unlink(file)?;
        }
        self.volume.sweep()?;
        self.write_slot(Name::untried(slot), generation, update, image, progress)?;
        self.write_menu()?;
        Ok(slot)
    }

    /// Whether the image that an entry is about is there, whole; one that cannot be read is not.
    pub fn is_whole(&self, named: &Named) -> bool {
        let image = join(IMAGES, &named.name.slot.image());
        let Entry { size, digest, .. } = &named.entry;
        self.volume.holds(&image, *size, digest).unwrap_or(false)
    }

    /// Before `target` is written: whether what is kept can be fallen back to. Where it cannot, and nothing that could is lost, an
    /// update is what mends the disk.
    fn check_kept(&self, state: &State, target: Slot) -> Result<(), EspError> {
        let Some(kept) = state.good().filter(|kept| !self.is_whole(kept)) else {
            return Ok(());
        };
        let other = state.of(target).filter(|named| named.name.tries.is_none());
        if other.is_some_and(|named| self.is_whole(named)) {
            return Err(EspError::OnlyGood {
                damaged: kept.name.slot,
                whole: target,
            });
        }
        Ok(())
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

    pub(crate) fn write_entry(&self, named: &Named) -> Result<(), EspError> {
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
        mirror::go_on_alone(&self.volume)?;
        let confirmed = Name::confirmed(running).to_string();
        self.volume.rename(ENTRIES, &name.to_string(), &confirmed)?;
        self.write_menu()?;
        Ok(true)
    }

    /// Makes the other confirmed slot the one that is started; gives it.
    ///
    /// # Errors
    /// There is none, its image is damaged, or the disk fails; the next start is then what it was.
    pub fn roll_back(&self) -> Result<Slot, EspError> {
        let chosen = self.repair()?.to_roll_back_to()?;
        if !self.is_whole(&chosen) {
            return Err(EspError::Damaged(chosen.name.slot));
        }
        mirror::go_on_alone(&self.volume)?;
        self.write_entry(&chosen)?;
        self.volume.sweep()?;
        self.write_menu()?;
        Ok(chosen.name.slot)
    }

    /// Makes the kernel arguments of a slot those of `options`, as the boot profile now wants them. A mirror that takes them back
    /// does no harm, as each start finds them again, so its record says nothing of them.
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
        self.volume.sweep()?;
        self.write_menu()
    }

    /// Lets GRUB start the disk from now on, where it could not before.
    ///
    /// # Errors
    /// The disk fails.
    pub fn add_grub(&self) -> Result<(), EspError> {
        self.write_count()?;
        self.write_menu()
    }

    /// Whether the disk is one that GRUB starts as well.
    pub(crate) fn has_grub(&self) -> Result<bool, EspError> {
        let files = self.volume.list(bios::DIRECTORY)?;
        Ok(files
            .iter()
            .any(|file| [bios::COUNT, bios::MENU].contains(&file.as_str())))
    }

    /// GRUB's block; `None`: there is none that it can count in.
    fn block(&self) -> Result<Option<Vec<u8>>, EspError> {
        let block = self.volume.head(&join(bios::DIRECTORY, bios::COUNT), MAX_ENTRY)?;
        Ok(block.filter(|block| bios::is_block(block)))
    }

    /// What GRUB has counted.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn count(&self) -> Result<Option<Count>, EspError> {
        Ok(self.block()?.as_deref().and_then(Count::parse))
    }

    fn write_count(&self) -> Result<(), EspError> {
        let (path, block) = (join(bios::DIRECTORY, bios::COUNT), bios::no_count());
        self.volume.remove(&path)?;
        self.volume
            .write(&path, &mut block.as_slice(), bios::SECTOR, &mut |_| {})?;
        Ok(())
    }

    /// The menu on the volume; `None`: there is none, or it is nobody's.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub fn menu(&self) -> Result<Option<Menu>, EspError> {
        let text = self.volume.read(&join(bios::DIRECTORY, bios::MENU), MAX_MENU)?;
        let text = text.and_then(|text| String::from_utf8(text).ok());
        Ok(text.and_then(|text| Menu::parse(&text)))
    }

    /// The menu of the entries. A UKI that is not there, or is none, has no place in it.
    fn wanted_menu(&self) -> Result<Menu, EspError> {
        let state = self.entries()?;
        Ok(Menu::new(&state, |named| {
            let image = join(IMAGES, &named.name.slot.image());
            let head = self.volume.head(&image, uki::HEADERS);
            head.ok().flatten().and_then(|head| uki::places(&head))
        }))
    }

    fn menu_fits(&self, menu: &Menu) -> Result<bool, EspError> {
        Ok(self.menu()?.as_ref() == Some(menu) && self.block()?.is_some())
    }

    /// Gives GRUB, where the disk has it, the menu of the entries.
    pub(crate) fn write_menu(&self) -> Result<(), EspError> {
        if !self.has_grub()? {
            return Ok(());
        }
        let menu = self.wanted_menu()?;
        if self.menu_fits(&menu)? {
            return Ok(());
        }
        if self.block()?.is_none() {
            self.write_count()?;
        }
        let text = menu.text();
        let length = u64::try_from(text.len()).unwrap_or(0);
        let new = join(bios::DIRECTORY, bios::NEW_MENU);
        self.volume
            .write(&new, &mut text.as_bytes(), length, &mut |_| {})?;
        self.volume.rename(bios::DIRECTORY, bios::NEW_MENU, bios::MENU)?;
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
        mirror::go_on_alone(&self.volume)?;
        let given_up = Name::given_up(name).to_string();
        self.volume.rename(ENTRIES, &name.to_string(), &given_up)?;
        self.write_menu()?;
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
        let state = self.entries()?;
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

    /// What GRUB does before it starts a slot: it counts in its block. Done by whoever starts a slot in its place, and for tests.
    ///
    /// # Errors
    /// The disk fails.
    pub fn count_start_of_grub(&self) -> Result<Option<Slot>, EspError> {
        let (menu, count) = (self.menu()?.unwrap_or_default(), self.count()?);
        let Some((choice, counted)) = menu.next(count.as_ref()) else {
            return Ok(None);
        };
        if let Some(counted) = counted {
            let path = join(bios::DIRECTORY, bios::COUNT);
            self.volume.rewrite(&path, &counted.block())?;
        }
        Ok(Some(choice.named.name.slot))
    }
}

#[cfg(test)]
mod tests;

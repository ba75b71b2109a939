//! A disk that follows another one.
//!
//! ```text
//! slots    the confirmed one of the disk that was started ─ the other one
//!   image  is the one that goes away the only good one? ─ the new one goes to the other slot first, confirmed
//!          entry away ─ menu ─ image away ─ image as new.tmp, read back ─ its name ─ entry ─ menu
//!   entry  as axion-new, read back ─ it replaces the one that is there ─ its name ─ menu
//! notes ─ loader ─ machine config, and the one before
//! ```
//! What is the same already is not written. Nothing is taken away before what would be written in its place was read and is whole.

use crate::bios;
use crate::config;
use crate::esp::{Esp, EspError, Note, Update, files_of};
use crate::fat::{FatError, Volume, join};
use crate::inspect::LOADER;
use crate::reset;
use crate::slot::{ENTRIES, IMAGES, Name, Named, Slot, State};
use crate::storage::Storage;

use super::{MirrorError, options_on, put};

/// Bytes of a loader at most.
const LARGEST_LOADER: usize = 16 << 20;

/// The volumes of a system disk.
#[derive(Debug)]
pub struct Side<S> {
    /// The slots.
    pub esp: Esp<S>,
    /// The machine config.
    pub config: Volume<S>,
    /// GUID of the EFI system partition.
    pub guid: u128,
}

/// What the disk `to` is to hold of slots: the entries of `from`, with the partition of `to` in their arguments.
fn wanted<S: Storage, T>(from: &Side<S>, to: &Side<T>) -> Result<State, EspError> {
    let state = from.esp.state()?;
    let slots = [Slot::A, Slot::B].into_iter();
    let entries = slots.filter_map(|slot| state.of(slot).cloned()).map(|mut named| {
        named.entry.options = options_on(&named.entry.options, to.guid);
        named
    });
    Ok(State(entries.collect()))
}

/// Whether `to` holds anything else than `from`.
///
/// # Errors
/// One of them cannot be read.
pub fn differs<S: Storage, T: Storage>(from: &Side<S>, to: &Side<T>) -> Result<bool, MirrorError> {
    let wanted = wanted(from, to)?;
    let has = to.esp.state()?;
    for slot in [Slot::A, Slot::B] {
        if wanted.of(slot) != has.of(slot) {
            return Ok(true);
        }
        let whole = wanted.of(slot).is_none_or(|named| has_image(to, named));
        if !whole {
            return Ok(true);
        }
    }
    Ok(config::read(&from.config)? != config::read(&to.config)?
        || config::read_previous(&from.config)? != config::read_previous(&to.config)?)
}

/// Brings `to` to the content of `from`; whether it was another one.
///
/// # Errors
/// One of them fails, or `from` has nothing good. Then `to` starts what it did, or what it is to start, and may follow again.
pub fn follow<S: Storage, T: Storage>(from: &Side<S>, to: &Side<T>) -> Result<bool, MirrorError> {
    let mut changed = slots(from, to)?;
    let (source, target) = (from.esp.volume(), to.esp.volume());
    for slot in [Slot::A, Slot::B] {
        for note in Note::ALL {
            let text = from.esp.note(slot, note)?;
            if text == to.esp.note(slot, note)? {
                continue;
            }
            changed = true;
            match text {
                Some(text) => to.esp.set_note(slot, note, &text)?,
                None => target.remove(&join(IMAGES, &note.file(slot)))?,
            }
        }
    }
    if let Some(loader) = source.read(LOADER, LARGEST_LOADER)?
        && target.read(LOADER, LARGEST_LOADER).ok().flatten().as_ref() != Some(&loader)
        && let Some((directory, name)) = LOADER.rsplit_once('/')
    {
        changed = true;
        put(target, directory, "new.tmp", name, &loader)?;
    }
    // An order is carried out on the disk that was started; one that is left over must not be obeyed a second time.
    if reset::pending(target)?.is_some() {
        reset::done(target)?;
    }
    Ok(config::copy(&from.config, &to.config)? || changed)
}

/// Whether any slot was another one.
fn slots<S: Storage, T: Storage>(from: &Side<S>, to: &Side<T>) -> Result<bool, MirrorError> {
    let wanted = wanted(from, to)?;
    let good = wanted.good().ok_or(MirrorError::NothingConfirmed)?.clone();
    let had = to.esp.repair()?;
    let second = good.name.slot.other();
    let mut changed = false;
    if has_image(to, &good) {
        changed |= adjust(to, &good)?;
    } else {
        changed = true;
        check(from, &good)?;
        let keeps = |slot: Slot| {
            let own = had.of(slot).filter(|named| named.name.tries.is_none());
            own.is_some_and(|named| has_image(to, named))
        };
        if keeps(good.name.slot) && !keeps(second) {
            let mut bridge = good.clone();
            bridge.name = Name::confirmed(second);
            place(from, to, &bridge, good.name.slot)?;
        }
        place(from, to, &good, good.name.slot)?;
    }
    match wanted.of(second) {
        None => {
            changed |= had.of(second).is_some();
            clear(to, second)?;
            to.esp.volume().sweep()?;
        }
        Some(named) if has_image(to, named) => changed |= adjust(to, named)?,
        Some(named) => {
            changed = true;
            check(from, named)?;
            place(from, to, named, second)?;
        }
    }
    Ok(changed)
}

/// Whether the image that an entry is about is there, whole. One that cannot be read is written again.
fn has_image<T: Storage>(to: &Side<T>, named: &Named) -> bool {
    to.esp.is_whole(named)
}

/// Before anything goes away for it: whether the image that is to be copied is whole.
fn check<S: Storage>(from: &Side<S>, named: &Named) -> Result<(), MirrorError> {
    if has_image(from, named) {
        return Ok(());
    }
    Err(MirrorError::Damaged(named.name.slot))
}

/// Takes a slot away: its entry, and then its files.
fn clear<T: Storage>(to: &Side<T>, slot: Slot) -> Result<(), MirrorError> {
    let volume = to.esp.volume();
    if let Some(named) = to.esp.entries()?.of(slot) {
        volume.unlink(&join(ENTRIES, &named.name.to_string()))?;
        to.esp.write_menu()?;
    }
    for file in files_of(slot) {
        volume.unlink(&join(IMAGES, &file))?;
    }
    Ok(())
}

/// Writes image and entry of a slot that another image, or none, is in; the image is that of `slot` on `from`.
fn place<S: Storage, T: Storage>(
    from: &Side<S>,
    to: &Side<T>,
    named: &Named,
    slot: Slot,
) -> Result<(), MirrorError> {
    let (volume, entry) = (to.esp.volume(), &named.entry);
    let files = files_of(named.name.slot).map(|file| join(IMAGES, &file));
    volume.room(&join(IMAGES, &named.name.slot.image()), entry.size, &files)?;
    clear(to, named.name.slot)?;
    volume.sweep()?;
    no_old_count(to, named)?;
    let update = Update {
        version: entry.version.clone(),
        size: entry.size,
        digest: entry.digest,
        options: entry.options.clone(),
    };
    let path = join(IMAGES, &slot.image());
    let written = from.esp.volume().with_content(&path, |content| {
        let generation = entry.generation;
        to.esp
            .write_slot(named.name, generation, &update, content, &mut |_| {})
    });
    written?.ok_or(FatError::Missing(path))??;
    Ok(to.esp.write_menu()?)
}

/// Gives a slot whose image is there the entry that it is to have; whether it had another one.
fn adjust<T: Storage>(to: &Side<T>, named: &Named) -> Result<bool, MirrorError> {
    no_old_count(to, named)?;
    let entries = to.esp.entries()?;
    if entries.of(named.name.slot) == Some(named) {
        to.esp.write_menu()?;
        return Ok(false);
    }
    let name = match entries.of(named.name.slot) {
        Some(own) if own.entry == named.entry => own.name,
        // Under the name that it has, so that there is one entry at every moment.
        Some(own) => {
            let entry = named.entry.clone();
            let name = own.name;
            to.esp.write_entry(&Named { name, entry })?;
            name
        }
        None => {
            to.esp.write_entry(named)?;
            named.name
        }
    };
    if name != named.name {
        let (old, new) = (name.to_string(), named.name.to_string());
        to.esp.volume().rename(ENTRIES, &old, &new)?;
    }
    to.esp.volume().sweep()?;
    to.esp.write_menu()?;
    Ok(true)
}

/// What GRUB has counted on the disk that follows is not about the entry that it gets.
fn no_old_count<T: Storage>(to: &Side<T>, named: &Named) -> Result<(), MirrorError> {
    let count = to.esp.count()?;
    if count.is_some_and(|count| count.generation == named.entry.generation) {
        let path = join(bios::DIRECTORY, bios::COUNT);
        to.esp.volume().rewrite(&path, &bios::no_count())?;
    }
    Ok(())
}

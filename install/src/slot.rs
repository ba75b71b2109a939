//! The two slots of the image: what their entries are called, what is in them, and which is written next. Pure.
//!
//! An entry is a file of the Boot Loader Specification (UAPI.1, type 1). The number of tries that are left, and of those that
//! were made, is in its name: `axion-b+2-1.conf`; the loader counts by renaming. A name without them is confirmed. The loader
//! takes, of the entries that are confirmed or have a try left, the one with the highest `version`, which is the generation:
//! it grows with everything that is to be started from now on, be it older or newer software.

use std::cmp::Reverse;
use std::fmt;

use crate::Digest;

/// Tries that an update gets.
pub const TRIES: u32 = 3;
/// The directory of the entries on the ESP.
pub const ENTRIES: &str = "loader/entries";
/// The directory of the UKIs on the ESP.
pub const IMAGES: &str = "EFI/axion";
/// A slot's entry while it is written.
pub const NEW_ENTRY: &str = "axion-new";
/// A slot's UKI while it is written.
pub const NEW_IMAGE: &str = "new.tmp";
/// What the kernel command line says of the slot that was started.
pub const ARGUMENT: &str = "axion.slot";

/// A place for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The one that the installer writes.
    A,
    /// The other one.
    B,
}

impl Slot {
    /// The other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The slot that a kernel command line's `axion.slot=` names.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }

    /// File of its UKI in [`IMAGES`].
    pub fn image(self) -> String {
        format!("{self}.efi")
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// What the loader has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Starts that it may still be given.
    pub left: u32,
    /// Starts that it was given.
    pub done: u32,
}

/// The name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Slot.
    pub slot: Slot,
    /// `None`: confirmed.
    pub tries: Option<Tries>,
}

impl Name {
    /// The name of a confirmed slot.
    pub const fn confirmed(slot: Slot) -> Self {
        Self { slot, tries: None }
    }

    /// The name of a slot that has not been tried yet.
    pub const fn untried(slot: Slot) -> Self {
        let tries = Tries { left: TRIES, done: 0 };
        Self {
            slot,
            tries: Some(tries),
        }
    }

    /// The name of a slot whose tries are taken away.
    #[must_use]
    pub const fn given_up(name: Self) -> Self {
        let tries = match name.tries {
            Some(tries) => Some(Tries {
                left: 0,
                done: tries.done.saturating_add(tries.left),
            }),
            None => None,
        };
        Self { tries, ..name }
    }

    /// Reads a file's name; `None`: it is no entry of a slot.
    pub fn parse(file: &str) -> Option<Self> {
        let stem = file.strip_prefix("axion-")?.strip_suffix(".conf")?;
        let Some((slot, tries)) = stem.split_once('+') else {
            return Slot::parse(stem).map(Self::confirmed);
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits)
        };
        let (left, done) = match tries.split_once('-') {
            Some((left, done)) => (number(left)?, number(done)?),
            None => (number(tries)?, 0),
        };
        Some(Self {
            slot: Slot::parse(slot)?,
            tries: Some(Tries { left, done }),
        })
    }

    /// Whether the loader takes it only where there is nothing else.
    pub fn failed(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }

    /// The name that the loader gives it before it starts it.
    #[must_use]
    pub fn after_start(self) -> Self {
        let tries = self.tries.map(|tries| Tries {
            left: tries.left.saturating_sub(1),
            done: if tries.left == 0 {
                tries.done
            } else {
                tries.done.saturating_add(1)
            },
        });
        Self { tries, ..self }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "axion-{}", self.slot)?;
        match self.tries {
            None => {}
            Some(Tries { left, done: 0 }) => write!(f, "+{left}")?,
            Some(Tries { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(".conf")
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The highest one is started.
    pub generation: u64,
    /// Version of the image, for people.
    pub version: String,
    /// Bytes of the UKI.
    pub size: u64,
    /// Digest of the UKI.
    pub digest: Digest,
    /// Kernel command line.
    pub options: String,
}

impl Entry {
    /// The text for a slot.
    pub fn text(&self, slot: Slot) -> String {
        format!(
            "title Axion {version} (slot {slot})\nsort-key axion\nversion {generation}\nefi /{IMAGES}/{image}\noptions {options}\n\
             # axion-version {version}\n# axion-image {size} {digest}\n",
            version = self.version,
            generation = self.generation,
            image = slot.image(),
            options = self.options,
            size = self.size,
            digest = hex::encode(self.digest),
        )
    }

    /// Reads the text of a slot's entry; `None`: it is not one that [`Entry::text`] has made for that slot.
    pub fn parse(text: &str, slot: Slot) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        let (size, digest) = value("# axion-image")?.split_once(' ')?;
        let mut bytes = Digest::default();
        hex::decode_to_slice(digest, &mut bytes).ok()?;
        let entry = Self {
            generation: value("version")?.parse().ok()?,
            version: value("# axion-version")?.to_owned(),
            size: size.parse().ok()?,
            digest: bytes,
            options: value("options")?.to_owned(),
        };
        (entry.text(slot) == text).then_some(entry)
    }
}

/// An entry on the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: Name,
    /// What it says.
    pub entry: Entry,
}

/// Every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State(pub Vec<Named>);

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to fall back to.
    #[error("no slot is confirmed, so there would be nothing to fall back to; confirm the running one first")]
    NothingConfirmed,
    /// The running slot would be overwritten.
    #[error("slot {0} runs and is not confirmed yet; wait for its confirmation, or roll back and reboot")]
    OnTrial(Slot),
    /// There is no other image.
    #[error("there is no other confirmed slot to roll back to")]
    NothingToRollBackTo,
    /// There is no such slot.
    #[error("slot {0} has no entry, so it cannot be confirmed")]
    NoSuchSlot(Slot),
    /// It is the one to fall back to.
    #[error("slot {0} is confirmed, so it cannot be given up; roll back instead")]
    Confirmed(Slot),
}

impl State {
    /// In the order in which the loader lists them; the first is started.
    pub fn in_order(&self) -> Vec<&Named> {
        let mut order: Vec<&Named> = self.0.iter().collect();
        order.sort_by_key(|named| {
            let tries = named.name.tries.map_or(u32::MAX, |tries| tries.left);
            (
                named.name.failed(),
                Reverse(named.entry.generation),
                Reverse(named.name.slot),
                Reverse(tries),
            )
        });
        order
    }

    /// What the loader starts next.
    pub fn next(&self) -> Option<&Named> {
        self.in_order().first().copied()
    }

    /// The last confirmed slot: never overwritten.
    pub fn good(&self) -> Option<&Named> {
        let confirmed = self.0.iter().filter(|named| named.name.tries.is_none());
        confirmed.max_by_key(|named| named.entry.generation)
    }

    /// The entry of a slot.
    pub fn of(&self, slot: Slot) -> Option<&Named> {
        self.0.iter().find(|named| named.name.slot == slot)
    }

    /// The generation of what is written next.
    pub fn next_generation(&self) -> u64 {
        let highest = self.0.iter().map(|named| named.entry.generation).max();
        highest.map_or(1, |highest| highest.saturating_add(1))
    }

    /// The slot that an update is written to, while `running` runs.
    ///
    /// # Errors
    /// Nothing is confirmed, or the slot is the running one, on trial.
    pub fn target(&self, running: Option<Slot>) -> Result<Slot, Refusal> {
        let target = self.good().ok_or(Refusal::NothingConfirmed)?.name.slot.other();
        let on_trial = self.of(target).is_some_and(|named| named.name.tries.is_some());
        if running == Some(target) && on_trial {
            return Err(Refusal::OnTrial(target));
        }
        Ok(target)
    }

    /// The entry to be confirmed while `running` runs; `None`: it is confirmed.
    ///
    /// # Errors
    /// The slot has no entry.
    pub fn to_confirm(&self, running: Slot) -> Result<Option<Name>, Refusal> {
        let named = self.of(running).ok_or(Refusal::NoSuchSlot(running))?;
        Ok(Some(named.name).filter(|name| name.tries.is_some()))
    }

    /// The entry to be left without a try; `None`: it has none.
    ///
    /// # Errors
    /// The slot has no entry, or is confirmed.
    pub fn to_give_up(&self, slot: Slot) -> Result<Option<Name>, Refusal> {
        let named = self.of(slot).ok_or(Refusal::NoSuchSlot(slot))?;
        let tries = named.name.tries.ok_or(Refusal::Confirmed(slot))?;
        Ok(Some(named.name).filter(|_| tries.left > 0))
    }

    /// The entry that is started from now on, in place of what would be.
    ///
    /// # Errors
    /// No other slot is confirmed.
    pub fn to_roll_back_to(&self) -> Result<Named, Refusal> {
        let next = self.next().map(|named| named.name.slot);
        let others = self.0.iter().filter(|named| Some(named.name.slot) != next);
        let confirmed = others.filter(|named| named.name.tries.is_none());
        let mut chosen = confirmed
            .max_by_key(|named| named.entry.generation)
            .cloned()
            .ok_or(Refusal::NothingToRollBackTo)?;
        chosen.entry.generation = self.next_generation();
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests;

//! How an installed disk starts on a machine with a BIOS: GRUB, with the same entries and the same counting of tries.
//!
//! ```text
//! sector 0        boot code: loads core.img
//! AXION-BIOS      core.img: reads FAT, runs /loader/grub.cfg of AXION-EFI
//! loader/grub.cfg the entries, as commands of GRUB's; made of them after each change
//! loader/grubenv  the count of starts: one sector, which GRUB writes in place
//! ```
//! GRUB renames no file, so it cannot count in the names of entries. It counts in a block of one sector, under the generation
//! and the number of tries that the entry had when `grub.cfg` was made ([`Count`]): a count is about that very entry, or about
//! nothing. Whoever changes the volume next takes the count over into the name ([`crate::esp::Esp::repair`]), which makes it
//! another entry, for which the count is nothing. A count that cannot be written starts no slot on trial.
//!
//! A kernel and an initramfs are sections of the UKI: GRUB reads them where they lie, as sectors of the file.
//!
//! `grub.cfg` follows the entries with a delay of some writes, and is always whole: the slot that it starts in between is the one
//! that was to be started before.

use std::fmt::Write;

use axion_core::cmdline::CommandLine;

use crate::plan::BIOS_START;
use crate::slot::{Entry, IMAGES, Name, Named, State};
use crate::storage::Storage;
use crate::uki::{Extent, Places};
use crate::{Digest, inspect};

/// Sector size that a BIOS reads.
pub const SECTOR: u64 = 512;
/// Bytes of code in the first sector.
pub const BOOT_CODE: usize = 440;
/// The directory of GRUB's files on the ESP.
pub const DIRECTORY: &str = "loader";
/// What GRUB runs, in [`DIRECTORY`].
pub const MENU: &str = "grub.cfg";
/// The same while it is written.
pub const NEW_MENU: &str = "grub.new";
/// Its count, in [`DIRECTORY`].
pub const COUNT: &str = "grubenv";
/// Number of the partition that the menu is on.
pub const MENU_PARTITION: u32 = 2;

/// Offset in the first sector of the number of the sector that it loads (GRUB's `include/grub/i386/pc/boot.h`).
const KERNEL_SECTOR: usize = 0x5c;
/// Offset in the loader's first sector of where its rest is: a sector number of 8 bytes, and how many in 2
/// (`struct grub_pc_bios_boot_blocklist`).
const REST: usize = 500;
/// More starts than that are not counted.
const MOST: u32 = 9;

const SIGNATURE: &str = "# GRUB Environment Block\n";

/// A disk that a BIOS cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{disk} has sectors of {sector} bytes, and a BIOS starts no such disk; switch the firmware to UEFI, or choose a disk with \
     sectors of 512 bytes"
)]
pub struct NoBiosDisk {
    /// The disk.
    pub disk: String,
    /// Bytes of its sectors.
    pub sector: u64,
}

/// Whether a BIOS can start the disk called `disk`.
///
/// # Errors
/// It cannot.
pub fn check(disk: &str, sector: u64) -> Result<(), NoBiosDisk> {
    if sector == SECTOR {
        return Ok(());
    }
    Err(NoBiosDisk {
        disk: disk.to_owned(),
        sector,
    })
}

/// GRUB, made for the place that the layout has for it.
#[derive(Debug, Clone, Copy)]
pub struct Loader<'a> {
    /// Boot code of the first sector.
    pub boot_code: &'a [u8; BOOT_CODE],
    /// Content of the BIOS boot partition: whole sectors.
    pub core: &'a [u8],
}

/// GRUB is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("GRUB was made for another layout of the disk")]
pub struct OtherLayout;

impl<'a> Loader<'a> {
    /// The loader of these files.
    ///
    /// # Errors
    /// They were made for another place, or one is cut off.
    pub fn new(boot_code: &'a [u8], core: &'a [u8]) -> Result<Self, OtherLayout> {
        let boot_code = boot_code.try_into().map_err(|_| OtherLayout)?;
        let loader = Self { boot_code, core };
        let length = u64::try_from(core.len()).unwrap_or(u64::MAX);
        let whole = is_linked(boot_code, core) && length == length_of(core);
        whole.then_some(loader).ok_or(OtherLayout)
    }

    /// Digest of both.
    pub fn digest(&self) -> Digest {
        digest(self.boot_code, self.core)
    }
}

fn digest(boot_code: &[u8; BOOT_CODE], core: &[u8]) -> Digest {
    inspect::digest(&[boot_code, core].concat())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + N).unwrap_or_default();
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Whether the first sector leads to the loader, and the loader's first sector to its rest.
fn is_linked(boot_code: &[u8; BOOT_CODE], core: &[u8]) -> bool {
    let first = BIOS_START / SECTOR;
    number::<8>(boot_code, KERNEL_SECTOR) == first && number::<8>(core, REST) == first + 1
}

/// Bytes of the loader, by its first sector.
fn length_of(core: &[u8]) -> u64 {
    (1 + number::<2>(core, REST + 8)) * SECTOR
}

/// Boot code and rest of the loader on a disk; `None`: there is none that a BIOS could start.
pub fn read_loader(disk: &impl Storage) -> Option<([u8; BOOT_CODE], Vec<u8>)> {
    let (mut boot_code, mut first) = ([0; BOOT_CODE], [0; 512]);
    disk.read_at(0, &mut boot_code).ok()?;
    disk.read_at(BIOS_START, &mut first).ok()?;
    if disk.sector() != SECTOR || !is_linked(&boot_code, &first) {
        return None;
    }
    let mut core = vec![0; usize::try_from(length_of(&first)).ok()?];
    disk.read_at(BIOS_START, &mut core).ok()?;
    Some((boot_code, core))
}

/// Digest of the loader on a disk; `None`: there is none that a BIOS could start.
pub fn find_loader(disk: &impl Storage) -> Option<Digest> {
    read_loader(disk).map(|(boot_code, core)| digest(&boot_code, &core))
}

/// How often GRUB has started an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Generation of the entry.
    pub generation: u64,
    /// Tries that the entry's name gave it.
    pub left: u32,
    /// Starts since.
    pub starts: u32,
}

impl Count {
    /// Reads a block; `None`: nothing is counted in it.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(block).ok()?.strip_prefix(SIGNATURE)?;
        let value = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let (generation, left) = value("trial")?.split_once('.')?;
        Some(Self {
            generation: generation.parse().ok()?,
            left: left.parse().ok()?,
            starts: value("starts")?.parse().ok()?,
        })
    }

    /// The block, as GRUB's `save_env` writes it.
    pub fn block(&self) -> Vec<u8> {
        let (trial, starts) = (self.trial(), self.starts);
        padded(format!("{SIGNATURE}trial={trial}\nstarts={starts}\n"))
    }

    /// What the count is about.
    fn trial(&self) -> String {
        format!("{}.{}", self.generation, self.left)
    }

    /// Starts that it knows of the entry.
    fn of(count: Option<&Self>, named: &Named) -> u32 {
        let tries = named.name.tries.map(|tries| tries.left);
        let own = count.filter(|c| c.generation == named.entry.generation && Some(c.left) == tries);
        own.map_or(0, |count| count.starts)
    }

    /// The name that the entry has with what is counted.
    pub fn apply(count: Option<&Self>, named: &Named) -> Name {
        (0..Self::of(count, named).min(MOST)).fold(named.name, |name, _| name.after_start())
    }
}

/// A block in which nothing is counted.
pub fn no_count() -> Vec<u8> {
    padded(SIGNATURE.to_owned())
}

/// Whether GRUB can count in it.
pub fn is_block(block: &[u8]) -> bool {
    u64::try_from(block.len()) == Ok(SECTOR) && block.starts_with(SIGNATURE.as_bytes())
}

fn padded(text: String) -> Vec<u8> {
    let mut block = text.into_bytes();
    block.resize(512, b'#');
    block
}

/// An entry, and where its kernel and its initramfs are in its UKI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The entry.
    pub named: Named,
    /// The parts.
    pub places: Places,
}

/// What GRUB runs: the entries, in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Menu(Vec<Choice>);

impl Menu {
    /// The menu of `state`; `places` gives the parts of a slot's UKI where there is one.
    pub fn new(state: &State, places: impl Fn(&Named) -> Option<Places>) -> Self {
        let choices = state.in_order().into_iter().filter_map(|named| {
            let places = places(named)?;
            let named = named.clone();
            Some(Choice { named, places })
        });
        Self(choices.collect())
    }

    /// What is started next, by the count; and the count that is written before.
    pub fn next(&self, count: Option<&Count>) -> Option<(&Choice, Option<Count>)> {
        let counted = |choice: &Choice| {
            let left = choice.named.name.tries?.left;
            let starts = Count::of(count, &choice.named) + 1;
            let generation = choice.named.entry.generation;
            (starts <= left.min(MOST)).then_some(Count {
                generation,
                left,
                starts,
            })
        };
        let first = self.0.iter().find_map(|choice| match choice.named.name.tries {
            None => Some((choice, None)),
            Some(_) => counted(choice).map(|count| (choice, Some(count))),
        });
        // Rather what has failed than nothing.
        first.or_else(|| self.0.first().map(|choice| (choice, None)))
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for choice in &self.0 {
            choice.describe(&mut text);
        }
        let directory = DIRECTORY;
        let _ = write!(text, "\nload_env --file /{directory}/{COUNT} trial starts\n");
        for choice in &self.0 {
            choice.try_it(&mut text);
        }
        text.push_str("\n# Rather what has failed than nothing.\n");
        for choice in self.0.iter().filter(|choice| choice.named.name.tries.is_some()) {
            let _ = writeln!(text, "start_{}", choice.named.name.slot);
        }
        text.push_str(TAIL);
        text
    }

    /// Reads a file; `None`: [`Menu::text`] has not made it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut choices = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(line) = line.strip_prefix(ENTRY) else {
                continue;
            };
            let mut words = line.split(' ');
            let name = Name::parse(words.next()?)?;
            let places = Places {
                kernel: extent(words.next()?)?,
                initramfs: extent(words.next()?)?,
            };
            let mut entry = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(LINE)) {
                entry.push_str(line.strip_prefix(LINE)?);
                entry.push('\n');
            }
            let entry = Entry::parse(&entry, name.slot)?;
            let named = Named { name, entry };
            choices.push(Choice { named, places });
        }
        let menu = Self(choices);
        (menu.text() == text).then_some(menu)
    }
}

const HEAD: &str =
    "# Made by Axion of the files in /loader/entries after each change; what is written here is lost.\n";
/// Before the name of an entry and its places.
const ENTRY: &str = "# entry ";
/// Before each line of an entry.
const LINE: &str = "#| ";
const TAIL: &str = "\necho 'No slot of this disk starts.'\nsleep 60\nreboot\n";

impl Choice {
    /// The entry as comments, and a function that starts it.
    fn describe(&self, text: &mut String) {
        let Named { name, entry } = &self.named;
        let (kernel, initramfs) = (blocks(self.places.kernel), blocks(self.places.initramfs));
        let _ = writeln!(text, "\n{ENTRY}{name} {kernel} {initramfs}");
        for line in entry.text(name.slot).lines() {
            let _ = writeln!(text, "{LINE}{line}");
        }
        let (slot, image) = (name.slot, name.slot.image());
        let _ = write!(
            text,
            "function start_{slot} {{\n  echo {title}\n  if loopback slot_{slot} /{IMAGES}/{image}; then\n    \
             if linux (slot_{slot}){kernel}{arguments}; then\n      if initrd (slot_{slot}){initramfs}; then\n        boot\n      \
             fi\n    fi\n    loopback -d slot_{slot}\n  fi\n}}\n",
            title = quoted(&format!("Axion {} (slot {slot})", entry.version)),
            arguments = arguments(&entry.options),
        );
    }

    /// Starts it, if it is confirmed or a start can be counted.
    fn try_it(&self, text: &mut String) {
        let slot = self.named.name.slot;
        let Some(tries) = self.named.name.tries else {
            let _ = writeln!(text, "\nstart_{slot}");
            return;
        };
        let left = tries.left.min(MOST);
        if left == 0 {
            return;
        }
        let count = Count {
            generation: self.named.entry.generation,
            left: tries.left,
            starts: 0,
        };
        let trial = count.trial();
        let _ = write!(
            text,
            "\nif [ \"$trial\" != {trial} ]; then\n  set trial={trial}\n  set starts=0\nfi\nset next=\n"
        );
        for starts in 0..left {
            let (keyword, next) = (if starts == 0 { "if" } else { "elif" }, starts + 1);
            let _ = writeln!(text, "{keyword} [ \"$starts\" = {starts} ]; then set next={next}");
        }
        let directory = DIRECTORY;
        let _ = write!(
            text,
            "fi\nif [ -n \"$next\" ]; then\n  set starts=$next\n  \
             if save_env --file /{directory}/{COUNT} trial starts; then\n    start_{slot}\n  fi\nfi\n"
        );
    }
}

/// A part of a file as GRUB counts it: `FIRST+COUNT`, in sectors.
fn blocks(extent: Extent) -> String {
    format!("{}+{}", extent.start / SECTOR, extent.length / SECTOR)
}

fn extent(blocks: &str) -> Option<Extent> {
    let (first, count) = blocks.split_once('+')?;
    let bytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(SECTOR);
    Some(Extent {
        start: bytes(first)?,
        length: bytes(count)?,
    })
}

/// Kernel arguments as words of GRUB's, each behind a space. GRUB puts a word with white space in quotes itself, all of it, which
/// the kernel takes for the same parameter.
pub fn arguments(options: &str) -> String {
    let line = CommandLine::parse(options);
    let words = line.iter().map(|param| match param.value() {
        Some(value) => format!("{}={value}", param.key()),
        None => param.key().to_owned(),
    });
    let init = line.init_arguments().map(|arguments| {
        let words = arguments.split_whitespace().map(str::to_owned);
        std::iter::once("--".to_owned()).chain(words).collect::<Vec<_>>()
    });
    let words = words.chain(init.into_iter().flatten());
    words.map(|word| format!(" {}", quoted(&word))).collect()
}

/// A word in quotes in which nothing has a meaning.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;

//! Two system disks that hold the same installation: what each knows of the other, and which one may be brought to the other's
//! content.
//!
//! ```text
//! installed       record on each ESP: the installation, its own partition, the other's
//! a start         the disk that was started is the truth; the other one follows it ([`follow`])
//! a change        the record of the disk that is changed says that it goes on alone ─ the change ─ the other one follows ─ it
//!                 goes on alone no more
//! the other gone  its record goes on saying so
//! both again      who was left behind follows; who went on alone is never overwritten by itself
//! a new disk      [`add`]: partitioned, filled, started by either firmware ─ then the record names it
//! ```
//! Only the disk that follows is written, and what it starts is whole at every moment; so a cut anywhere leaves one disk untouched
//! and the other one bootable. Each disk keeps GUIDs of its own: entries and records are made for it, and everything else is the
//! same to the byte. Loaders count starts on the disk that they start; the other one gets those counts when it follows.
//!
//! A record says that its disk goes on alone before anything is changed there that the other one must not take back, and not
//! when the other one is found not to follow: that may take as long as its disk hangs, and firmware may start it meanwhile.

mod add;
mod copy;
mod grub;

use uuid::Uuid;

pub use self::add::add;
pub use self::copy::{Side, differs, follow};
pub use self::grub::follow_loader;
use crate::esp::EspError;
use crate::fat::{FatError, Volume, join};
use crate::slot::Slot;
use crate::started;
use crate::storage::Storage;

/// Where the record is, on the ESP.
const DIRECTORY: &str = "loader";
const RECORD: &str = "mirror.txt";
/// The same while it is written.
const NEW_RECORD: &str = "mirror.new";
/// Bytes of a record at most.
const LONGEST: usize = 4096;
/// Characters of what a disk is called at most.
const LONGEST_NAME: usize = 200;
const HEAD: &str = "# Made by Axion: this disk and another one hold the same installation.\n";

/// What a disk knows of the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The installation that both hold.
    pub set: u128,
    /// GUID of the disk's own EFI system partition.
    pub own: u128,
    /// GUID of the other disk's.
    pub other: u128,
    /// What the other disk is called, for people.
    pub name: String,
    /// This disk may have what the other one has not: the other one has not followed since it was changed, or gone on with.
    pub alone: bool,
}

impl Record {
    /// The file.
    pub fn text(&self) -> String {
        let guid = |guid: u128| Uuid::from_u128(guid);
        let name: String = self.name.chars().filter(|c| !c.is_control()).collect();
        let name: String = name.chars().take(LONGEST_NAME).collect();
        format!(
            "{HEAD}set {}\nown {}\nother {}\nalone {}\nname {}\n",
            guid(self.set),
            guid(self.own),
            guid(self.other),
            if self.alone { "yes" } else { "no" },
            name.trim(),
        )
    }

    /// Reads a file; `None`: it is no record. What it says besides is another version's.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        let guid = |key: &str| Some(Uuid::try_parse(value(key)?.trim()).ok()?.as_u128());
        Some(Self {
            set: guid("set")?,
            own: guid("own")?,
            other: guid("other")?,
            name: value("name").unwrap_or_default().to_owned(),
            alone: match value("alone")? {
                "yes" => true,
                "no" => false,
                _ => return None,
            },
        })
    }

    /// The record that the other disk has once it follows; this one is called `name`.
    #[must_use]
    pub fn of_the_other(&self, name: &str) -> Self {
        Self {
            set: self.set,
            own: self.other,
            other: self.own,
            name: name.to_owned(),
            alone: false,
        }
    }

    /// Whether the two records are about each other.
    fn fits(&self, other: &Self) -> bool {
        self.set == other.set && self.own == other.other && self.other == other.own
    }
}

/// Why the other disk does not follow the one that was started, as it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// It has another partner, or none.
    #[error("it is part of this mirror no more")]
    Foreign,
    /// It is newer.
    #[error(
        "it was changed and the present one did not follow, so it is the newer one: start from it, or give this one up for it"
    )]
    Ahead,
    /// Each went on.
    #[error("each of the two went on alone, and nothing says which one is meant")]
    Both,
}

/// Whether the disk with the record `other` may be brought to the content of the one that was started, whose record is `own`. Pure.
///
/// # Errors
/// It has what the other one has not.
pub fn may_follow(own: &Record, other: Option<&Record>) -> Result<(), Apart> {
    let other = other.filter(|other| own.fits(other)).ok_or(Apart::Foreign)?;
    match (own.alone, other.alone) {
        (_, false) => Ok(()),
        (false, true) => Err(Apart::Ahead),
        (true, true) => Err(Apart::Both),
    }
}

/// The other disk does not hold the same.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A volume.
    #[error("a volume cannot be used")]
    Fat(#[from] FatError),
    /// Slots.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The loader of a BIOS.
    #[error("the loader for a BIOS cannot be written")]
    Bios(#[source] std::io::Error),
    /// There is nothing good to copy.
    #[error("no slot of the disk that was started is confirmed, so the other one keeps what it has")]
    NothingConfirmed,
    /// What would be copied is damaged.
    #[error(
        "the image in slot {0} of the disk that was started is not what its entry says: that disk is failing"
    )]
    Damaged(Slot),
    /// It must not.
    #[error(transparent)]
    Apart(#[from] Apart),
}

/// The record of a disk; `None`: it is no part of a mirror.
///
/// # Errors
/// The volume cannot be read.
pub fn read<S: Storage>(esp: &Volume<S>) -> Result<Option<Record>, FatError> {
    let text = esp.read(&join(DIRECTORY, RECORD), LONGEST)?;
    let text = text.and_then(|text| String::from_utf8(text).ok());
    Ok(text.and_then(|text| Record::parse(&text)))
}

/// Gives a disk a record in place of the one that it has.
///
/// # Errors
/// The volume cannot be written; the record is then the one that was there.
pub fn write<S: Storage>(esp: &Volume<S>, record: &Record) -> Result<(), FatError> {
    if read(esp)?.as_ref() == Some(record) {
        return Ok(());
    }
    put(esp, DIRECTORY, NEW_RECORD, RECORD, record.text().as_bytes())
}

/// Makes a disk one that is no part of a mirror.
///
/// # Errors
/// The volume cannot be written.
pub fn forget<S: Storage>(esp: &Volume<S>) -> Result<(), FatError> {
    esp.unlink(&join(DIRECTORY, NEW_RECORD))?;
    esp.remove(&join(DIRECTORY, RECORD))
}

/// Brings the disk `to`, which is called `names.1`, to the content of `from`, which was started and is called `names.0`; whether
/// anything differed. Records say so on both.
///
/// # Errors
/// It must not follow, or one of the disks fails; then `from` is as it was, and `to` starts what it did or what it is to start.
pub fn synchronise<S: Storage, T: Storage>(
    from: &Side<S>,
    to: &Side<T>,
    names: (&str, &str),
) -> Result<bool, MirrorError> {
    let Some(mut own) = read(from.esp.volume())? else {
        return Err(Apart::Foreign.into());
    };
    let other = read(to.esp.volume())?;
    match may_follow(&own, other.as_ref()) {
        Ok(()) => {}
        // Each went on to the same.
        Err(Apart::Ahead | Apart::Both) if !differs(from, to)? => {}
        Err(apart) => return Err(apart.into()),
    }
    let changed = follow(from, to)?;
    // The other one first: were it cut here, this one would still say that it is ahead, and may be followed.
    write(to.esp.volume(), &own.of_the_other(names.0))?;
    own.alone = false;
    names.1.clone_into(&mut own.name);
    write(from.esp.volume(), &own)?;
    Ok(changed)
}

/// Says on a disk that it goes on alone, until the other one has followed: before it is changed, or when the other one cannot
/// follow. One that is no part of a mirror is left as it is.
///
/// # Errors
/// It cannot be written.
pub fn go_on_alone<S: Storage>(esp: &Volume<S>) -> Result<(), FatError> {
    match read(esp)? {
        Some(record) => write(
            esp,
            &Record {
                alone: true,
                ..record
            },
        ),
        None => Ok(()),
    }
}

/// Kernel arguments of an entry for the disk whose EFI system partition is `esp`: they name it, as two disks have the slot.
pub fn options_on(options: &str, esp: u128) -> String {
    let own = format!("{}={}", started::ARGUMENT, started::text(esp));
    let names_disk = |word: &str| {
        word.split_once('=')
            .is_some_and(|(key, _)| key == started::ARGUMENT)
    };
    if !options.split(' ').any(names_disk) {
        return format!("{own} {options}");
    }
    let words = options
        .split(' ')
        .map(|word| if names_disk(word) { own.as_str() } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Writes a file under the name `new` and lets it take the place of `name`.
fn put<S: Storage>(
    volume: &Volume<S>,
    directory: &str,
    new: &str,
    name: &str,
    mut content: &[u8],
) -> Result<(), FatError> {
    volume.remove(&join(directory, new))?;
    let length = u64::try_from(content.len()).unwrap_or(0);
    volume.write(&join(directory, new), &mut content, length, &mut |_| {})?;
    volume.rename(directory, new, name)?;
    volume.sweep()
}

#[cfg(test)]
mod tests;

//! Which disk the node was started from, where several hold an installation: a second one, or one that is left over. Pure.
//!
//! systemd-boot says which partition it was loaded from. GRUB says nothing: for it, the kernel arguments of a slot name the EFI
//! system partition that the slot is on ([`ARGUMENT`]). Where neither is there, or the arguments are those of a disk whose
//! partitions have got other GUIDs since, there must be one such disk alone. It is not the one that was started where it is the
//! other one of a mirror with it: that one is not there yet, and what it holds must not be overwritten once it is.

use uuid::Uuid;

/// What the kernel command line says of the partition that holds the slot: its GUID.
pub const ARGUMENT: &str = "axion.esp";

/// What is known of the partition that the node was started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// The loader said it, in this start.
    Loader(u128),
    /// The slot's arguments say it.
    Argument(u128),
    /// Nothing.
    Nothing,
}

impl Hint {
    /// The partition that it names.
    pub const fn guid(self) -> Option<u128> {
        match self {
            Self::Loader(guid) | Self::Argument(guid) => Some(guid),
            Self::Nothing => None,
        }
    }

    /// By the loader's word, or else by that of the kernel command line.
    pub fn of(loader: Option<&str>, argument: Option<&str>) -> Self {
        let loader = loader.and_then(parse).map(Self::Loader);
        let argument = || argument.and_then(parse).map(Self::Argument);
        loader.or_else(argument).unwrap_or(Self::Nothing)
    }
}

fn parse(text: &str) -> Option<u128> {
    Uuid::try_parse(text.trim()).ok().map(|guid| guid.as_u128())
}

/// A GUID as the kernel command line and people have it.
pub fn text(guid: u128) -> String {
    Uuid::from_u128(guid).to_string()
}

/// A disk that holds an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name, for people.
    pub name: String,
    /// GUID of its EFI system partition.
    pub esp: u128,
    /// GUID of that of the other disk of its mirror. It matters where no disk is the one that the hint names.
    pub other: Option<u128>,
}

/// It is not known which disk is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// There is none.
    #[error("no disk holds an installation of Axion any more")]
    None,
    /// The one that was started from is not among them, or not yet.
    #[error(
        "the node was started from the partition {started}, which no disk has; {} of Axion on {others} is another one, and left \
         alone",
        if *several { "an installation" } else { "the installation" }
    )]
    Gone {
        /// What the loader said.
        started: String,
        /// Disks with an installation.
        others: String,
        /// There are several.
        several: bool,
    },
    /// Nothing tells them apart.
    #[error(
        "{disks} hold an installation of Axion each, and nothing says which one was started; start once with that one alone, or \
         wipe the others"
    )]
    Several {
        /// The disks.
        disks: String,
    },
    /// One is a copy of the other.
    #[error(
        "{disks} have the same EFI system partition, {guid}: one is a copy of the other; take the copy out, or give its partitions \
         GUIDs of their own (sgdisk -G)"
    )]
    Copies {
        /// The disks.
        disks: String,
        /// The GUID.
        guid: String,
    },
}

/// The place in `found` of the disk that was started from.
///
/// # Errors
/// It is not among them, or nothing tells it from the others.
pub fn choose(found: &[Found], hint: Hint) -> Result<usize, Unclear> {
    let names = |wanted: &dyn Fn(&Found) -> bool| {
        let names = found.iter().filter(|disk| wanted(disk));
        names
            .map(|disk| disk.name.as_str())
            .collect::<Vec<_>>()
            .join(" and ")
    };
    if found.is_empty() {
        return Err(Unclear::None);
    }
    if let Hint::Loader(guid) | Hint::Argument(guid) = hint {
        let mut fitting = found.iter().enumerate().filter(|(_, disk)| disk.esp == guid);
        match (fitting.next(), fitting.next(), hint) {
            (Some((at, _)), None, _) => return Ok(at),
            (Some(_), Some(_), _) => {
                return Err(Unclear::Copies {
                    disks: names(&|disk| disk.esp == guid),
                    guid: text(guid),
                });
            }
            (None, ..) => {
                // What is there is not what runs, however few there are.
                let is_other = found.iter().any(|disk| disk.other == Some(guid));
                if is_other || matches!(hint, Hint::Loader(_)) {
                    return Err(Unclear::Gone {
                        started: text(guid),
                        others: names(&|_| true),
                        several: found.len() > 1,
                    });
                }
            }
        }
    }
    if found.len() == 1 {
        return Ok(0);
    }
    Err(Unclear::Several {
        disks: names(&|_| true),
    })
}

#[cfg(test)]
mod tests;

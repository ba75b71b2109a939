//! Which of several config volumes say what the node is. Pure.
//!
//! | the node was started            | volumes that count, the weakest first                                           |
//! |---------------------------------|---------------------------------------------------------------------------------|
//! | from an installed disk          | that disk's, and no other                                                       |
//! | from a medium that has a volume | those of other sticks, the medium's                                             |
//! | otherwise                       | those of disks, those of sticks; an installation's where nothing else says what |
//! |                                 | the node is                                                                     |
//!
//! A disk that is built in may have been a VM's, which has written what it liked there, and one that is left over says what another
//! node was.

/// Where a config volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The installed disk that was started.
    Own,
    /// The other disk of its mirror.
    Partner,
    /// A disk with an installation.
    Installation,
    /// A boot medium.
    Medium,
    /// A disk that a person has put in.
    Stick,
    /// Any other one.
    Disk,
}

/// A config volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Name of its device: `sda1`.
    pub device: String,
    /// Where it is.
    pub place: Place,
}

/// What the node was started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// An installed disk.
    Installed,
    /// An installed disk, and nothing says which of several.
    Unclear,
    /// Something else; whether the kernel command line has documents.
    Other {
        /// It has.
        documents: bool,
    },
}

/// What counts, and what does not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Devices that count, the weakest first.
    pub taken: Vec<String>,
    /// Devices that do not, and why.
    pub left: Vec<(String, &'static str)>,
}

/// Whether no other volume can take the place of one there: nothing more needs to be waited for.
pub const fn is_final(place: Place) -> bool {
    matches!(place, Place::Own | Place::Medium | Place::Stick)
}

/// Chooses.
pub fn choose(volumes: &[Volume], start: Start) -> Choice {
    let on = |place: Place| volumes.iter().any(|volume| volume.place == place);
    let (ranks, why): (&[Place], _) = match start {
        Start::Installed => (
            &[Place::Own],
            "an installed node takes the config of the disk that was started",
        ),
        Start::Unclear => (
            &[Place::Installation],
            "an installed node takes the config of an installed disk",
        ),
        Start::Other { .. } if on(Place::Medium) => (
            &[Place::Stick, Place::Medium],
            "the boot medium has a config of its own",
        ),
        Start::Other { documents } if documents || on(Place::Stick) || on(Place::Disk) => (
            &[Place::Disk, Place::Stick],
            "it is that of an installation that was not started",
        ),
        Start::Other { .. } => (&[Place::Installation], ""),
    };
    let mut choice = Choice::default();
    for rank in ranks {
        let fitting = volumes.iter().filter(|volume| volume.place == *rank);
        choice.taken.extend(fitting.map(|volume| volume.device.clone()));
    }
    for volume in volumes.iter().filter(|volume| !ranks.contains(&volume.place)) {
        let why = match volume.place {
            Place::Partner => "it is on the mirror of the disk that was started, whose own copy counts",
            _ => why,
        };
        choice.left.push((volume.device.clone(), why));
    }
    choice
}

#[cfg(test)]
mod tests;

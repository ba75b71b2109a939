//! The life of a node, step by step.

use crate::slot::Slot;

/// What is done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Installs image 0.
    Install,
    /// Writes an image while a slot runs.
    Stage(u8, Slot),
    /// The loader starts the next slot.
    Start,
    /// The running slot is confirmed.
    Confirm(Slot),
    /// The other confirmed slot is to be started.
    RollBack,
    /// A slot that is not confirmed is left without a try.
    GiveUp(Slot),
    /// A slot gets other kernel arguments.
    SetOptions(Slot),
    /// Another machine config is written.
    Configure(u8),
    /// Installs image 9 over what is there; the pool stays.
    InstallAgain,
}

/// A life of a node.
pub(super) const LIFE: &[Step] = &[
    Step::Install,
    Step::Stage(1, Slot::A),
    Step::Start,
    Step::Confirm(Slot::B),
    Step::SetOptions(Slot::B),
    Step::Configure(1),
    Step::Configure(2),
    // Fails three times.
    Step::Stage(2, Slot::B),
    Step::Start,
    Step::Start,
    Step::Start,
    Step::Stage(3, Slot::B),
    // Fails its vote at once.
    Step::Start,
    Step::GiveUp(Slot::A),
    Step::Stage(3, Slot::B),
    Step::Start,
    Step::Confirm(Slot::A),
    Step::RollBack,
    Step::Stage(4, Slot::B),
    // Staged once more before it was tried.
    Step::Stage(5, Slot::B),
    Step::Start,
    Step::RollBack,
    Step::InstallAgain,
    Step::Stage(6, Slot::A),
];

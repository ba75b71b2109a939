//! What a machine really wrote to its disk, cut: the installer's, init's and the loaders' writes as they passed the kernel's block
//! layer and the drive ([`log_writes`]).
//!
//! The disk that a cut leaves is looked at with [`inspect`]. Whatever step the machine was in: the partition table is
//! what it was; by UEFI and by a BIOS a slot starts, whole, and its image is one that the disk holds before or after; and some slot is
//! confirmed and whole. Only where the recording begins with a disk that starts nothing (an installation), nothing may start.

use std::fmt;

use crate::Digest;
use crate::inspect::{self, Inspection};
use crate::recording::{Disk, Operation};
use crate::table;
use crate::torture::Chance;

#[cfg(doc)]
use crate::recording::log_writes;

/// From so many sectors on, content is shared rather than copied for each disk that is made.
const SHARED: usize = 4096;

/// Which cuts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuts {
    /// One behind each write and flush.
    All,
    /// So many, at random.
    Sample(usize),
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Writes and flushes of the recording.
    pub operations: usize,
    /// Those behind which the power was cut.
    pub cuts: usize,
    /// Disks that were looked at.
    pub disks: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operations,
            cuts,
            disks,
        } = self;
        write!(f, "{operations} writes and flushes, {cuts} cuts, {disks} disks")
    }
}

/// A disk that is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A cut has done harm.
    #[error("cut behind operation {operation} of {of}, {left}: {problem}")]
    Cut {
        /// The last operation before the cut, from 1.
        operation: usize,
        /// Operations of the recording.
        of: usize,
        /// What of the writes that were not flushed is on the disk.
        left: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Without any cut.
    #[error("the recording as it ends: {0}")]
    End(String),
    /// A write is beyond the end of the disk.
    #[error("the disk in memory cannot be used")]
    Io(#[from] std::io::Error),
}

/// What a disk may be after a cut.
struct Allowed {
    /// Whether nothing may start.
    nothing: bool,
    /// What may start.
    images: Vec<Digest>,
    /// The partitions, unless they are being made.
    table: Option<Vec<table::Partition>>,
    /// Whether a BIOS starts it, too.
    bios: bool,
}

/// Cuts a recording that began with the disk `before`.
///
/// # Errors
/// The first disk that is not as it must be.
pub fn check(
    before: &Disk,
    recording: &[Operation],
    cuts: Cuts,
    chance: &mut Chance,
) -> Result<Report, Failure> {
    let mut durable = before.settled();
    let chosen = choose(recording, cuts, chance);
    let allowed = allowed(before, recording)?;
    let mut report = Report {
        operations: recording.len(),
        ..Report::default()
    };
    let mut pending: Vec<Operation> = Vec::new();
    for (number, operation) in recording.iter().enumerate() {
        match operation {
            Operation::Write { .. } => pending.push(operation.clone()),
            Operation::Flush => {
                for operation in pending.drain(..) {
                    durable.apply(&operation)?;
                }
                if durable.own_sectors() > SHARED {
                    durable = durable.settled();
                }
            }
        }
        if !chosen.get(number).copied().unwrap_or(false) {
            continue;
        }
        report.cuts += 1;
        for (left, disk) in disks(&durable, &pending, chance)? {
            report.disks += 1;
            look(&disk, &allowed).map_err(|problem| Failure::Cut {
                operation: number + 1,
                of: recording.len(),
                left,
                problem,
            })?;
        }
    }
    Ok(report)
}

/// Disks that a cut may leave when `pending` was written since the last flush.
fn disks(
    durable: &Disk,
    pending: &[Operation],
    chance: &mut Chance,
) -> std::io::Result<Vec<(&'static str, Disk)>> {
    let mut disks = vec![("with all of them", durable.cut(pending, |versions| versions - 1)?)];
    if let Some((newest, _)) = pending.split_last() {
        disks.push(("with none of them", durable.cut(pending, |_| 0)?));
        let newest = std::slice::from_ref(newest);
        disks.push((
            "with the newest alone",
            durable.cut(newest, |versions| versions - 1)?,
        ));
        let some = durable.cut(pending, |versions| chance.below(versions))?;
        disks.push(("with some of them", some));
    }
    Ok(disks)
}

/// Which of the operations are cut behind. Steps that count are one sector between two flushes, and images are many long writes:
/// half of a sample is taken of the flushes.
fn choose(recording: &[Operation], cuts: Cuts, chance: &mut Chance) -> Vec<bool> {
    let Cuts::Sample(count) = cuts else {
        return vec![true; recording.len()];
    };
    let is_flush = |operation: &Operation| matches!(operation, Operation::Flush);
    let flushes: Vec<usize> = (0..recording.len())
        .filter(|number| recording.get(*number).is_some_and(is_flush))
        .collect();
    let mut chosen = vec![false; recording.len()];
    for number in 0..count {
        let any = chance.below(recording.len());
        let flush = flushes.get(chance.below(flushes.len())).copied();
        let number = if number % 2 == 0 {
            flush.unwrap_or(any)
        } else {
            any
        };
        if let Some(chosen) = chosen.get_mut(number) {
            *chosen = true;
        }
    }
    chosen
}

fn allowed(before: &Disk, recording: &[Operation]) -> Result<Allowed, Failure> {
    let after = before.settled();
    for operation in recording {
        after.apply(operation)?;
    }
    let after = after.settled();
    let first = inspect::inspect(before).ok();
    let last = inspect::inspect(&after).map_err(|error| Failure::End(error.to_string()))?;
    let images = first.iter().chain([&last]).flat_map(whole).collect();
    Ok(Allowed {
        nothing: first.is_none(),
        images,
        table: first.as_ref().and_then(|_| table::read(before).ok()),
        bios: last.bios.is_some(),
    })
}

fn whole(found: &Inspection) -> impl Iterator<Item = Digest> {
    let whole = found.entries.iter().filter(|(_, whole)| *whole);
    whole.map(|(named, _)| named.entry.digest)
}

fn look(disk: &Disk, allowed: &Allowed) -> Result<(), String> {
    if let Some(partitions) = &allowed.table
        && table::read(disk).ok().as_ref() != Some(partitions)
    {
        return Err("the partition table is not what it was".to_owned());
    }
    let found = match inspect::inspect(disk) {
        Ok(found) => found,
        Err(_) if allowed.nothing => return Ok(()),
        Err(error) => return Err(format!("nothing starts: {error}")),
    };
    let by_uefi = ("UEFI", found.starts());
    let by_bios = found.bios.as_ref().map(|on_bios| ("a BIOS", on_bios.starts()));
    if allowed.bios && by_bios.is_none() && !allowed.nothing {
        return Err("a BIOS finds no loader".to_owned());
    }
    for (firmware, starts) in [Some(by_uefi), by_bios].into_iter().flatten() {
        match starts {
            None if allowed.nothing => {}
            None => return Err(format!("what {firmware} starts is not whole: {found:?}")),
            Some(named) if !allowed.images.contains(&named.entry.digest) => {
                return Err(format!("{firmware} starts something else: {found:?}"));
            }
            Some(_) => {}
        }
    }
    if allowed.nothing || found.good().is_some() {
        Ok(())
    } else {
        Err(format!("no confirmed slot is whole: {found:?}"))
    }
}

#[cfg(test)]
mod tests;

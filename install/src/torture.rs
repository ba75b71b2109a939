//! Every cut: an installation, updates, confirmations, a rollback are recorded once, and the power is cut behind each of their
//! writes, with what had not been flushed dropped, reordered and torn.
//!
//! Each disk that a cut leaves is looked at with [`inspect`], as UEFI and as a BIOS see it: either must start what it started
//! before the step or what it starts after it, whole; the slot that was confirmed must be whole; so must the machine config, the
//! old one or the new one; the table and the pool must be untouched. From a sample of them the interrupted step is done again, as a
//! node does, and the power is cut during that, too.
//! A second disk follows the first one after each step, and another one after several, and is cut meanwhile; and it is started
//! instead of the first one after a cut of either ([`mirror`]).
//! There are two lives, of a node whose starts systemd-boot counts, and of one whose starts GRUB counts.

mod chance;
mod config;
mod grub;
mod life;
mod mirror;

use std::io;

pub use self::chance::Chance;
pub(crate) use self::grub::Grub;
use self::life::{LIFE, Step};
use crate::esp::{EspError, Update};
use crate::fat::FatError;
use crate::inspect::{self, Inspection};
use crate::perform::{InstallError, Installation, install};
use crate::plan::{Plan, Sizes};
use crate::recording::{Disk, Operation};
use crate::slot::{Named, Slot};
use crate::started;
use crate::storage::Storage;
use crate::table::{self, Partition};
use crate::uki;
use crate::{Digest, perform};

/// What starts a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI, and systemd-boot.
    Uefi,
    /// A BIOS, and GRUB.
    Bios,
}

impl Firmware {
    const BOTH: [Self; 2] = [Self::Uefi, Self::Bios];

    /// What a disk starts by it.
    fn starts(self, found: &Inspection) -> Option<&Named> {
        match self {
            Self::Uefi => found.starts(),
            Self::Bios => found.bios.as_ref()?.starts(),
        }
    }
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Bytes of an image, in pieces of [`CHUNK`].
    pub image: u64,
    /// Disks that are made of each cut at random, besides those with all and with none of the unflushed writes.
    pub random: u32,
    /// Of so many disks, one is gone on with.
    pub resume_every: u64,
    /// The other disk of a mirror follows after so many steps.
    pub follow_every: usize,
    /// Where chance begins.
    pub seed: u64,
}

impl Effort {
    /// What a test run has time for: seconds.
    pub const SAMPLE: Self = Self {
        image: 24 << 10,
        random: 3,
        resume_every: 41,
        follow_every: 4,
        seed: 1,
    };
    /// Everything.
    pub const WHOLE: Self = Self {
        image: 160 << 10,
        random: 24,
        resume_every: 7,
        follow_every: 1,
        seed: 1,
    };
}

/// Bytes of a write.
const CHUNK: usize = 4096;
const LOADER: &[u8] = &[0x4d; 5000];
const POOL: [u8; 4096] = [0x5a; 4096];

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps that were cut.
    pub steps: u64,
    /// Writes and flushes behind which the power was cut.
    pub cuts: u64,
    /// Disks that were looked at.
    pub disks: u64,
    /// Disks from which the step was done again.
    pub resumed: u64,
}

/// A disk that is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A cut has done harm.
    #[error("{step}, cut behind operation {operation} of {of}: {problem}")]
    Cut {
        /// The step.
        step: String,
        /// The last operation before the cut.
        operation: usize,
        /// Operations of the step.
        of: usize,
        /// What is wrong.
        problem: String,
    },
    /// Without any cut.
    #[error("{step}: {problem}")]
    Step {
        /// The step.
        step: String,
        /// What is wrong.
        problem: String,
    },
    /// The disk in memory.
    #[error("the disk in memory cannot be used")]
    Io(#[from] io::Error),
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Esp(#[from] EspError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Fat(#[from] FatError),
    #[error(transparent)]
    NotBootable(#[from] inspect::NotBootable),
    #[error(transparent)]
    Mirror(#[from] crate::mirror::MirrorError),
}

struct Torture {
    effort: Effort,
    firmware: Firmware,
    plan: Plan,
    grub: Grub,
    chance: Chance,
    report: Report,
}

/// Cuts the power behind every write of a node's lives.
///
/// # Errors
/// The first disk that is not as it must be.
pub fn run(effort: Effort) -> Result<Report, Failure> {
    let mut report = Report::default();
    for firmware in Firmware::BOTH {
        report = live(effort, firmware, report)?;
    }
    Ok(report)
}

const SIZES: Sizes = Sizes {
    config: 36 << 20,
    esp: 37 << 20,
    cluster: 512,
};
/// Bytes of the disk.
const SIZE: u64 = 96 << 20;

fn live(effort: Effort, firmware: Firmware, report: Report) -> Result<Report, Failure> {
    let mut torture = Torture {
        effort,
        firmware,
        plan: Plan::fresh(SIZE, SIZES, 0x7000),
        grub: Grub::new(),
        chance: Chance::new(effort.seed),
        report,
    };
    let mut disk = Disk::new(SIZE);
    let mut mirror = mirror::Follower::default();
    for (number, step) in LIFE.iter().enumerate() {
        let after = torture.step(&disk, *step, number, mirror.other())?;
        if *step == Step::Install {
            after.write_at(torture.pool_at(), &POOL)?;
        }
        disk = mirror.step(&mut torture, &after.settled(), number)?;
    }
    Ok(torture.report)
}

/// What a disk may be after a cut.
struct Allowed {
    /// What it may start by either firmware, by image; nothing, where an installation has not ended.
    starts: [Vec<Option<Digest>>; 2],
    /// What may be confirmed.
    good: Vec<Option<Slot>>,
    /// The partitions, unless they are being made.
    table: Option<Vec<Partition>>,
    /// Whether the pool is there.
    pool: bool,
    /// What the machine config may be; nothing, where an installation writes it.
    config: Vec<Option<Vec<u8>>>,
}

impl Torture {
    fn pool_at(&self) -> u64 {
        let [_, _, pool, _] = &self.plan.partitions;
        pool.start
    }

    /// Does a step, and cuts it; gives the disk after it. `other` is the other disk of its mirror.
    fn step(
        &mut self,
        before: &Disk,
        step: Step,
        number: usize,
        other: Option<&Disk>,
    ) -> Result<Disk, Failure> {
        let name = format!("{:?}, step {number} ({step:?})", self.firmware);
        let broken = |problem: String| Failure::Step {
            step: name.clone(),
            problem,
        };
        let before = before.settled();
        let after = before.fresh();
        self.perform(&after, step).map_err(|e| broken(chain(&e)))?;
        let allowed = self.allowed(&before, &after, step).map_err(broken)?;
        self.report.steps += 1;
        let sample = self.cut(&before, &after.log(), &allowed, &name, self.effort.random)?;
        for (number, left) in sample.iter().enumerate() {
            self.resume(
                left,
                &after,
                step,
                &allowed,
                &format!("{name}, resumed from sample {number}"),
            )?;
            if let Some(other) = other.filter(|_| step != Step::InstallAgain) {
                let disks = [(other, &mirror::plan()), (left, &self.plan)];
                mirror::start_instead(
                    disks,
                    &format!("{name}, the mirror started instead of sample {number}"),
                )?;
            }
        }
        Ok(after)
    }

    /// Does a step again from what a cut has left, and cuts that.
    fn resume(
        &mut self,
        left: &Disk,
        after: &Disk,
        step: Step,
        allowed: &Allowed,
        name: &str,
    ) -> Result<(), Failure> {
        let broken = |problem: String| Failure::Step {
            step: name.to_owned(),
            problem,
        };
        self.report.resumed += 1;
        let left = left.settled();
        let again = left.fresh();
        // The node starts, and init does this first.
        if !matches!(step, Step::Install | Step::InstallAgain) {
            let settled = inspect::open(&again).map_err(StepError::from);
            let settled = settled.and_then(|esp| Ok(esp.with_chunk(CHUNK).settle()?));
            settled.map_err(|e| broken(chain(&e)))?;
        }
        // What had been done is not done twice: a slot that was rolled back to is in force.
        let expected = settled_starts(after);
        if expected.contains(&None) {
            return Err(broken("nothing starts once init has looked".to_owned()));
        }
        let done = settled_starts(&again) == expected && matches!(step, Step::RollBack | Step::Start);
        if !done {
            self.perform(&again, step).map_err(|e| broken(chain(&e)))?;
        }
        self.cut(&left, &again.log(), allowed, name, 1)?;
        if settled_starts(&again) != expected {
            return Err(broken("another image starts than without the cut".to_owned()));
        }
        if config::on(&again, &self.plan) != config::on(after, &self.plan) {
            return Err(broken(
                "the machine config is another one than without the cut".to_owned(),
            ));
        }
        Ok(())
    }

    /// Cuts behind every operation; gives a sample of what is left.
    fn cut(
        &mut self,
        before: &Disk,
        log: &[Operation],
        allowed: &Allowed,
        name: &str,
        random: u32,
    ) -> Result<Vec<Disk>, Failure> {
        let durable = before.fresh();
        let mut pending: Vec<Operation> = Vec::new();
        let mut sample = Vec::new();
        for (number, operation) in log.iter().enumerate() {
            match operation {
                Operation::Flush => {
                    for operation in pending.drain(..) {
                        durable.apply(&operation)?;
                    }
                }
                Operation::Write { .. } => pending.push(operation.clone()),
            }
            self.report.cuts += 1;
            let mut left = vec![durable.cut(&pending, |versions| versions - 1)?];
            if !pending.is_empty() {
                left.push(durable.cut(&pending, |_| 0)?);
                let newest = pending.len() - 1;
                left.push(durable.cut(pending.get(newest..).unwrap_or_default(), |versions| versions - 1)?);
                for _ in 0..random {
                    left.push(durable.cut(&pending, |versions| self.chance.below(versions))?);
                }
            }
            for disk in left {
                self.report.disks += 1;
                self.check(&disk, allowed).map_err(|problem| Failure::Cut {
                    step: name.to_owned(),
                    operation: number + 1,
                    of: log.len(),
                    problem,
                })?;
                if self.report.disks.is_multiple_of(self.effort.resume_every) {
                    sample.push(disk);
                }
            }
        }
        Ok(sample)
    }

    fn allowed(&self, before: &Disk, after: &Disk, step: Step) -> Result<Allowed, String> {
        let last = inspect::inspect(after).map_err(|e| chain(&e))?;
        let first = inspect::inspect(before).ok();
        let installs = matches!(step, Step::Install | Step::InstallAgain);
        // While a slot that was to be started is written again, the confirmed one starts.
        let kept = first.as_ref().and_then(confirmed);
        let starts = Firmware::BOTH.map(|firmware| {
            let mut starts = vec![
                first.as_ref().and_then(|found| started(found, firmware)),
                started(&last, firmware),
            ];
            starts.extend(kept.map(Some));
            starts
        });
        let mut allowed = Allowed {
            starts,
            good: vec![first.as_ref().and_then(Inspection::good), last.good()],
            table: None,
            pool: step != Step::Install,
            config: Vec::new(),
        };
        let nothing = allowed.starts.iter().any(|starts| starts.contains(&None));
        if installs {
            allowed.starts.iter_mut().for_each(|starts| starts.push(None));
            allowed.good.push(None);
        }
        if !installs {
            allowed.config = vec![config::on(before, &self.plan), config::on(after, &self.plan)];
        }
        if step != Step::Install {
            allowed.table = Some(self.plan.partitions.to_vec());
        }
        let last_starts = Firmware::BOTH.iter().all(|f| started(&last, *f).is_some());
        if !last_starts || (!installs && nothing) {
            return Err("nothing starts".to_owned());
        }
        Ok(allowed)
    }

    fn check(&self, disk: &Disk, allowed: &Allowed) -> Result<(), String> {
        check(disk, allowed, self.pool_at(), self.grub.loader().digest())?;
        if allowed.config.is_empty() || allowed.config.contains(&config::on(disk, &self.plan)) {
            return Ok(());
        }
        Err("the machine config is neither the old one nor the new one".to_owned())
    }

    fn perform(&self, disk: &Disk, step: Step) -> Result<(), StepError> {
        let on = || inspect::open(disk).map(|esp| esp.with_chunk(CHUNK));
        match step {
            Step::Install => self.install(disk, &self.plan, 0)?,
            Step::InstallAgain => {
                let plan = Plan {
                    keep: true,
                    ..self.plan.clone()
                };
                self.install(disk, &plan, 9)?;
            }
            Step::Stage(image, running) => {
                let (content, update) = self.image(image);
                on()?.stage(Some(running), &update, &mut content.as_slice(), &mut |_| {})?;
            }
            Step::Start => {
                match self.firmware {
                    Firmware::Uefi => on()?.count_start()?,
                    Firmware::Bios => on()?.count_start_of_grub()?,
                };
            }
            Step::Confirm(slot) => {
                on()?.confirm(slot)?;
            }
            Step::RollBack => {
                on()?.roll_back()?;
            }
            Step::GiveUp(slot) => {
                on()?.give_up(slot)?;
            }
            Step::SetOptions(slot) => on()?.set_options(slot, "console=tty0 isolcpus=2-3")?,
            Step::Configure(number) => {
                config::replace(disk, &self.plan, number)?;
            }
        }
        Ok(())
    }

    fn install(&self, disk: &Disk, plan: &Plan, image: u8) -> Result<(), InstallError> {
        let (content, update) = self.image(image);
        let what = Installation {
            loader: LOADER,
            bios: self.grub.loader(),
            image: &update,
            config: "hostname = \"tortured\"\n",
            mirror: None,
            chunk: CHUNK,
        };
        let mut content = content.as_slice();
        install(disk, plan, &what, &mut content, &mut |_: perform::Progress| {}).map(drop)
    }

    /// An image: no two of its sectors are the same, nor are those of two images; its headers are those of a UKI.
    fn image(&self, number: u8) -> (Vec<u8>, Update) {
        let size = self.effort.image + u64::from(number) * 700;
        let mut chance = Chance::new(u64::from(number) + 1);
        let bytes = (0..size.div_ceil(8)).flat_map(|_| chance.next().to_le_bytes());
        let mut content: Vec<u8> = bytes.take(usize::try_from(size).unwrap_or(0)).collect();
        let headers = uki::example(u32::from(number) + 1);
        if let Some(to) = content.get_mut(..headers.len()) {
            to.copy_from_slice(&headers);
        }
        let update = Update {
            version: format!("0.{number}.0"),
            size,
            digest: inspect::digest(&content),
            options: format!("axion.esp={} console=tty0", started::text(self.plan.esp().guid)),
        };
        (content, update)
    }
}

fn started(found: &Inspection, firmware: Firmware) -> Option<Digest> {
    firmware.starts(found).map(|named| named.entry.digest)
}

fn confirmed(found: &Inspection) -> Option<Digest> {
    let good = found.good();
    let mut entries = found.entries.iter();
    let named = entries.find(|(named, _)| Some(named.name.slot) == good);
    named.map(|(named, _)| named.entry.digest)
}

fn starts(disk: &Disk) -> [Option<Digest>; 2] {
    let found = inspect::inspect(disk).ok();
    Firmware::BOTH.map(|firmware| started(found.as_ref()?, firmware))
}

/// What starts once init has looked at the disk: a menu of GRUB's that a count by UEFI has left behind fits again.
fn settled_starts(disk: &Disk) -> [Option<Digest>; 2] {
    let disk = disk.settled().fresh();
    match inspect::open(&disk).and_then(|esp| Ok(esp.with_chunk(CHUNK).settle()?)) {
        Ok(_) => starts(&disk),
        Err(_) => [None; 2],
    }
}

fn check(disk: &Disk, allowed: &Allowed, pool_at: u64, grub: Digest) -> Result<(), String> {
    if let Some(partitions) = &allowed.table
        && table::read(disk).ok().as_ref() != Some(partitions)
    {
        return Err("the partition table is not what it was".to_owned());
    }
    if allowed.pool {
        let mut pool = POOL;
        pool.fill(0);
        disk.read_at(pool_at, &mut pool).map_err(|e| e.to_string())?;
        if pool != POOL {
            return Err("the pool is not what it was".to_owned());
        }
    }
    let found = match inspect::inspect(disk) {
        Ok(found) => found,
        Err(_) if allowed.starts.iter().all(|starts| starts.contains(&None)) => return Ok(()),
        Err(error) => return Err(format!("nothing starts: {}", chain(&error))),
    };
    if found.loader != inspect::digest(LOADER) {
        return Err("the loader is not whole".to_owned());
    }
    let [_, on_bios] = &allowed.starts;
    match found.bios.as_ref().map(|on_bios| on_bios.loader) {
        // UEFI takes the backup of a table whose first sector is not written yet; a BIOS starts nothing then.
        None if on_bios.contains(&None) => {}
        Some(loader) if loader == grub => {}
        _ => return Err("the loader of a BIOS is not whole".to_owned()),
    }
    for (firmware, allowed) in Firmware::BOTH.into_iter().zip(&allowed.starts) {
        match started(&found, firmware) {
            None if firmware == Firmware::Bios && found.bios.is_none() => {}
            None => return Err(format!("what {firmware:?} starts is not whole: {found:?}")),
            Some(image) if !allowed.contains(&Some(image)) => {
                return Err(format!("{firmware:?} starts something else: {found:?}"));
            }
            Some(_) => {}
        }
    }
    if allowed.good.contains(&found.good()) {
        Ok(())
    } else {
        Err(format!("another slot is confirmed: {:?}", found.good()))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;

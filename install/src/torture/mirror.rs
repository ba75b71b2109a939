//! The other disk of a mirror across cuts: it is added, and follows the first one after each step and after many.
//!
//! Whatever a cut leaves of it starts something whole, by both firmwares, that one of the two disks had before and that was not given
//! up; its table and its pool are untouched. The first disk starts what it started. Gone on with, the two hold the same.
//!
//! A machine may start the other disk after any cut, of a change of the first one or of the copy. The first one then keeps what it
//! alone has.

use super::{
    Allowed, CHUNK, Failure, Firmware, POOL, SIZE, SIZES, StepError, Torture, chain, config, settled_starts,
    started,
};
use crate::Digest;
use crate::esp::Esp;
use crate::fat::{FatError, Volume};
use crate::inspect::{self, Inspection};
use crate::mirror::{
    MirrorError, Record, Side, add, differs, follow_loader, go_on_alone, read, synchronise, write,
};
use crate::perform;
use crate::plan::Plan;
use crate::recording::Disk;
use crate::slot::{Named, Slot};
use crate::started::text;
use crate::storage::{Part, Storage};

/// The one that is left behind follows after so many steps.
const LEFT_BEHIND: usize = 7;
const SET: u128 = 0x5e7;

/// Disks that follow the one that lives.
#[derive(Default)]
pub(super) struct Follower {
    /// After each step.
    close: Option<Disk>,
    /// After many.
    far: Option<Disk>,
}

impl Follower {
    /// The one that is close behind.
    pub(super) const fn other(&self) -> Option<&Disk> {
        self.close.as_ref()
    }

    /// The disk that lives has made a step; gives it with what it knows of the other one.
    pub(super) fn step(
        &mut self,
        torture: &mut Torture,
        from: &Disk,
        number: usize,
    ) -> Result<Disk, Failure> {
        let name = format!("{:?}, the mirror after step {number}", torture.firmware);
        let mut from = known(torture, from, &name)?;
        match &mut self.close {
            None => {
                let added = added(torture, &from, &name)?;
                self.far = Some(added.clone());
                self.close = Some(added);
            }
            Some(close) if number.is_multiple_of(torture.effort.follow_every) => {
                (from, *close) = followed(torture, &from, close, &name)?;
            }
            Some(_) => {}
        }
        if let Some(far) = &mut self.far
            && number % LEFT_BEHIND == LEFT_BEHIND - 1
        {
            let name = format!("{name}, left behind");
            // The disk that lives has one record, and it is about the one that is close behind.
            let ahead = ahead(torture, &from, &name)?;
            (_, *far) = followed(torture, &ahead, far, &name)?;
        }
        Ok(from)
    }
}

pub(super) fn plan() -> Plan {
    Plan::fresh(SIZE, SIZES, 0x8000)
}

fn side<'d>(disk: &'d Disk, plan: &Plan) -> Result<Side<Part<&'d Disk>>, FatError> {
    let [config, esp, ..] = &plan.partitions;
    let open = |at: &crate::table::Partition| Volume::open(Part::new(disk, at.start, at.length));
    Ok(Side {
        esp: Esp::new(open(esp)?).with_chunk(CHUNK),
        config: open(config)?.with_chunk(CHUNK),
        guid: esp.guid,
    })
}

fn broken(name: &str) -> impl Fn(String) -> Failure {
    let step = name.to_owned();
    move |problem| Failure::Step {
        step: step.clone(),
        problem,
    }
}

/// The disk with its record, which an installation that is made again has taken away.
fn known(torture: &Torture, disk: &Disk, name: &str) -> Result<Disk, Failure> {
    let disk = disk.fresh();
    let known = || -> Result<(), FatError> {
        let side = side(&disk, &torture.plan)?;
        if read(side.esp.volume())?.is_none() {
            let record = Record {
                set: SET,
                own: side.guid,
                other: plan().esp().guid,
                name: "second".to_owned(),
                alone: true,
            };
            write(side.esp.volume(), &record)?;
        }
        Ok(())
    };
    known().map_err(|e| broken(name)(chain(&e)))?;
    Ok(disk.settled())
}

/// The disk, ahead of the other one.
fn ahead(torture: &Torture, disk: &Disk, name: &str) -> Result<Disk, Failure> {
    let disk = disk.fresh();
    let marked = || go_on_alone(side(&disk, &torture.plan)?.esp.volume());
    marked().map_err(|e| broken(name)(chain(&e)))?;
    Ok(disk.settled())
}

/// A blank disk that becomes the other one.
fn added(torture: &mut Torture, from: &Disk, name: &str) -> Result<Disk, Failure> {
    let (before, plan) = (Disk::new(SIZE), plan());
    let after = before.fresh();
    let done = || -> Result<(), perform::InstallError> {
        let from_side = side(from, &torture.plan)?;
        let own = read(from_side.esp.volume())?;
        let record = own.map(|own| own.of_the_other("first"));
        let record = record.ok_or(FatError::Missing("record".to_owned()))?;
        add(from, &from_side, &after, &plan, &record, CHUNK, &mut |_| {})
    };
    done().map_err(|e| broken(name)(chain(&e)))?;
    let last = inspect::inspect(&after).map_err(|e| broken(name)(chain(&e)))?;
    let starts = Firmware::BOTH.map(|firmware| vec![None, started(&last, firmware)]);
    let allowed = Allowed {
        starts,
        good: vec![None, last.good()],
        table: None,
        pool: false,
        config: Vec::new(),
    };
    let random = torture.effort.random;
    torture.report.steps += 1;
    torture.cut(&before, &after.log(), &allowed, &format!("{name}, added"), random)?;
    same(torture, from, &after).map_err(broken(name))?;
    after.write_at(torture.pool_at(), &POOL)?;
    Ok(after.settled())
}

/// What the other disk may start on its way, by image: nothing that was given up.
fn may_start(of: &Inspection) -> impl Iterator<Item = Option<Digest>> {
    let whole = of
        .entries
        .iter()
        .filter(|(named, whole)| *whole && !named.name.failed());
    whole.map(|(named, _)| Some(named.entry.digest))
}

/// Both disks after the second has followed, which was cut on the way.
fn followed(torture: &mut Torture, from: &Disk, to: &Disk, name: &str) -> Result<(Disk, Disk), Failure> {
    let broken = broken(name);
    let (first, second) = (from.fresh(), to.fresh());
    torture.report.steps += 1;
    follow(torture, &first, &second).map_err(|e| broken(chain(&e)))?;
    same(torture, &first, &second).map_err(&broken)?;

    let looked = |disk: &Disk| inspect::inspect(disk).map_err(|e| broken(chain(&e)));
    let (own, had) = (looked(from)?, looked(to)?);
    let still = Allowed {
        starts: Firmware::BOTH.map(|firmware| vec![started(&own, firmware)]),
        good: vec![own.good()],
        table: Some(torture.plan.partitions.to_vec()),
        pool: true,
        config: vec![config::on(from, &torture.plan)],
    };
    torture.cut(from, &first.log(), &still, &format!("{name}, the first disk"), 1)?;
    let starts = Firmware::BOTH.map(|firmware| {
        let mut starts: Vec<Option<Digest>> = may_start(&own).chain(may_start(&had)).collect();
        // Where nothing else is there, what was given up.
        starts.extend([started(&own, firmware), started(&had, firmware)]);
        starts.retain(Option::is_some);
        starts
    });
    let allowed = Allowed {
        starts,
        good: vec![Some(Slot::A), Some(Slot::B)],
        table: Some(plan().partitions.to_vec()),
        pool: true,
        config: vec![config::on(from, &torture.plan), config::on(to, &torture.plan)],
    };
    let sample = torture.cut(to, &second.log(), &allowed, name, 1)?;
    for (number, left) in sample.iter().enumerate() {
        torture.report.resumed += 1;
        let name = format!("{name}, gone on with from sample {number}");
        let broken = self::broken(&name);
        let left = left.settled();
        start_instead([(&left, &plan()), (from, &torture.plan)], &name)?;
        let (first, again) = (first.fresh(), left.fresh());
        follow(torture, &first, &again).map_err(|e| broken(chain(&e)))?;
        torture.cut(&left, &again.log(), &allowed, &name, 1)?;
        same(torture, &first, &again).map_err(broken)?;
    }
    Ok((first.settled(), second.settled()))
}

/// The first of two disks is started after a cut, and the other one is to follow: it does not lose what it alone has.
pub(super) fn start_instead(disks: [(&Disk, &Plan); 2], name: &str) -> Result<(), Failure> {
    let [(started, its_plan), (other, other_plan)] = disks;
    let (started, other) = (started.fresh(), other.fresh());
    let done = || -> Result<bool, StepError> {
        let (from, to) = (side(&started, its_plan)?, side(&other, other_plan)?);
        let (known, had) = (held(&from)?, held(&to)?);
        match synchronise(&from, &to, ("second", "first")) {
            Ok(_) => Ok(had.0.iter().all(|slot| known.0.contains(slot)) && had.1 == known.1),
            Err(MirrorError::Apart(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    };
    let broken = broken(name);
    if done().map_err(|e| broken(chain(&e)))? {
        return Ok(());
    }
    Err(broken("what one disk alone had was overwritten".to_owned()))
}

/// What must not be lost: each slot with its generation, its image and whether it is confirmed, and the machine config. Not what a
/// loader has counted.
type Held = (Vec<(Slot, u64, Digest, bool)>, Option<Vec<u8>>);

fn held(side: &Side<Part<&Disk>>) -> Result<Held, StepError> {
    let entries = side.esp.entries()?.0.into_iter().map(|Named { name, entry }| {
        let is_confirmed = name.tries.is_none();
        (name.slot, entry.generation, entry.digest, is_confirmed)
    });
    Ok((entries.collect(), crate::config::read(&side.config)?))
}

fn follow(torture: &Torture, first: &Disk, second: &Disk) -> Result<(), StepError> {
    let (from, to) = (side(first, &torture.plan)?, side(second, &plan())?);
    synchronise(&from, &to, ("first", "second"))?;
    Ok(follow_loader(first, second, &to)?)
}

/// Whether the two disks hold the same, each with its own partition in its entries, and start the same.
fn same(torture: &Torture, first: &Disk, second: &Disk) -> Result<(), String> {
    let sides = side(first, &torture.plan).and_then(|from| Ok((from, side(second, &plan())?)));
    let (from, to) = sides.map_err(|e| chain(&e))?;
    if differs(&from, &to).map_err(|e| chain(&e))? {
        return Err("the two disks do not hold the same".to_owned());
    }
    let (own, other) = (inspect::inspect(first), inspect::inspect(second));
    let (own, other) = (own.map_err(|e| chain(&e))?, other.map_err(|e| chain(&e))?);
    if settled_starts(first) != settled_starts(second) || own.good() != other.good() {
        return Err(format!("the two disks start something else: {own:?} {other:?}"));
    }
    for (found, esp) in [(&own, from.guid), (&other, to.guid)] {
        for (named, _) in &found.entries {
            let of_another = named.entry.options.contains(crate::started::ARGUMENT)
                && !named.entry.options.contains(&text(esp));
            if of_another {
                return Err(format!("an entry names another disk: {named:?}"));
            }
        }
    }
    Ok(())
}

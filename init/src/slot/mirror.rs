//! The other system disk of a mirror: it follows the one that was started, and whatever keeps it from that is told.
//!
//! ```text
//! start has been good ─ the other disk follows ─ every change to slots or config: again ─ a disk comes or goes: again
//! it does not follow  ─ the node goes on alone, says "system disk mirror degraded" and why ─ until it does
//! a new disk          ─ plan and its word ─ laid out and filled ─ the other one from now on
//! ```
//! How it is copied, and what must not be overwritten, is `axion_install::mirror`'s, by which each change is marked before it is
//! made. Nothing here keeps a boot or a change of the disk that was started from going on: a change waits for as long as a disk
//! that works may take, and no longer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axion_api::problem::Kind;
use axion_api::recovery::NoticeKind;
use axion_api::update::{MirrorPlan, MirrorRequest, MirrorState, MirrorStatus};
use axion_core::config::{DiskChoice, Existing, Install, PoolChoice};
use axion_install::fat::FatError;
use axion_install::mirror::{self, MirrorError, Record};
use axion_install::perform::InstallError;
use axion_install::plan::{Plan, Summary, mirror_summary};
use axion_install::select::{Candidate, Unfit, unfit};
use axion_install::storage;
use axion_storage::reread_partitions;

use super::disk::{Installed, SlotError, SystemDisk, on_installed};
use super::running;
use crate::failure::chain;
use crate::install::{self, candidates, check_firmware, open_alone};
use crate::node::Node;
use crate::sync::lock;

/// How long a change waits for the other disk.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the kernel's list of disks is looked at.
const STEP: Duration = Duration::from_secs(10);
const CHUNK: usize = 1 << 20;
const BLOCK: &str = "/sys/block";

/// What is known of the other disk.
#[derive(Debug, Default)]
pub struct Mirror(Mutex<Option<MirrorStatus>>);

/// A disk that does not become the other one. Nothing was written, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It has no such name.
    #[error("{0}")]
    Name(String),
    /// There is not one of that name.
    #[error("{count} disks of this machine are `{disk}`, and one must be; `axctl pool disks` shows them")]
    NotOne {
        /// The name.
        disk: DiskChoice,
        /// How many.
        count: usize,
    },
    /// It is the one that runs.
    #[error("{0} is the disk that the node was started from")]
    Started(String),
    /// It has a pool.
    #[error("{0} holds a ZFS pool that does not lie where Axion's would; `--destroy-pool` gives the pool up")]
    Pool(String),
    /// It must not be written.
    #[error("{disk} is left alone: {reason}")]
    Unfit {
        /// The disk.
        disk: String,
        /// Why.
        reason: Unfit,
    },
    /// The machine has no such disk, or does not start it.
    #[error("the disk cannot be used")]
    Disk(#[source] Box<install::Error>),
    /// Something uses it.
    #[error("{0} cannot be had for oneself: this node uses it, or a pool on it")]
    Busy(String, #[source] std::io::Error),
    /// Something has changed since.
    #[error("`{0}` is not the word of this plan; nothing was written")]
    Word(String),
    /// No mirror.
    #[error("this node has no mirror of its system disk")]
    NoMirror,
    /// It was begun.
    #[error("{0} was not filled, and starts nothing now")]
    Write(String, #[source] Box<InstallError>),
}

impl Refused {
    /// What kind of problem it is to whoever asked.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Name(_) => Kind::Invalid,
            Self::NotOne { .. } => Kind::NotFound,
            Self::Write(..) => Kind::Unavailable,
            _ => Kind::Conflict,
        }
    }
}

impl From<install::Error> for Refused {
    fn from(error: install::Error) -> Self {
        Self::Disk(Box::new(error))
    }
}

/// The other disk as it was when it was last looked at; `None`: there is no mirror.
pub fn status(node: &Node) -> Option<MirrorStatus> {
    lock(&node.mirror.0).clone()
}

/// Has the other disk follow now, and whenever a disk comes or goes.
pub async fn watch(node: &Arc<Node>) {
    let mut disks = disks();
    synchronise(node.clone()).await;
    loop {
        tokio::time::sleep(STEP).await;
        let now = self::disks();
        if now != disks {
            disks = now;
            synchronise(node.clone()).await;
        }
    }
}

/// Names of the disks that the kernel has: volumes of VMs, which come and go, have no device.
fn disks() -> BTreeSet<String> {
    let entries = std::fs::read_dir(BLOCK).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Has the other disk follow a change, and waits for it, but not for one that hangs.
pub async fn follow(node: &Arc<Node>) {
    if running(&node.cmdline).is_none() {
        return;
    }
    let following = tokio::spawn(synchronise(node.clone()));
    if tokio::time::timeout(PATIENCE, following).await.is_err() {
        node.log
            .warning("the mirror of the system disk takes long; it is not waited for");
    }
}

async fn synchronise(node: Arc<Node>) {
    let looked = on_installed(|installed| Ok::<_, SlotError>(look(installed)?));
    match looked.await {
        Ok(status) => tell(&node, status),
        Err(e) => node.log.error(&format!(
            "the mirror of the system disk cannot be looked at: {}",
            chain(&e)
        )),
    }
}

/// Has the other disk follow, where there is one.
fn look(installed: &Installed) -> Result<Option<MirrorStatus>, FatError> {
    let Some(record) = installed.record()? else {
        return Ok(None);
    };
    let partner = installed.partner(&record);
    let done = partner.map(|other| bring(installed, other));
    let why = match &done {
        Some(Ok(())) => None,
        None => Some("it is not there".to_owned()),
        Some(Err(error)) => Some(chain(error)),
    };
    let is_apart = matches!(done, Some(Err(MirrorError::Apart(_))));
    // Of one that must not be overwritten, it is still to be told which of the two is the newer one: a change has said so itself.
    if why.is_some() && !is_apart {
        mirror::go_on_alone(&installed.esp()?)?;
    }
    Ok(Some(MirrorStatus {
        started: installed.title(),
        other: partner.map_or(record.name, SystemDisk::title),
        state: match why {
            None => MirrorState::InSync,
            Some(_) => MirrorState::Degraded,
        },
        why,
    }))
}

fn bring(installed: &Installed, other: &SystemDisk) -> Result<(), MirrorError> {
    let (from, to) = (installed.side()?, other.side()?);
    mirror::synchronise(&from, &to, (&installed.lasting_name(), &other.lasting_name()))?;
    mirror::follow_loader(&installed.storage, &other.storage, &to)
}

/// Keeps what is known, and says what is new.
fn tell(node: &Node, status: Option<MirrorStatus>) {
    let before = std::mem::replace(&mut *lock(&node.mirror.0), status.clone());
    let degraded = status
        .as_ref()
        .and_then(|now| Some((&now.other, now.why.as_ref()?)));
    let degraded = degraded.map(|(other, why)| format!("{other}: {why}"));
    lock(&node.status).mirror_degraded = degraded.unwrap_or_default();
    let Some(text) = news(before.as_ref(), status.as_ref()) else {
        return;
    };
    let degraded = status.is_some_and(|status| status.state == MirrorState::Degraded);
    if degraded {
        node.log.error(&text);
    } else {
        node.log.info(&text);
    }
    if degraded || before.is_some() {
        node.notice(NoticeKind::Mirror, text);
    }
}

/// What there is to say of a mirror that was `before`. Pure.
fn news(before: Option<&MirrorStatus>, now: Option<&MirrorStatus>) -> Option<String> {
    let now = now.filter(|now| before != Some(now))?;
    let (started, other) = (&now.started, &now.other);
    Some(match &now.why {
        None => format!("system disk mirror: {other} holds the same as {started}"),
        Some(why) => format!(
            "system disk mirror degraded: {other} does not follow {started}, which was started: {why}"
        ),
    })
}

/// All that is needed to write the other disk.
struct Ready {
    candidate: Candidate,
    pool: PoolChoice,
    summary: Summary,
}

/// Holds what is asked for against the machine.
fn ready(node: &Node, installed: &Installed, request: &MirrorRequest) -> Result<Ready, SlotError> {
    let disk: DiskChoice = request.disk.parse().map_err(Refused::Name)?;
    let all = candidates(&node.handover.documents()).into_iter();
    let mut fitting: Vec<Candidate> = all.filter(|c| disk.fits(&c.disk)).collect();
    let count = fitting.len();
    let Some(candidate) = fitting.pop().filter(|_| count == 1) else {
        return Err(Refused::NotOne { disk, count }.into());
    };
    if candidate.disk.name == installed.name {
        return Err(Refused::Started(candidate.to_string()).into());
    }
    let pool = if request.destroy_pool {
        PoolChoice::Destroy
    } else {
        PoolChoice::Keep
    };
    let wanted = Install {
        existing: Existing::Replace,
        pool,
        ..Install::default()
    };
    match unfit(&candidate, &wanted) {
        None => {}
        Some(Unfit::Pool) => return Err(Refused::Pool(candidate.to_string()).into()),
        Some(reason) => {
            let disk = candidate.to_string();
            return Err(Refused::Unfit { disk, reason }.into());
        }
    }
    check_firmware(&candidate).map_err(Refused::from)?;
    open_alone(&candidate.disk).map_err(|e| Refused::Busy(candidate.to_string(), e))?;
    let replaced = installed.record()?.map(|record| record.name);
    // The disk's identifier is drawn when it is written.
    let plan = Plan::of(&candidate, pool, 0);
    Ok(Ready {
        summary: mirror_summary(&candidate, &plan, &installed.title(), replaced.as_deref()),
        candidate,
        pool,
    })
}

/// What would become of a disk, and the word that confirms it.
pub async fn plan(node: &Arc<Node>, request: MirrorRequest) -> Result<MirrorPlan, SlotError> {
    running(&node.cmdline).ok_or(SlotError::NotInstalled)?;
    let node = node.clone();
    on_installed(move |installed| {
        let Summary { text, token } = ready(&node, installed, &request)?.summary;
        Ok(MirrorPlan { text, token })
    })
    .await
}

/// Makes a disk the other one.
pub async fn add(node: &Arc<Node>, request: MirrorRequest) -> Result<(), SlotError> {
    running(&node.cmdline).ok_or(SlotError::NotInstalled)?;
    let at = node.clone();
    on_installed(move |installed| {
        let ready = ready(&at, installed, &request)?;
        let word = request.token.as_deref().unwrap_or_default().trim();
        if ready.summary.token != word {
            return Err(Refused::Word(word.to_owned()).into());
        }
        at.log.info(&format!(
            "{} becomes the mirror of {}",
            ready.candidate,
            installed.title()
        ));
        fill(installed, &ready)
    })
    .await?;
    synchronise(node.clone()).await;
    Ok(())
}

/// Lays the disk out, fills it, and only then names it on the one that was started.
fn fill(installed: &Installed, ready: &Ready) -> Result<(), SlotError> {
    let Ready { candidate, pool, .. } = ready;
    let guid = install::guid().map_err(Refused::from)?;
    let plan = Plan::of(candidate, *pool, guid);
    let name = candidate.to_string();
    let busy = |e| Refused::Busy(name.clone(), e);
    let file = open_alone(&candidate.disk).map_err(busy)?;
    let target = storage::Disk::new(file, candidate.disk.logical_sector.into()).map_err(busy)?;
    let from = installed.side()?;
    let before = installed.record()?;
    let own = Record {
        set: before.map_or(guid, |record| record.set),
        own: installed.guid(),
        other: plan.esp().guid,
        name: install::lasting_name(&candidate.disk),
        alone: false,
    };
    let record = own.of_the_other(&installed.lasting_name());
    let added = mirror::add(
        &installed.storage,
        &from,
        &target,
        &plan,
        &record,
        CHUNK,
        &mut |_| {},
    );
    added.map_err(|e| Refused::Write(name, Box::new(e)))?;
    mirror::write(from.esp.volume(), &own)?;
    drop(target);
    // A pool may use its part at once. Where the kernel does not look now, it does at the next start.
    if let Ok(file) = open_alone(&candidate.disk) {
        let _ = reread_partitions(&file);
    }
    Ok(())
}

/// The node goes on with the disk that it was started from alone; the other one keeps what it has.
pub async fn forget(node: &Arc<Node>) -> Result<(), SlotError> {
    running(&node.cmdline).ok_or(SlotError::NotInstalled)?;
    on_installed(|installed| {
        let record = installed.record()?.ok_or(Refused::NoMirror)?;
        mirror::forget(&installed.esp()?)?;
        Ok::<_, SlotError>(record)
    })
    .await
    .map(|record| {
        let text = format!("{} is the mirror of the system disk no more", record.name);
        node.log.info(&text);
        *lock(&node.mirror.0) = None;
        lock(&node.status).mirror_degraded.clear();
        node.notice(NoticeKind::Mirror, text);
    })
}

#[cfg(test)]
mod tests;

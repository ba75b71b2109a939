//! The installer that a person at the console drives: a node that was not started from an installed disk offers it.
//!
//! ```text
//! Offer ─ disks and interfaces      Plan ─ what is wrong, by field │ summary and its word       Perform ─ the same again, then write
//! ```
//! Nothing is kept between calls but how far an installation is: a word is made of all that is going to be written, so that it fits
//! only as long as nothing has changed. The disk is chosen by an ID that stays; the config is the one in force with the answers
//! over it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use axion_api::install::{
    Answer, Answers, Call, Offer, OfferedDisk, OfferedInterface, Progress, Status, Summary,
};
use axion_core::cmdline::CommandLine;
use axion_core::config::{
    Addressing, DiskChoice, Document, Effective, Existing, Field, Install, NetworkAnswers, NodeAnswers,
    PoolChoice, PoolLayout, Source, StateAnswer, SystemPool, Unanswered, in_one, resolve,
};
use axion_core::paths;
use axion_core::profile::{Declaration, Resolved, is_second_start};
use axion_core::topology::Topology;
use axion_install::perform;
use axion_install::plan::{self, Plan, Target, kept, summary};
use axion_install::select::{self, Candidate, Unfit, human, unfit};
use axion_install::storage::Disk;
use axion_storage::contents;

use super::{
    Error, Image, ImageError, Job, Origin, candidates, check_config, check_firmware, check_signed,
    is_asked_for, open_alone,
};
use crate::clock;
use crate::failure::chain;
use crate::node::Node;
use crate::slot;
use crate::storage::on_thread;
use crate::sync::lock;

const ROOT: &str = "/";
/// Name of a pool that is made on the installed disk.
const POOL: &str = "system";

/// What init knows of installations.
#[derive(Debug, Default)]
pub struct Installer {
    /// How far the last one is, until somebody has seen its end.
    progress: Mutex<Option<Progress>>,
    /// Whether the node can be installed; firmware is asked once.
    offered: OnceLock<bool>,
}

impl Installer {
    /// Whether an installation may begin; if so, it has.
    fn begin(&self) -> bool {
        let mut progress = lock(&self.progress);
        if matches!(*progress, Some(Progress::Running { .. })) {
            return false;
        }
        *progress = Some(Progress::Running {
            step: "checking once more".to_owned(),
            percent: 0,
        });
        true
    }

    fn tell(&self, progress: Option<Progress>) {
        *lock(&self.progress) = progress;
    }

    /// Forgets an installation that has ended.
    fn dismiss(&self) {
        let mut progress = lock(&self.progress);
        if !matches!(*progress, Some(Progress::Running { .. })) {
            *progress = None;
        }
    }
}

/// Answers a call of a process of the user `uid`, JSON both ways: the console alone may install.
pub async fn serve(node: &Arc<Node>, uid: u32, call: &str) -> String {
    let answer = match serde_json::from_str(call) {
        Ok(_) if ![0, paths::UID_CONSOLE].contains(&uid) => {
            Answer::Failed("only the console of the node installs it".to_owned())
        }
        Ok(call) => answer(node, call).await,
        Err(error) => Answer::Failed(format!("not a call about installation: {error}")),
    };
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

fn is_offered(node: &Node) -> bool {
    let offered = || slot::running(&node.cmdline).is_none();
    *node.installer.offered.get_or_init(offered)
}

fn status(node: &Node) -> Status {
    Status {
        offered: is_offered(node),
        asked: is_asked_for(&node.cmdline),
        progress: lock(&node.installer.progress).clone(),
    }
}

async fn answer(node: &Arc<Node>, call: Call) -> Answer {
    if call == Call::Status {
        return Answer::Status(status(node));
    }
    if !is_offered(node) {
        return Answer::Failed("this node was started from its installed disk".to_owned());
    }
    let Some(effective) = node.config.get().cloned() else {
        return Answer::Failed("the node has no machine config yet".to_owned());
    };
    let machine = Machine {
        documents: node.handover.documents(),
        effective,
        started_again: is_second_start(&node.cmdline),
    };
    let apart = {
        let node = node.clone();
        move || match call {
            Call::Status => Answer::Status(status(&node)),
            Call::Dismiss => {
                node.installer.dismiss();
                Answer::Status(status(&node))
            }
            Call::Offer => Answer::Offer(machine.offer()),
            Call::Plan(answers) => match machine.ready(&answers) {
                Ok(ready) => Answer::Summary(ready.summary),
                Err(refused) => Answer::Refused(refused),
            },
            Call::Perform(answers, token) => perform(&node, &machine, &answers, &token),
        }
    };
    let answered = on_thread(apart).await;
    answered.unwrap_or_else(|error| Answer::Failed(format!("the call was not finished: {error}")))
}

/// Checks all of it once more, and begins to write.
fn perform(node: &Arc<Node>, machine: &Machine, answers: &Answers, token: &str) -> Answer {
    if !node.installer.begin() {
        return Answer::Failed("an installation is under way".to_owned());
    }
    let refuse = |refused| {
        node.installer.tell(None);
        Answer::Refused(refused)
    };
    let ready = match machine.ready(answers) {
        Ok(ready) => ready,
        Err(refused) => return refuse(refused),
    };
    if ready.summary.token != token {
        let message = format!("`{token}` is not the word of this summary; nothing was written");
        return refuse(vec![Unanswered::new(Field::Token, message)]);
    }
    let writing = {
        let node = node.clone();
        move || {
            let end = write(&node, ready);
            if let Progress::Failed(why) = &end {
                node.log.error(&format!("installation: {why}"));
            }
            node.installer.tell(Some(end));
        }
    };
    match std::thread::Builder::new()
        .name("install".to_owned())
        .spawn(writing)
    {
        Ok(_) => Answer::Begun,
        Err(error) => {
            node.installer.tell(None);
            Answer::Failed(format!("cannot begin: {error}"))
        }
    }
}

fn write(node: &Node, ready: Ready) -> Progress {
    let began = clock::since_start();
    let tell = |step: &str, percent| {
        let step = step.to_owned();
        node.installer.tell(Some(Progress::Running { step, percent }));
    };
    let installed = || -> Result<String, Error> {
        tell("putting the image together", 0);
        let image = Image::gather(&ready.origin)?;
        let job = Job::prepare(ready.disks, ready.config, &node.cmdline, image)?;
        let name = job.disk();
        node.log
            .info(&format!("installing on {name}, as was confirmed on the console"));
        let (total, mut written, mut step, mut shown) = (job.bytes(), 0, "", 0);
        job.write(&mut |progress| {
            match progress {
                perform::Progress::Step(next) => step = next,
                perform::Progress::Bytes(bytes) => {
                    written += bytes;
                    let percent = (written * 100).checked_div(total).unwrap_or(100);
                    shown = u8::try_from(percent.min(100)).unwrap_or(100);
                }
            }
            tell(step, shown);
        })?;
        job.start_next(&node.log);
        Ok(name)
    };
    match installed() {
        Ok(name) => {
            let took = clock::since_start().saturating_sub(began);
            node.log
                .info(&format!("installed on {name} in {} ms", took.as_millis()));
            Progress::Done(name)
        }
        Err(error) => Progress::Failed(chain(&error)),
    }
}

/// What answers are held against.
struct Machine {
    documents: Vec<Document>,
    effective: Effective,
    /// The kernel was started again for the boot profile.
    started_again: bool,
}

/// All that an installation needs.
struct Ready {
    disks: Vec<(Candidate, PoolChoice)>,
    config: String,
    origin: Origin,
    summary: Summary,
}

impl Machine {
    fn offer(&self) -> Offer {
        let config = &self.effective.config;
        let disks = candidates(&self.documents);
        let has_interfaces = !config.network.interfaces.is_empty();
        let has_pools = !config.storage.pools.is_empty();
        Offer {
            disks: disks
                .iter()
                .filter(|disk| !is_boot_medium(disk))
                .map(offered)
                .collect(),
            interfaces: interfaces(),
            node: NodeAnswers {
                hostname: config.hostname.clone(),
                network: NetworkAnswers {
                    addressing: if has_interfaces {
                        Addressing::Config
                    } else {
                        Addressing::Dhcp
                    },
                    ..NetworkAnswers::default()
                },
                profile: config.profile.mode,
                state: if has_pools {
                    StateAnswer::Config
                } else {
                    StateAnswer::Disk
                },
            },
            config_has_interfaces: has_interfaces,
            config_has_pools: has_pools,
        }
    }

    /// Holds answers against the machine: what is wrong with them, or all that is needed to write.
    fn ready(&self, answers: &Answers) -> Result<Ready, Vec<Unanswered>> {
        let mut refused = Vec::new();
        if let Err(error) = check_config(&self.effective) {
            refused.push(Unanswered::new(Field::Machine, chain(&error)));
        }
        let disks = candidates(&self.documents);
        let origin = if self.started_again {
            Err(ImageError::StartedAgain)
        } else {
            Origin::running(media(&disks))
        };
        let origin = origin.map_err(Error::from);
        let origin = origin.and_then(|origin| check_signed(origin.is_signed()).map(|()| origin));
        let origin = origin.map_err(|error| refused.push(Unanswered::new(Field::Machine, chain(&error))));
        let chosen = chosen(&disks, answers).map_err(|wrong| refused.push(wrong));
        let wrong = answers.node.refusals();
        let pool = pool_on(chosen.as_deref().unwrap_or_default());
        let config = if wrong.is_empty() {
            self.config(&answers.node, &pool)
                .map_err(|wrong| refused.push(wrong))
                .ok()
        } else {
            refused.extend(wrong);
            None
        };
        let (Ok(origin), Ok(disks), Some(config)) = (origin, chosen, config) else {
            return Err(refused);
        };
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(Ready {
            summary: in_words(&disks, answers, &pool, &config),
            disks,
            config,
            origin,
        })
    }

    /// The config of the installed node, held against this machine.
    fn config(&self, answers: &NodeAnswers, pool: &SystemPool) -> Result<String, Unanswered> {
        let base = in_one(&self.documents, "install");
        let config = answers
            .document(&base, pool)
            .map_err(|error| Unanswered::new(Field::Machine, error.to_string()))?;
        let effective = resolve(&[Document {
            source: Source::Installed(perform::CONFIG.to_owned()),
            text: config.clone(),
        }]);
        let declaration = Declaration::of_effective(&effective);
        let resolved = Resolved::of(
            &Topology::read(Path::new(ROOT)),
            &declaration,
            &CommandLine::default(),
        );
        match resolved.refusals.first() {
            Some(refusal) => Err(Unanswered::new(Field::Profile, refusal.to_string())),
            None => Ok(config),
        }
    }
}

/// The disk that was chosen and, where there is one, its mirror, with what becomes of a pool on each.
fn chosen(disks: &[Candidate], answers: &Answers) -> Result<Vec<(Candidate, PoolChoice)>, Unanswered> {
    let first = one(disks, &answers.disk, answers.pool, Field::Disk)?;
    let mut chosen = vec![(first.clone(), answers.pool)];
    if !answers.mirror.is_empty() {
        // What was said of one disk's pool is not said of another's.
        let mirror = one(disks, &answers.mirror, PoolChoice::Keep, Field::Mirror)?;
        if mirror.disk.name == first.disk.name {
            let message = "a disk is no mirror of itself; choose another one";
            return Err(Unanswered::new(Field::Mirror, message));
        }
        chosen.push((mirror.clone(), PoolChoice::Keep));
    }
    Ok(chosen)
}

fn one<'d>(
    disks: &'d [Candidate],
    id: &str,
    pool: PoolChoice,
    field: Field,
) -> Result<&'d Candidate, Unanswered> {
    let refuse = |message: String| Unanswered::new(field, message);
    let choice: DiskChoice = id.parse().map_err(refuse)?;
    let fitting: Vec<&Candidate> = disks.iter().filter(|c| choice.fits(&c.disk)).collect();
    let &[one] = fitting.as_slice() else {
        return Err(refuse(match fitting.len() {
            0 => format!("there is no disk `{choice}` any more"),
            count => format!("{count} disks are `{choice}`, and one must be"),
        }));
    };
    match unfit(one, &wanted(pool)) {
        // What the config would have to say, a person says here.
        Some(Unfit::Pool) => {
            return Err(Unanswered::new(
                if field == Field::Disk { Field::Pool } else { field },
                "the ZFS pool on it does not lie where Axion's would: it cannot be kept",
            ));
        }
        Some(reason) => return Err(refuse(reason.to_string())),
        None => {}
    }
    check_firmware(one).map_err(|error| refuse(chain(&error)))?;
    open_alone(&one.disk).map_err(|error| refuse(in_use(&error)))?;
    Ok(one)
}

fn in_use(error: &std::io::Error) -> String {
    format!("this node uses it, or a pool on it: {error}")
}

/// What a person who has chosen a disk wants of it.
fn wanted(pool: PoolChoice) -> Install {
    Install {
        existing: Existing::Replace,
        pool,
        ..Install::default()
    }
}

/// Whether a disk is what the node was started from, and nothing that was installed before.
fn is_boot_medium(candidate: &Candidate) -> bool {
    candidate.contents.medium || (candidate.boot && kept(&candidate.contents).is_none())
}

/// Boot media that this node may have been started from.
fn media(disks: &[Candidate]) -> Vec<PathBuf> {
    let disks = disks.iter().filter(|candidate| candidate.contents.medium);
    let disks = disks.map(|candidate| Path::new("/dev").join(&candidate.disk.name));
    // Drives of CDs are no disks.
    let drives = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let drives = drives.filter(|entry| entry.file_name().to_string_lossy().starts_with("sr"));
    let drives = drives.map(|entry| Path::new("/dev").join(entry.file_name()));
    let is_medium = |path: &PathBuf| {
        let disk = File::open(path).and_then(|file| Disk::new(file, 512));
        disk.is_ok_and(|disk| select::is_medium(&disk))
    };
    disks.chain(drives.filter(is_medium)).collect()
}

fn offered(candidate: &Candidate) -> OfferedDisk {
    let disk = &candidate.disk;
    let id = DiskChoice::of(disk);
    let reason = unfit(candidate, &wanted(PoolChoice::Destroy)).map(|reason| reason.to_string());
    let nameless = id
        .is_none()
        .then(|| "it has neither a serial number nor an ID".to_owned());
    let firmware = || check_firmware(candidate).err().map(|error| chain(&error));
    let used = || open_alone(disk).err().map(|error| in_use(&error));
    let has_pool = !candidate.contents.pools.is_empty();
    OfferedDisk {
        id: id.map(|id| id.to_string()).unwrap_or_default(),
        size: human(disk.size),
        model: disk.model.as_deref().unwrap_or("unknown model").trim().to_owned(),
        contents: holds(candidate),
        keeps_pool: has_pool && kept(&candidate.contents).is_some(),
        has_pool,
        unfit: reason.or(nameless).or_else(firmware).or_else(used),
    }
}

/// What is on a disk, for people.
fn holds(candidate: &Candidate) -> String {
    let found = contents::look(Path::new(ROOT), &candidate.disk);
    let installed = candidate.contents.installed.iter();
    let installed = installed.map(|version| format!("Axion {version}"));
    installed.chain(found.describe()).collect::<Vec<_>>().join(", ")
}

/// The pool that the installed disks will have: the one that stays, or a new one over all of them.
fn pool_on(disks: &[(Candidate, PoolChoice)]) -> SystemPool {
    let stays = disks
        .iter()
        .filter(|(candidate, pool)| *pool == PoolChoice::Keep && kept(&candidate.contents).is_some());
    let mut labels = stays
        .flat_map(|(candidate, _)| contents::look(Path::new(ROOT), &candidate.disk).labels)
        .filter(|(_, label)| !label.is_destroyed());
    SystemPool {
        name: labels
            .next()
            .map_or_else(|| POOL.to_owned(), |(_, label)| label.pool),
        layout: if disks.len() > 1 {
            PoolLayout::Mirror
        } else {
            PoolLayout::Stripe
        },
    }
}

fn interfaces() -> Vec<OfferedInterface> {
    let nics = Topology::read(Path::new(ROOT)).nics.into_iter();
    nics.map(|nic| OfferedInterface {
        link: nic.carrier == Some(true),
        name: nic.name,
        mac: nic.mac,
    })
    .collect()
}

/// What is going to happen, and its word.
fn in_words(
    disks: &[(Candidate, PoolChoice)],
    answers: &Answers,
    pool: &SystemPool,
    config: &str,
) -> Summary {
    // The disks' identifiers are drawn when they are written.
    let plans = disks
        .iter()
        .map(|(candidate, pool)| Plan::of(candidate, *pool, 0));
    let plans: Vec<Plan> = plans.collect();
    let mut targets = disks
        .iter()
        .zip(&plans)
        .map(|((candidate, _), plan)| Target { candidate, plan });
    let node = &answers.node;
    let (first, mirror) = (targets.next(), targets.next());
    let shown = first.map(|first| summary(first, mirror, env!("CARGO_PKG_VERSION"), &node.hostname));
    let mut text = shown.map(|shown| shown.text).unwrap_or_default();
    let network = &node.network;
    let on = if network.interface.is_empty() {
        "every interface with a link"
    } else {
        network.interface.as_str()
    };
    let addresses = match network.addressing {
        Addressing::Config => "as the machine config in force says".to_owned(),
        Addressing::Dhcp => format!("DHCP on {on}"),
        Addressing::Static => format!("{} on {on}", network.address.trim()),
    };
    let state = match node.state {
        StateAnswer::Config => "as the machine config in force says".to_owned(),
        StateAnswer::Disk => {
            let place = if disks.len() > 1 {
                "these disks"
            } else {
                "this disk"
            };
            format!("on {place}, in the ZFS pool `{}`", pool.name)
        }
        StateAnswer::Memory => "in memory only: gone after each restart".to_owned(),
    };
    text.push_str(&format!(
        "  addresses   {addresses}\n  profile     {}\n  state       {state}\n",
        node.profile
    ));
    let token = plan::token(&format!("{text}{plans:?}{config}"));
    Summary { text, token }
}

#[cfg(test)]
mod tests;

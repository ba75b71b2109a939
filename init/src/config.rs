//! The machine config that the node keeps: shown, and replaced on the volume that it was found on.
//!
//! ```text
//! document ─ every key known, every value allowed ─ with the other sources, planned for this machine ─> written, as a whole
//! ```
//! Nothing is written before everything was looked at. What was written is in force from the next start on: documents are read
//! once, in stage 1. The one before stays beside it (`axion_install::config`).
//!
//! One call at a time has the volume, as its tables are in memory meanwhile. A volume that is not on the installed disk is known
//! again by its serial number: a stick that was pulled leaves its name in `/dev` to the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_api::config::{Answer, ApplyOptions, Call, ConfigApplied, ConfigDocument, ShowOptions};
use axion_api::problem::{Kind, Problem};
use axion_api::recovery::NoticeKind;
use axion_core::config::{
    ConfigErrors, Document, MachineConfig, SECRET_KEY, SECRETS_KEY, Source, check_all, hide, resolve, restore,
};
use axion_core::paths;
use axion_core::profile::{Declaration, Refusals, Resolved};
use axion_core::topology::Topology;
use axion_install::config::{LONGEST, read, read_previous, replace, replace_on};
use axion_install::fat::{FatError, Volume};
use axion_install::select::mounts;
use axion_install::slot::Slot;
use axion_install::storage::{Disk, Storage};

use crate::failure::chain;
use crate::node::Node;
use crate::slot::{self, Turn};
use crate::stage1::volume;
use crate::sync::lock;

const ROOT: &str = "/";
/// What the document of a caller is called.
const NAME: &str = "the document";
/// How long a notice waits for the end of the boot, so that there is somebody to hear it.
const AUDIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(1);

/// Answers a call of a process of user `uid`, JSON both ways. The console has no part in it: nobody has said who is in front of it.
pub async fn serve(node: &Arc<Node>, uid: u32, call: &str) -> String {
    let answer = match serde_json::from_str(call) {
        Ok(_) if uid == paths::UID_CONSOLE => {
            let detail = "the machine config is changed over the API alone";
            Answer::Problem(Problem::new(Kind::Forbidden, detail))
        }
        Ok(call) => {
            let (at, node) = (node, node.clone());
            let done = slot::alone(move |turn| perform(&node, call, turn)).await;
            let answer = done.unwrap_or_else(Answer::Problem);
            if matches!(&answer, Answer::Applied(applied) if applied.written) {
                slot::mirror::follow(at).await;
            }
            answer
        }
        // What was sent may have a secret: it is not repeated.
        Err(_) => Answer::Problem(Problem::new(
            Kind::Malformed,
            "not a call about the machine config",
        )),
    };
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

fn perform(node: &Node, call: Call, turn: Turn) -> Result<Answer, Problem> {
    match call {
        Call::Show(options) => show(node, options, turn).map(Answer::Document),
        Call::Apply { text, options } => apply(node, &text, options, turn).map(Answer::Applied),
    }
}

/// Where the config of this node is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// On the config volume of the disk that the node was started from.
    Installed,
    /// On a config volume: `/dev/sda1`.
    Volume(String),
}

impl Place {
    /// By how the node was started, and where its documents came from. Pure.
    fn of(running: Option<Slot>, documents: &[(Source, String)]) -> Result<Self, Problem> {
        if running.is_some() {
            return Ok(Self::Installed);
        }
        let volumes = documents.iter().filter_map(|(source, _)| match source {
            Source::Volume(device) => Some(device.clone()),
            Source::Default | Source::Installed(_) | Source::CommandLine(_) => None,
        });
        let volumes: Vec<String> = volumes.collect();
        match volumes.as_slice() {
            [one] => Ok(Self::Volume(one.clone())),
            [] => Err(conflict(format!(
                "this node keeps no machine config: it was not started from an installed disk, there was no AXION-CFG volume with \
                 an axion.toml, and {}. Change it there, or install the node (docs/install.md)",
                match documents {
                    [] => "nothing but defaults are in force".to_owned(),
                    _ => {
                        let sources: Vec<String> =
                            documents.iter().map(|(source, _)| source.to_string()).collect();
                        format!("what is in force comes from {}", sources.join(", "))
                    }
                }
            ))),
            several => Err(conflict(format!(
                "the machine config comes from several volumes, {}, and it is not known which is meant; leave one in, and start the \
                 node again",
                several.join(", ")
            ))),
        }
    }

    /// Does something to the volume, which nobody else has for one's `turn`; `work` is told which devices are it. `serials` are
    /// those of the volumes that documents came from.
    fn with<T>(
        &self,
        turn: Turn,
        serials: &BTreeMap<String, u32>,
        work: impl FnOnce(&On<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        match self {
            Self::Installed => {
                let installed = turn.find()?;
                let unusable = |e: FatError| unusable(&installed.name, &e);
                let volume = installed.config().map_err(unusable)?;
                let esp = installed.esp().map_err(unusable)?;
                work(&On {
                    name: format!("axion.toml on the installed disk {}", installed.name),
                    disk: &installed.name,
                    volume: &Fat(volume, Some(esp)),
                })
            }
            Self::Volume(device) => {
                let (name, volume) = open(device, serials.get(device).copied())?;
                let done = work(&On {
                    name: format!("axion.toml on the AXION-CFG volume ({device})"),
                    disk: &name,
                    volume: &Fat(volume, None),
                });
                drop(turn);
                done
            }
        }
    }
}

/// The volume, for as long as it is held.
struct On<'v> {
    /// The document, for people.
    name: String,
    /// The name of the disk or partition in `/dev`.
    disk: &'v str,
    volume: &'v dyn Keeps,
}

impl On<'_> {
    /// Whether a document in force came from here.
    fn has(&self, source: &Source) -> bool {
        match source {
            Source::Volume(device) => is_on(device, self.disk),
            Source::Default | Source::Installed(_) | Source::CommandLine(_) => false,
        }
    }

    /// What a document from here is called among the others.
    fn source(&self, documents: &[(Source, String)]) -> Source {
        let own = documents.iter().find(|(source, _)| self.has(source));
        let here = || Source::Volume(format!("/dev/{}", self.disk));
        own.map_or_else(here, |(source, _)| source.clone())
    }
}

fn is_on(device: &str, disk: &str) -> bool {
    !mounts(&format!("{device} /"), disk).is_empty()
}

/// What keeps a config.
trait Keeps {
    fn read(&self) -> Result<Option<Vec<u8>>, FatError>;
    fn read_previous(&self) -> Result<Option<Vec<u8>>, FatError>;
    fn replace(&self, text: &str) -> Result<bool, FatError>;
}

/// The volume, and the EFI system partition of an installed disk.
struct Fat<S>(Volume<S>, Option<Volume<S>>);

impl<S: Storage> Keeps for Fat<S> {
    fn read(&self) -> Result<Option<Vec<u8>>, FatError> {
        read(&self.0)
    }
    fn read_previous(&self) -> Result<Option<Vec<u8>>, FatError> {
        read_previous(&self.0)
    }
    fn replace(&self, text: &str) -> Result<bool, FatError> {
        match &self.1 {
            Some(esp) => replace_on(esp, &self.0, text),
            None => replace(&self.0, text),
        }
    }
}

/// Opens a config volume that is not on the installed disk, if it is still the one with that serial number; its name in `/dev`.
fn open(device: &str, serial: Option<u32>) -> Result<(String, Volume<Disk>), Problem> {
    let mounted = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let name = device.trim_start_matches("/dev/").to_owned();
    if !mounts(&mounted, &name).is_empty() {
        return Err(conflict(format!(
            "{device} is mounted; wait until nobody uses it"
        )));
    }
    let disks = Topology::read(Path::new(ROOT)).disks;
    let disk = disks.iter().find(|disk| is_on(device, &disk.name));
    let disk = disk.ok_or_else(|| conflict(format!("{device}, which the config came from, is gone")))?;
    let file = OpenOptions::new().read(true).write(true).open(device);
    let file = file.map_err(|e| unusable(device, &e))?;
    is_the_same(device, &file, serial)?;
    let storage = Disk::new(file, disk.logical_sector.into()).map_err(|e| unusable(device, &e))?;
    let volume = Volume::open(storage).map_err(|e| unusable(device, &e))?;
    Ok((name, volume))
}

fn is_the_same(device: &str, file: &File, serial: Option<u32>) -> Result<(), Problem> {
    let found = volume::serial(file);
    if found.is_some() && found == serial {
        return Ok(());
    }
    Err(conflict(format!(
        "{device} is not the AXION-CFG volume any more that the config came from: another one has taken its place; put the first \
         one back, or start the node with the one that is meant"
    )))
}

fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Conflict, detail)
}

fn unusable(what: &str, error: &(dyn std::error::Error + 'static)) -> Problem {
    let detail = format!(
        "the config volume on {what} cannot be used (it must be FAT32 and writable): {}",
        chain(error)
    );
    conflict(detail)
}

/// A document that is there must be text, or nobody can say what would be lost.
fn text_of(bytes: Option<Vec<u8>>, name: &str) -> Result<Option<String>, Problem> {
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| conflict(format!("{name} is not UTF-8")))
}

fn failed(name: &str) -> impl Fn(FatError) -> Problem {
    move |error| {
        let kind = match error {
            FatError::Full { .. } => Kind::InsufficientCapacity,
            _ => Kind::Unavailable,
        };
        Problem::new(kind, format!("{name}: {}", chain(&error)))
    }
}

fn show(node: &Node, options: ShowOptions, turn: Turn) -> Result<ConfigDocument, Problem> {
    let documents = &node.handover.documents;
    let place = Place::of(slot::running(&node.cmdline), documents)?;
    place.with(turn, &node.handover.volumes, |on| {
        let current = text_of(on.volume.read().map_err(failed(&on.name))?, &on.name)?;
        let (name, text) = if options.previous {
            let previous = text_of(on.volume.read_previous().map_err(failed(&on.name))?, &on.name)?;
            let none = || Problem::new(Kind::NotFound, format!("{} was never replaced", on.name));
            (
                format!("the one before {}", on.name),
                Some(previous.ok_or_else(none)?),
            )
        } else {
            (on.name.clone(), current)
        };
        let in_force = is_in_force(on, documents, text.as_deref());
        let shown = hide(text.as_deref().unwrap_or_default());
        Ok(ConfigDocument {
            place: name,
            in_force,
            text: shown.ok_or_else(|| {
                conflict(format!(
                    "{} is not TOML, so it cannot be shown without what is secret in it; apply another one",
                    on.name
                ))
            })?,
        })
    })
}

fn is_in_force(on: &On<'_>, documents: &[(Source, String)], text: Option<&str>) -> bool {
    let own = documents.iter().find(|(source, _)| on.has(source));
    own.map(|(_, text)| text.as_str()) == text
}

fn apply(node: &Node, text: &str, options: ApplyOptions, turn: Turn) -> Result<ConfigApplied, Problem> {
    let documents = &node.handover.documents;
    let place = Place::of(slot::running(&node.cmdline), documents)?;
    let applied = place.with(turn, &node.handover.volumes, |on| {
        let kept = on.volume.read().map_err(failed(&on.name))?;
        let kept = kept.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = restore(text, kept.as_deref()).map_err(invalid)?;
        let others = documents.iter().filter(|(source, _)| !on.has(source));
        let own = on.source(documents);
        let beside = (place == Place::Installed).then(|| secrets_of(kept.as_deref()));
        let merged = whole(&text, &own, beside.as_ref(), others)?;
        let resolved = Resolved::of(&Topology::read(Path::new(ROOT)), &merged, &node.cmdline);
        if !resolved.refusals.is_empty() {
            let lines: Vec<String> = resolved.refusals.iter().map(ToString::to_string).collect();
            let mut problem = Problem::refused(Refusals(resolved.refusals));
            problem.detail = lines.join("\n");
            return Err(problem);
        }
        let written = !options.dry_run && on.volume.replace(&text).map_err(failed(&on.name))?;
        Ok(ConfigApplied {
            place: on.name.clone(),
            written,
            at_next_start: !is_in_force(on, documents, Some(&text)),
        })
    })?;
    if applied.written {
        let told = format!(
            "{} was replaced; it takes effect at the next start",
            applied.place
        );
        node.log.info(&told);
        node.notice(NoticeKind::Config, told);
    }
    Ok(applied)
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Invalid, detail)
}

/// Keys of a document that have secrets.
fn secrets_of(text: Option<&str>) -> BTreeSet<String> {
    let config = text.and_then(|text| check_all(text, NAME).ok());
    config.map(|config| secret_keys(&config)).unwrap_or_default()
}

fn secret_keys(config: &MachineConfig) -> BTreeSet<String> {
    let encryption = &config.storage.encryption;
    let of_state = encryption.secret.iter().map(|_| SECRET_KEY.to_owned());
    let of_others = encryption.secrets.keys();
    of_state
        .chain(of_others.map(|dataset| format!("{SECRETS_KEY}.\"{dataset}\"")))
        .collect()
}

/// What the node would be by the document of `own` and its other ones; `beside`: it lies on the disk that its secrets protect,
/// where those at these keys lie already. Pure.
///
/// # Errors
/// Everything that is wrong with the document; or it has a secret that would lie beside what it protects.
fn whole<'d>(
    text: &str,
    own: &Source,
    beside: Option<&BTreeSet<String>>,
    others: impl Iterator<Item = &'d (Source, String)>,
) -> Result<Declaration, Problem> {
    if text.len() > LONGEST {
        return Err(Problem::new(Kind::TooLarge, "the document is longer than 1 MiB"));
    }
    let config = check_all(text, NAME).map_err(|ConfigErrors(errors)| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        invalid(lines.join("\n"))
    })?;
    let keys = secret_keys(&config);
    let new = beside.and_then(|there| keys.iter().find(|key| !there.contains(*key)));
    if let Some(key) = new {
        return Err(invalid(format!(
            "`{key}`: it would lie on the disk beside what it protects; give it by `axion.config=`, or let {} know it",
            if key == SECRET_KEY {
                "the TPM (`key = \"tpm\"`) or whoever unlocks the node (`key = \"passphrase\"`)"
            } else {
                "the TPM (`axctl tpm seal`)"
            }
        )));
    }
    let document = |source: &Source, text: &str| Document {
        source: source.clone(),
        text: text.to_owned(),
    };
    let mut all: Vec<Document> = others.map(|(source, text)| document(source, text)).collect();
    all.push(document(own, text));
    Ok(Declaration::of_effective(&resolve(&all)))
}

/// Tells of what was left out of the documents, once somebody can hear it.
pub async fn tell(node: Arc<Node>) {
    let ignored = node.config.get().map(|effective| effective.ignored.clone());
    let ignored = ignored.unwrap_or_default();
    if ignored.is_empty() {
        return;
    }
    let ready = async {
        while lock(&node.boot).ready_us.is_none() {
            tokio::time::sleep(STEP).await;
        }
    };
    let _ = tokio::time::timeout(AUDIENCE, ready).await;
    for what in ignored {
        node.notice(NoticeKind::Config, format!("left out: {what}"));
    }
}

#[cfg(test)]
mod tests;

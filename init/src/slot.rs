//! The slot of an installed node: an update that has started well is confirmed, one that has not gives way.
//!
//! ```text
//! on trial ─ ready ─ the vote ─ nothing speaks against it ─> confirmed: the loader counts no more
//!          │                  └ something does ─────────┐
//!          ├ an essential task failed ──────────────────┼─> why, and the log, are written beside the slot ─> no try is left to
//!          └ no verdict within the deadline ────────────┘   it ─> reboot: the loader takes the last confirmed slot
//! ```
//! What never gets as far (a kernel that ends, a start that hangs until a watchdog resets it) is given up by the loader, which
//! counts three starts. A confirmed slot is never voted upon: a node that works badly stays up and says so. So does a slot that
//! was given up and runs all the same, as nothing else starts.
//!
//! | module    | what it is about                                                       |
//! |-----------|------------------------------------------------------------------------|
//! | [`vote`]  | what speaks against an update                                          |
//! | [`guest`] | whether a guest starts, and the API answers                            |
//! | [`disk`]  | the ESP of the installed disk, one hand at a time                      |
//! | [`serve`] | the agent's calls: the slots, an image for the free one, the way back  |
//! | [`mirror`] | the other system disk, which follows                                  |

mod arguments;
mod disk;
mod guest;
pub mod mirror;
mod serve;
mod vote;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axion_api::init::{LogEntry, Outcome};
use axion_api::recovery::NoticeKind;
use axion_core::cmdline::CommandLine;
use axion_core::config::Update;
use axion_install::esp::{MAX_NOTE, Note};
use axion_install::slot::{ARGUMENT, Named, Slot, State, Tries};

pub use self::arguments::untouched;
pub use self::disk::{SlotError, Turn, alone, find, is_installed, is_missing, is_up, on_thread};
pub use self::serve::{serve, stage};
use crate::clock;
use crate::failure::chain;
use crate::loader;
use crate::node::Node;
use crate::power::Verb;
use crate::sync::lock;

const STEP: Duration = Duration::from_secs(1);
/// What a vote has at least, where the disk came up late.
const LEAST: Duration = Duration::from_secs(30);
/// Time between two looks at what could not be seen.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the story of the other slot waits for the end of the boot, so that there is somebody to hear it.
const AUDIENCE: Duration = Duration::from_secs(60);
/// For a crash of the kernel before to be read.
const CRASH: Duration = Duration::from_secs(5);
/// Lines of the log that are kept of a start that failed, where they fit.
const KEPT_LINES: usize = 2000;

/// The slot that the kernel command line, or else the loader, says was started; `None`: the node was not started from an installed disk.
pub fn running(cmdline: &CommandLine) -> Option<Slot> {
    let named = cmdline.get(ARGUMENT).and_then(Slot::parse);
    named.or_else(loader::selected_slot)
}

/// Decides about the running slot where it is on trial, and keeps the arguments of a start that was good; then has the other system
/// disk follow for as long as the node is up.
pub async fn watch(node: Arc<Node>) {
    if running(&node.cmdline).is_some() && judge(&node).await {
        mirror::watch(&node).await;
    }
}

/// Decides; whether the node stays up with what it has.
async fn judge(node: &Arc<Node>) -> bool {
    let Some(slot) = running(&node.cmdline) else {
        return false;
    };
    let (state, verdict) = look(node, slot).await;
    let Some(named) = state.of(slot) else {
        node.log.warning(&format!("slot {slot} runs, and has no entry"));
        return false;
    };
    let standing = standing(named, verdict.is_some());
    node.log.info(&format!(
        "slot {slot} runs, Axion {}, {}",
        named.entry.version,
        standing.word()
    ));
    if let Some(other) = state.of(slot.other()).filter(|named| named.name.failed()) {
        tokio::spawn(tell(node.clone(), other.clone()));
    }
    match standing {
        Standing::Confirmed => {
            arguments::keep(node, slot).await;
            return true;
        }
        Standing::GivenUp => return true,
        Standing::OnTrial => {}
    }
    let unknown = Mutex::default();
    let verdict = tokio::select! {
        verdict = vote(node, slot, &unknown) => verdict,
        late = expired(node, clock::since_start() + LEAST) => Err(with_why(late, lock(&unknown).take())),
    };
    let version = &named.entry.version;
    match verdict {
        Ok(()) => match disk::on_thread(move |esp| Ok(esp.confirm(slot)?)).await {
            Ok(_) => {
                node.log.info(&format!("slot {slot} is confirmed"));
                let text = format!("Axion {version} in slot {slot} has started well and is confirmed");
                node.notice(NoticeKind::Update, text);
                arguments::keep(node, slot).await;
                true
            }
            // It stays on trial, and is voted upon again after the next start.
            Err(e) => {
                node.log
                    .error(&format!("slot {slot}: cannot be confirmed: {}", chain(&e)));
                true
            }
        },
        Err(why) => {
            give_up(node, slot, why).await;
            false
        }
    }
}

/// The entries, and what was held against the slot that runs. The disk may be up later than the node: an update that nobody judges would
/// be given up by the loader after three good starts.
async fn look(node: &Node, slot: Slot) -> (State, Option<String>) {
    let mut told = String::new();
    loop {
        // GRUB's count, where it has one, comes to where everybody looks for it.
        let looked = disk::on_thread(move |esp| Ok((esp.settle()?, esp.note(slot, Note::Verdict)?))).await;
        match looked {
            Ok(looked) => return looked,
            Err(e) => {
                let text = format!("slot {slot}: cannot read its entry: {}", chain(&e));
                if text != told {
                    node.log.error(&text);
                    told = text;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What is to be done about the slot that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing.
    Confirmed,
    /// It is voted upon.
    OnTrial,
    /// It was voted down, and runs as nothing else does.
    GivenUp,
}

impl Standing {
    const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::OnTrial => "on trial",
            Self::GivenUp => "given up before; it goes on, as nothing else started",
        }
    }
}

/// The third start of a slot and one after it was given up have the same name; the verdict tells them apart.
fn standing(named: &Named, voted_down: bool) -> Standing {
    match named.name.tries {
        None => Standing::Confirmed,
        Some(Tries { left: 0, .. }) if voted_down => Standing::GivenUp,
        Some(_) => Standing::OnTrial,
    }
}

/// Waits for the boot's end, and votes; for as long as it cannot be known what is to be voted upon, `unknown` says why.
async fn vote(node: &Arc<Node>, slot: Slot, unknown: &Mutex<Option<String>>) -> Result<(), String> {
    ready(node).await?;
    let before = disk::on_thread(move |esp| Ok(esp.note(slot, Note::Before)?)).await;
    // What cannot be read is as good as not there: the vote is about the present alone, then.
    let before = before.ok().flatten().and_then(|text| vote::Picture::read(&text));
    let now = loop {
        let now = vote::Picture::take(node).await;
        let why = vote::cannot_tell(before.as_ref(), &now);
        let said = std::mem::replace(&mut *lock(unknown), why.clone());
        let Some(why) = why else { break now };
        if said.is_none() {
            node.log.warning(&format!("slot {slot}: the vote waits: {why}"));
        }
        tokio::time::sleep(AGAIN).await;
    };
    let phases = lock(&node.boot).phases.clone();
    let objections = vote::objections(&phases, before.as_ref(), &now);
    if !objections.is_empty() {
        return Err(objections.join("; "));
    }
    if now.kvm {
        guest::starts(node)
            .await
            .map_err(|why| format!("self-test: {why}"))?;
    }
    guest::api_answers().await.map_err(|why| format!("API: {why}"))
}

/// Waits for the boot's end.
async fn ready(node: &Node) -> Result<(), String> {
    loop {
        {
            let boot = lock(&node.boot);
            if boot.ready_us.is_some() {
                return Ok(());
            }
            if boot.phases.iter().any(|phase| phase.outcome == Outcome::Failed) {
                let failed = vote::failed_tasks(&boot.phases);
                return Err(failed.join("; "));
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Comes back when the deadline of the config has passed since the kernel's start, and not before `least`.
async fn expired(node: &Node, least: Duration) -> String {
    loop {
        let deadline = match node.config.get() {
            Some(effective) => effective.config.update.deadline,
            None => Update::default().deadline,
        };
        if clock::since_start() >= deadline.0.max(least) {
            return format!("it was not found good within {deadline}");
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Why a vote came to nothing in time.
fn with_why(late: String, unknown: Option<String>) -> String {
    match unknown {
        Some(why) => format!("{late}: {why}"),
        None => late,
    }
}

/// Gives way to the confirmed slot.
async fn give_up(node: &Arc<Node>, slot: Slot, why: String) {
    node.log
        .error(&format!("slot {slot} is not confirmed: {why}; rebooting"));
    let log = text_of(&node.log.after(0, KEPT_LINES));
    let kept = disk::on_thread(move |esp| {
        // What cannot be kept does not hold the way back up.
        let noted = esp.set_note(slot, Note::Verdict, &why);
        let logged = esp.set_note(slot, Note::Log, &log);
        esp.give_up(slot)?;
        noted?;
        Ok(logged?)
    });
    if let Err(e) = kept.await {
        node.log
            .error(&format!("slot {slot}: cannot keep why: {}", chain(&e)));
    }
    mirror::follow(node).await;
    let _ = node.power.send(Verb::Reboot);
}

/// Lines as a text whose end fits into a note.
fn text_of(lines: &[LogEntry]) -> String {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for line in lines.iter().rev() {
        let text = format!("{}: {}\n", line.source, line.message);
        bytes += text.len();
        if bytes > MAX_NOTE {
            break;
        }
        kept.push(text);
    }
    kept.into_iter().rev().collect()
}

/// Says what became of the other slot, once somebody can hear it.
async fn tell(node: Arc<Node>, other: Named) {
    let (slot, version) = (other.name.slot, other.entry.version.clone());
    let _ = tokio::time::timeout(AUDIENCE, ready(&node)).await;
    tokio::time::sleep(CRASH).await;
    let failure = disk::on_thread(move |esp| serve::failure(esp, &other)).await;
    let why = match failure {
        Ok(failure) => failure.map(|failure| failure.why).unwrap_or_default(),
        Err(e) => format!("why cannot be read: {}", chain(&e)),
    };
    let text = format!("slot {slot}, Axion {version}, was given up: {why}");
    node.log.warning(&text);
    node.notice(NoticeKind::Update, text);
}

#[cfg(test)]
mod tests;

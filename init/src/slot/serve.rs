//! The agent's calls: what is in the slots, an image for the one that is free, the way back.

use std::fs::File;
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::recovery::{Crash, NoticeKind};
use axion_api::update::{
    Answer, Call, MirrorPlan, SlotFailure, SlotState, SlotStatus, Staging, UpdateStatus,
};
use axion_core::paths;
use axion_core::secure_boot::SecureBoot;
use axion_install::check::{Keys, Rejection, Terms, Version, check};
use axion_install::esp::{Esp, Note, Update};
use axion_install::slot::{Named, Slot, State, Tries};
use axion_install::storage::Storage;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use super::disk::{SlotError, on_installed, on_thread};
use super::{arguments, mirror, running, vote};
use crate::node::Node;

/// What a slot that says nothing is said to have done.
const SILENT: &str = "it never got as far as saying why: it hung, or its kernel ended";

/// Answers a call, JSON both ways.
pub async fn serve(node: &Arc<Node>, call: &str) -> String {
    let answer = match serde_json::from_str(call) {
        Ok(Call::Status) => status(node).await,
        Ok(Call::RollBack) => roll_back(node).await,
        Ok(Call::PlanMirror(request)) => return text(&planned(mirror::plan(node, request).await)),
        Ok(Call::AddMirror(request)) => match mirror::add(node, request).await {
            Ok(()) => status(node).await,
            Err(error) => Err(error),
        },
        Ok(Call::ForgetMirror) => match mirror::forget(node).await {
            Ok(()) => status(node).await,
            Err(error) => Err(error),
        },
        Err(error) => {
            let detail = format!("not a call about updates: {error}");
            return text(&Answer::Problem(Problem::new(Kind::Malformed, detail)));
        }
    };
    text(&answered(answer))
}

/// Checks an image and writes it to the free slot; an answer as JSON.
pub async fn stage(node: &Arc<Node>, image: OwnedFd, staging: &str) -> String {
    let answer = match serde_json::from_str(staging) {
        Ok(staging) => staged(node, image, staging).await,
        Err(error) => {
            let detail = format!("not how an image is staged: {error}");
            return text(&Answer::Problem(Problem::new(Kind::Malformed, detail)));
        }
    };
    text(&answered(answer))
}

fn planned(answer: Result<MirrorPlan, SlotError>) -> Answer {
    answer.map_or_else(|error| Answer::Problem(error.into()), Answer::Plan)
}

fn answered(answer: Result<UpdateStatus, SlotError>) -> Answer {
    match answer {
        Ok(status) => Answer::Status(Box::new(status)),
        Err(error) => Answer::Problem(error.into()),
    }
}

fn text(answer: &Answer) -> String {
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(answer).unwrap_or_default()
}

/// Keys that may sign updates: those of the config, and the image's own.
fn keys(node: &Node) -> Result<Keys, SlotError> {
    let own = std::fs::read_to_string(paths::UPDATE_KEY).ok();
    let config = node.config.get().map(|effective| &effective.config.update.keys);
    let config = config.into_iter().flatten().map(String::as_str);
    Ok(Keys::read(config.chain(own.as_deref()))?)
}

async fn status(node: &Arc<Node>) -> Result<UpdateStatus, SlotError> {
    let slot = running(&node.cmdline).ok_or(SlotError::NotInstalled)?;
    let trusted = keys(node)?.ids();
    let mut status = on_thread(move |esp| describe(esp, slot, trusted)).await?;
    status.mirror = mirror::status(node);
    Ok(status)
}

async fn roll_back(node: &Arc<Node>) -> Result<UpdateStatus, SlotError> {
    let slot = running(&node.cmdline).ok_or(SlotError::NotInstalled)?;
    let trusted = keys(node)?.ids();
    let status = on_thread(move |esp| {
        esp.roll_back()?;
        describe(esp, slot, trusted)
    });
    let mut status = status.await?;
    mirror::follow(node).await;
    status.mirror = mirror::status(node);
    say(node, "rolled back", &status);
    Ok(status)
}

async fn staged(node: &Arc<Node>, image: OwnedFd, staging: Staging) -> Result<UpdateStatus, SlotError> {
    let slot = running(&node.cmdline).ok_or(SlotError::NotInstalled)?;
    let keys = keys(node)?;
    let before = vote::Picture::take(node).await.text();
    let own_node = node.clone();
    let status = on_installed(move |installed| {
        let esp = &Esp::new(installed.esp()?);
        let mut image = sealed(image)?;
        let state = esp.state()?;
        let own = state.of(slot).ok_or(SlotError::NoEntry)?;
        let terms = Terms {
            keys: &keys,
            running: &version_of(own)?,
            allow_downgrade: staging.allow_downgrade,
            secure_boot: SecureBoot::read(Path::new("/")).is_on(),
            allowed: &SecureBoot::allowed(Path::new("/")),
        };
        let checked = check(&mut image, &staging.signature, &terms)?;
        let update = Update {
            version: checked.version.to_string(),
            size: checked.size,
            digest: checked.digest,
            options: arguments::current(
                &own_node,
                &own.entry.options,
                installed.guid(),
                installed.record()?.is_some(),
            ),
        };
        let target = esp.stage(Some(slot), &update, &mut image, &mut |_| {})?;
        // Without it, the vote is about the present alone.
        let _ = esp.set_note(target, Note::Before, &before);
        describe(esp, slot, keys.ids())
    });
    let mut status: UpdateStatus = status.await?;
    mirror::follow(node).await;
    status.mirror = mirror::status(node);
    say(node, "an update is written", &status);
    Ok(status)
}

/// Tells of what the next start takes from now on.
fn say(node: &Node, what: &str, status: &UpdateStatus) {
    let next = status.next.as_deref().and_then(|next| status.slot(next));
    if let Some(next) = next {
        let text = format!(
            "{what}: the next start takes Axion {} in slot {}",
            next.version, next.slot
        );
        node.log.info(&text);
        node.notice(NoticeKind::Update, text);
    }
}

/// A file that nobody can change any more, at its beginning.
fn sealed(image: OwnedFd) -> Result<File, SlotError> {
    let seals = fcntl(&image, FcntlArg::F_GET_SEALS).map_err(|_| SlotError::NotSealed)?;
    let needed = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    if !SealFlag::from_bits_truncate(seals).contains(needed) {
        return Err(SlotError::NotSealed);
    }
    let mut file = File::from(image);
    file.rewind().map_err(|_| SlotError::NotSealed)?;
    Ok(file)
}

/// The version of a slot; of one that has a strange one, that of this program.
fn version_of(named: &Named) -> Result<Version, SlotError> {
    let version = named.entry.version.parse();
    let version = version.or_else(|_| env!("CARGO_PKG_VERSION").parse());
    Ok(version.map_err(Rejection::from)?)
}

/// The slots as they are.
fn describe(
    esp: &Esp<impl Storage>,
    running: Slot,
    trusted_keys: Vec<String>,
) -> Result<UpdateStatus, SlotError> {
    let state = esp.state()?;
    let mut slots = Vec::new();
    for slot in [Slot::A, Slot::B] {
        if let Some(named) = state.of(slot) {
            slots.push(slot_status(esp, named)?);
        }
    }
    Ok(UpdateStatus {
        running: running.to_string(),
        next: next(&state),
        slots,
        trusted_keys,
        mirror: None,
    })
}

fn next(state: &State) -> Option<String> {
    state.next().map(|named| named.name.slot.to_string())
}

fn slot_status(esp: &Esp<impl Storage>, named: &Named) -> Result<SlotStatus, SlotError> {
    Ok(SlotStatus {
        slot: named.name.slot.to_string(),
        version: named.entry.version.clone(),
        state: match named.name.tries {
            None => SlotState::Confirmed,
            Some(Tries { left: 0, .. }) => SlotState::Failed,
            Some(Tries { done: 0, .. }) => SlotState::Staged,
            Some(_) => SlotState::Trying,
        },
        tries_left: named.name.tries.map(|tries| tries.left),
        size: named.entry.size,
        digest: format!("sha256:{}", hex::encode(named.entry.digest)),
        arguments: named.entry.options.clone(),
        failure: failure(esp, named)?,
    })
}

/// Why a slot was not confirmed, where it was tried and was not.
pub fn failure(esp: &Esp<impl Storage>, named: &Named) -> Result<Option<SlotFailure>, SlotError> {
    let slot = named.name.slot;
    if let Some(why) = esp.note(slot, Note::Verdict)? {
        let log = esp.note(slot, Note::Log)?.unwrap_or_default();
        return Ok(Some(SlotFailure { why, log }));
    }
    if !named.name.failed() {
        return Ok(None);
    }
    let before = esp.note(slot, Note::Before)?;
    let since = before
        .and_then(|text| vote::Picture::read(&text))
        .map(|before| before.unix_s);
    let crash = std::fs::read(Path::new(paths::LAST_CRASH)).ok();
    let crash = crash.and_then(|text| serde_json::from_slice::<Crash>(&text).ok());
    Ok(Some(silent(since, crash)))
}

/// Why a slot ended that left no word: a crash of a kernel that came after it was written was its own.
fn silent(since: Option<u64>, crash: Option<Crash>) -> SlotFailure {
    match crash.filter(|crash| since.is_some_and(|since| crash.summary.unix_s >= since)) {
        Some(crash) => SlotFailure {
            why: format!(
                "its kernel ended ({}): {}",
                crash.summary.reason, crash.summary.headline
            ),
            log: crash.log,
        },
        None => SlotFailure {
            why: SILENT.to_owned(),
            log: String::new(),
        },
    }
}

#[cfg(test)]
mod tests;

//! Putting the boot profile in force again on a node that is up.
//!
//! ```text
//! plan + attestation ── choose ──► items that drifted ── obstacle? ── perform ──► done, or left with a reason
//!                          └─► the rest: as planned, or only a boot can do it
//! ```
//!
//! Only what is not as planned is touched, and never what a VM uses: a device is not taken from whoever has it open, and
//! pages in use are not given back to the kernel. Kernel arguments stay as they are until the next boot.

mod obstacle;

use std::path::Path;
use std::sync::Arc;

use axion_api::profile::{Applied, LeftItem};
use axion_core::profile::{Action, Attestation, ItemState, Plan, PlannedAction, attest};
use axion_core::topology::{read_acs, write_acs};

use super::profile::{ROOT, load, needed_after_all};
use crate::failure::chain;
use crate::files::{self, PUBLIC};
use crate::node::Node;
use crate::profile::{name_functions, perform, undo};
use crate::storage::on_thread;
use crate::sync::lock;
use obstacle::obstacle;

/// The attestation's item about threads of the host, which no action is about: moving the kernel's mends it.
const THREADS: &str = "cpu.threads";

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The boot does it itself.
    #[error("the node is booting, which puts the boot profile in force; ask again when it is ready")]
    Booting,
    /// One at a time.
    #[error("the boot profile is being put in force already")]
    Running,
    /// Stage 1's word was lost.
    #[error("there is no plan: stage 1 did not say what is planned for this boot")]
    NoPlan,
    /// No thread.
    #[error("cannot begin")]
    Thread(#[source] std::io::Error),
}

/// Performs the plan's actions again whose items are not as planned.
///
/// # Errors
/// The node boots, has no plan, or is at it already.
pub async fn apply_profile(node: &Arc<Node>) -> Result<Applied, ApplyError> {
    let Ok(_alone) = node.applying.try_lock() else {
        return Err(ApplyError::Running);
    };
    if lock(&node.boot).ready_us.is_none() {
        return Err(ApplyError::Booting);
    }
    if node.plan().is_none() {
        return Err(ApplyError::NoPlan);
    }
    let work = {
        let node = node.clone();
        move || apply_plan(&node)
    };
    let mut applied = on_thread(work).await.map_err(ApplyError::Thread)?;
    name_again(node, &mut applied).await;
    let done = match applied.done.as_slice() {
        [] => "nothing".to_owned(),
        keys => keys.join(", "),
    };
    node.log
        .info(&format!("boot profile: put in force again: {done}"));
    for left in &applied.left {
        node.log
            .warning(&format!("boot profile: {} left: {}", left.key, left.reason));
    }
    Ok(applied)
}

fn apply_plan(node: &Node) -> Applied {
    let root = Path::new(ROOT);
    let Some(plan) = node.plan() else {
        return Applied::default();
    };
    let attestation = attest(root, plan);
    let needed = needed_after_all(node, plan);
    let use_of = |action: &Action| needed.iter().find(|(key, _)| *key == action.key());
    let applied = again(root, plan, &attestation, |action| match action {
        action if let Some((_, use_)) = use_of(action) => Err(format!("not bound: it {use_}")),
        Action::LoadModule { name } => load(node, name).map_err(|e| chain(&*e)),
        action => match use_of(action) {
            Some((_, use_)) => Err(format!("not bound: it {use_}")),
            None => perform(root, action).map_err(|e| chain(&e)),
        },
    });
    if !applied.done.is_empty() {
        // What devices there are may have changed, and the agent may not read this.
        let acs = write_acs(&read_acs(root));
        if let Err(error) = files::replace(Path::new(axion_core::paths::PCI_ACS), acs.as_bytes(), PUBLIC) {
            node.log.warning(&chain(&error));
        }
    }
    applied
}

/// Virtual functions that were made again have none of what their rule gives them.
async fn name_again(node: &Node, applied: &mut Applied) {
    let actions = node.plan().into_iter().flat_map(|plan| &plan.actions);
    for planned in actions.filter(|planned| matches!(planned.action, Action::VirtualFunctions { .. })) {
        if !applied.done.contains(&planned.key) {
            continue;
        }
        if let Err(error) = name_functions(&planned.action).await {
            applied.done.retain(|key| *key != planned.key);
            applied.left.push(left(&planned.key, chain(&error)));
        }
    }
}

fn left(key: &str, reason: impl Into<String>) -> LeftItem {
    LeftItem {
        key: key.to_owned(),
        reason: reason.into(),
    }
}

/// What is to be done about an action of the plan.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Nothing: it is as planned.
    AsPlanned,
    /// It is performed.
    Perform,
    /// It cannot be, while the node runs.
    Leave(String),
}

/// The worst of the items of `key` decides.
fn choose(attestation: &Attestation, planned: &PlannedAction) -> Choice {
    let of = |key: &str| {
        let items = attestation.items.iter().filter(|item| item.key == key);
        items.max_by_key(|item| item.state)
    };
    let astray = || of(THREADS).is_some_and(|item| item.state == ItemState::Drifted);
    match of(&planned.key) {
        Some(item) if item.state == ItemState::Ok => {
            // Threads that the kernel made since the boot are not seen in the mask.
            let moves = matches!(planned.action, Action::WorkqueueCpumask { .. });
            if moves && astray() {
                Choice::Perform
            } else {
                Choice::AsPlanned
            }
        }
        Some(item) if item.state == ItemState::Drifted => Choice::Perform,
        Some(item) => Choice::Leave(reason(item.state, item.fix.as_deref())),
        None => Choice::Perform,
    }
}

fn reason(state: ItemState, fix: Option<&str>) -> String {
    match fix {
        Some(fix) => format!("{}: {fix}", state.word()),
        None => state.word().to_owned(),
    }
}

/// Performs what is to be, in the plan's order; one that fails does not keep the others.
fn again(
    root: &Path,
    plan: &Plan,
    attestation: &Attestation,
    mut perform: impl FnMut(&Action) -> Result<(), String>,
) -> Applied {
    let mut applied = Applied::default();
    let (actions, items) = (&plan.actions, &attestation.items);
    let is_action = |key: &str| key == THREADS || actions.iter().any(|planned| planned.key == key);
    let arguments = items
        .iter()
        .filter(|item| item.state != ItemState::Ok && !is_action(&item.key));
    applied
        .left
        .extend(arguments.map(|item| left(&item.key, reason(item.state, item.fix.as_deref()))));
    let mut failed = Vec::new();
    for planned in actions {
        match choose(attestation, planned) {
            Choice::AsPlanned => {}
            Choice::Leave(why) => applied.left.push(left(&planned.key, why)),
            Choice::Perform => match obstacle(root, &planned.action) {
                Some(why) => applied.left.push(left(&planned.key, why)),
                None => match perform(&planned.action) {
                    Ok(()) => applied.done.push(planned.key.clone()),
                    Err(why) => {
                        applied.left.push(left(&planned.key, why));
                        failed.push(&planned.action);
                    }
                },
            },
        }
    }
    // Once all were tried: those behind one in the plan do not know that it failed. A group that is in use is no failure.
    for action in failed {
        undo(root, action);
    }
    applied
}

#[cfg(test)]
mod tests;

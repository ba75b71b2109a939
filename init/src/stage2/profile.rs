//! Tasks of the boot profile. What the plan has is done part by part, in the plan's order within each; what cannot be done is
//! said, and the rest is done all the same.

use std::path::Path;
use std::sync::Arc;

use axion_core::config::Storage;
use axion_core::paths;
use axion_core::profile::{
    Action, Declaration, FunctionSettings, HostUses, ItemState, Plan, PlannedAction, Standing, attest_with,
};
use axion_core::topology::{Topology, read_acs, write_acs};
use axion_storage::hostid;

use super::tasks::{Done, given, read_modules, several};
use crate::failure::chain;
use crate::files::{self, PUBLIC};
use crate::node::Node;
use crate::profile::{Part, name_functions, part, perform, read_functions, undo, uses};
use crate::sync::lock;

pub(super) const ROOT: &str = "/";

/// Whether the config's wishes became the plan: what was refused is said where a boot's failures are.
pub async fn declare(node: Arc<Node>) -> Done {
    match &node.handover.profile {
        None => {
            Err("stage 1 did not say what is planned: nothing of the boot profile is put in force".into())
        }
        Some(resolved) if resolved.standing == Standing::Refused => several(
            resolved
                .refusals
                .iter()
                .map(|refusal| format!("refused: {refusal}")),
        ),
        Some(_) => Ok(()),
    }
}

/// Switches and settings of the kernel, those of the config among them.
pub async fn set_kernel(node: Arc<Node>) -> Done {
    put_in_force(node, Part::Kernel).await
}

/// Hugepages, while memory is empty.
pub async fn reserve_memory(node: Arc<Node>) -> Done {
    put_in_force(node, Part::Memory).await
}

/// Who runs on which CPU.
pub async fn divide_cpus(node: Arc<Node>) -> Done {
    put_in_force(node, Part::Cpus).await
}

/// Modules, those of the config among them, and devices.
pub async fn prepare_devices(node: Arc<Node>) -> Done {
    let done = put_in_force(node.clone(), Part::Devices).await;
    // The agent may not read this.
    let acs = tokio::task::spawn_blocking(|| write_acs(&read_acs(Path::new(ROOT)))).await?;
    files::replace(Path::new(paths::PCI_ACS), acs.as_bytes(), PUBLIC)?;
    let mut failures: Vec<String> = done.err().map(|e| e.to_string()).into_iter().collect();
    for planned in node.plan().into_iter().flat_map(|plan| &plan.actions) {
        let named = name_functions(&planned.action).await;
        failures.extend(named.err().map(|e| format!("{}: {}", planned.key, chain(&e))));
    }
    several(failures)
}

/// Performs the plan's actions of one part, on a thread of their own: the kernel takes its time for some.
async fn put_in_force(node: Arc<Node>, wanted: Part) -> Done {
    let is_wanted = |node: &Node| {
        let mut actions = node.plan().into_iter().flat_map(|plan| &plan.actions);
        actions.any(|planned| part(&planned.action) == wanted)
    };
    if !is_wanted(&node) {
        return Ok(());
    }
    let work = move || -> Done {
        let plan = node.plan();
        let actions = plan.into_iter().flat_map(|plan| &plan.actions);
        let mut failed = Vec::new();
        let needed = match plan {
            Some(plan) if wanted == Part::Devices => needed_after_all(&node, plan),
            _ => Vec::new(),
        };
        for planned in actions.filter(|planned| part(&planned.action) == wanted) {
            let use_ = needed.iter().find(|(key, _)| *key == planned.key);
            let done = match (&planned.action, use_) {
                (_, Some((_, use_))) => Err(format!("not bound: it {use_}").into()),
                (Action::LoadModule { name }, None) => load(&node, name),
                (action, None) => perform(Path::new(ROOT), action).map_err(Into::into),
            };
            if let Err(error) = done {
                failed.push((planned, chain(&*error)));
            }
        }
        for (planned, _) in &failed {
            undo(Path::new(ROOT), &planned.action);
        }
        several(
            failed
                .into_iter()
                .map(|(planned, why)| format!("{}: {why}", planned.key)),
        )
    };
    tokio::task::spawn_blocking(work).await?
}

/// Devices that the plan gives away and the node needs, as it turns out: a disk may show what it holds only after it was planned.
pub(super) fn needed_after_all(node: &Node, plan: &Plan) -> Vec<(String, String)> {
    let binds = |planned: &PlannedAction| matches!(planned.action, Action::VfioBind { forced: false, .. });
    match node.config.get() {
        Some(effective) if plan.actions.iter().any(binds) => {
            let topology = Topology::read(Path::new(ROOT));
            let declaration = Declaration {
                uses: host_uses(node, &topology),
                ..Declaration::of_effective(effective)
            };
            uses::conflicts(plan, &topology, &declaration)
        }
        _ => Vec::new(),
    }
}

/// What the virtual functions of the plan have; without rtnetlink nothing is known of them.
pub async fn virtual_functions(node: &Node) -> FunctionSettings {
    match node.plan() {
        Some(plan) => read_functions(plan).await.unwrap_or_default(),
        None => FunctionSettings::default(),
    }
}

/// What the node uses now.
pub fn host_uses(node: &Node, topology: &Topology) -> HostUses {
    let wanted = node.config.get().map(|effective| &effective.config.storage);
    let hostid = hostid::of(&lock(&node.status).machine_id);
    let default = Storage::default();
    uses::find(
        Path::new(ROOT),
        topology,
        &node.cmdline,
        wanted.unwrap_or(&default),
        hostid,
    )
}

pub(super) fn load(node: &Node, name: &str) -> Done {
    Ok(read_modules()?.load(name, &given(node, &[]))?)
}

/// Compares the node with its plan.
pub async fn attest_plan(node: Arc<Node>) -> Done {
    let functions = virtual_functions(&node).await;
    let work = move || -> Done {
        let Some(plan) = node.plan() else {
            return Ok(());
        };
        let attestation = attest_with(Path::new(ROOT), plan, &functions);
        let wrong = attestation
            .items
            .iter()
            .filter(|item| item.state != ItemState::Ok)
            .map(|item| {
                format!(
                    "{} {}: {}, and not {}",
                    item.key,
                    item.state.word(),
                    item.effective,
                    item.desired
                )
            });
        several(wrong)
    };
    tokio::task::spawn_blocking(work).await?
}

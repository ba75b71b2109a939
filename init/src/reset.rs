//! Factory reset: what of this node is forgotten.
//!
//! ```text
//! asked    plan: what is lost, what stays ─> the host name, typed ─> order kept on a disk ─> orderly restart
//! stage 1  the machine config on the installed disk is taken away, before any config is read
//! stage 2  pools imported, nothing mounted: the node's datasets destroyed (axion-storage) ─> the order is forgotten
//! ```
//! There is one order, in one place: on the ESP of an installed disk where the machine config goes, else in a property of the pool
//! with the state. It is written before anything is destroyed and removed after everything is, so that a power cut anywhere
//! in between is made good by the next boot. It names pools by their ids, and what is left of it waits for those that are missing.
//! Nothing on the kernel command line orders a reset: what comes with every boot would be
//! done at every boot.

mod disk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::recovery::{ResetOrder, ResetPlan, ResetRequest, ResetScope};
use axion_api::storage::{Dataset, DatasetKind, Pool};
use axion_core::cmdline::CommandLine;
use axion_core::config::Source;
use axion_install::reset::Pending;
use axion_install::select::human;
use axion_storage::names;
use axion_storage::reset::GivenOrder;

use crate::failure::chain;
use crate::handover::Handover;
use crate::log::Log;
use crate::node::Node;
use crate::power::Verb;
use crate::slot;
use crate::storage::on_thread;
use crate::sync::lock;

/// Whoever asked is answered before the node goes down.
const ANSWERED: Duration = Duration::from_millis(500);

/// What a reset would meet.
#[derive(Debug, Default)]
struct Facts {
    hostname: String,
    /// The node was started from an installed disk.
    installed: bool,
    /// Where the machine config came from, the defaults left out.
    sources: Vec<String>,
    /// The pool with the node's state, locked or not, and the node's datasets on it.
    state: Option<(String, Vec<Dataset>)>,
    /// Pools that are imported.
    pools: Vec<Pool>,
    /// Datasets that are not the node's.
    others: usize,
}

/// Looks; blocks.
fn look(node: &Node) -> Result<Facts, Problem> {
    let (hostname, locked) = {
        let status = lock(&node.status);
        let locked = status.state_lock.as_ref().filter(|lock| !lock.is_new);
        (status.hostname.clone(), locked.map(|lock| lock.pool.clone()))
    };
    let config = node.config.get();
    let provenance = config.iter().flat_map(|config| config.provenance.values());
    let mut sources: Vec<String> = provenance
        .filter(|provenance| provenance.source != Source::Default)
        .map(|provenance| provenance.source.to_string())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    let mut facts = Facts {
        hostname,
        installed: slot::running(&node.cmdline).is_some(),
        sources,
        ..Facts::default()
    };
    if let Some(storage) = node.storage.get() {
        facts.pools = storage.pools()?;
        let all = storage.datasets(None)?;
        facts.others = all
            .iter()
            .filter(|dataset| dataset.name.contains('/') && !names::is_system(&dataset.name))
            .count();
        if let Some(pool) = storage.state_pool().or(locked) {
            let own = storage.own(&pool)?;
            facts.state = Some((pool, own));
        }
    }
    Ok(facts)
}

/// What is lost and what stays, or why there is nothing to reset. Pure.
fn plan(facts: &Facts, scope: ResetScope, pools: bool) -> Result<ResetPlan, Problem> {
    let conflict = |detail: String| Problem::new(Kind::Conflict, detail);
    if pools && !scope.has_state() {
        let detail = "pools are destroyed with the state alone; allowed are the scopes `state` and `all`";
        return Err(Problem::new(Kind::Invalid, detail).at("/pools"));
    }
    if scope.has_config() && !facts.installed {
        let from = match facts.sources.as_slice() {
            [] => "nothing but defaults are in force".to_owned(),
            sources => format!("it comes from {}", sources.join(", ")),
        };
        return Err(conflict(format!(
            "the node keeps no machine config: it was not started from an installed disk, and {from}"
        )));
    }
    if facts.state.is_none() && (scope == ResetScope::State || pools) {
        let detail = "no pool keeps the node's state: what the node knows is gone when it restarts; `axctl pool destroy` is \
                      for pools";
        return Err(conflict(detail.to_owned()));
    }
    let (mut lost, mut kept) = (Vec::new(), Vec::new());
    if scope.has_config() {
        lost.push("the machine config on the installed disk: the next boot has the defaults".to_owned());
    } else if facts.installed {
        kept.push("the machine config on the installed disk".to_owned());
    }
    if let Some((pool, own)) = &facts.state {
        if scope.has_state() {
            lost.extend(state(pool, own));
        } else {
            kept.push(format!("the node's state on the pool `{pool}`"));
        }
    }
    for pool in &facts.pools {
        let used = human(pool.allocated);
        if pools {
            lost.push(format!("the pool `{}` with all that is in it, {used}", pool.name));
        } else {
            kept.push(format!("the pool `{}`", pool.name));
        }
    }
    if !pools && facts.others > 0 {
        kept.push(format!("{} datasets that are not the node's own", facts.others));
    }
    if facts.installed {
        kept.push("the installed image, in both slots".to_owned());
    }
    Ok(ResetPlan {
        scope,
        pools,
        hostname: facts.hostname.clone(),
        lost,
        kept,
    })
}

/// What is lost of the state.
fn state(pool: &str, own: &[Dataset]) -> Vec<String> {
    let mut lost = vec![format!(
        "the node's state on the pool `{pool}`: VMs, networks, images, the certificate, the first token, the audit log"
    )];
    let above = names::system(pool, "");
    let all = own.iter().find(|dataset| dataset.name == above);
    if all.is_some_and(|dataset| dataset.encryption.is_some()) {
        lost.push("the key of that state, and its recovery passphrase".to_owned());
    }
    let below = names::volumes(pool) + "/";
    let disks = own.iter().filter(|dataset| dataset.kind == DatasetKind::Volume);
    for disk in disks {
        let name = disk.name.strip_prefix(&below).unwrap_or(&disk.name);
        let size = disk.volume_size.map(human).unwrap_or_default();
        lost.push(format!("the disk `{name}` of VMs, {size}"));
    }
    let files = names::system(pool, "volumes");
    if let Some(files) = own.iter().find(|dataset| dataset.name == files) {
        lost.push(format!("volumes of VMs that are files, {}", human(files.used)));
    }
    lost
}

/// What is written down for `plan`, and on which pool; none: on the ESP. Pure.
fn order(facts: &Facts, plan: &ResetPlan) -> (ResetOrder, Option<String>) {
    let state = facts.state.as_ref().map(|(pool, _)| pool.clone());
    let state = state.filter(|_| plan.scope.has_state());
    let mut pools: Vec<String> = Vec::new();
    if plan.pools {
        pools.extend(facts.pools.iter().map(|pool| pool.name.clone()));
        // The one with the order goes last.
        pools.sort_by_key(|pool| Some(pool) == state.as_ref());
    }
    let order = ResetOrder {
        config: plan.scope.has_config(),
        state: state.clone(),
        pools,
        guids: BTreeMap::new(),
    };
    let guids = facts
        .pools
        .iter()
        .filter(|pool| order.names().any(|name| name == pool.name));
    let guids = guids.map(|pool| (pool.name.clone(), pool.guid.clone()));
    let order = ResetOrder {
        guids: guids.collect(),
        ..order
    };
    let place = state.filter(|_| !order.config);
    (order, place)
}

/// What a factory reset would do.
pub async fn preview(node: &Arc<Node>, scope: ResetScope, pools: bool) -> Result<ResetPlan, Problem> {
    let facts = facts(node).await?;
    plan(&facts, scope, pools)
}

async fn facts(node: &Arc<Node>) -> Result<Facts, Problem> {
    let node = node.clone();
    on_thread(move || look(&node)).await.map_err(internal)?
}

/// Orders a factory reset, and restarts the machine.
pub async fn reset(node: &Arc<Node>, request: ResetRequest) -> Result<(), Problem> {
    let facts = facts(node).await?;
    let plan = plan(&facts, request.scope, request.pools)?;
    if request.confirm != plan.hostname {
        let detail = format!(
            "this is confirmed by the host name of the node, `{}`",
            plan.hostname
        );
        return Err(Problem::new(Kind::Invalid, detail).at("/confirm"));
    }
    let (order, pool) = order(&facts, &plan);
    let storage = node.storage.get().cloned();
    let keep = move || -> Result<(), Problem> {
        match (pool, storage) {
            (Some(pool), Some(storage)) => Ok(storage.order_reset(&pool, &order)?),
            (Some(_), None) => Err(internal("the pool is gone")),
            (None, _) => {
                let text = serde_json::to_string(&order).map_err(internal)?;
                disk::order(&text).map_err(|error| {
                    let detail = format!(
                        "the order cannot be kept on the installed disk: {}",
                        chain(&*error)
                    );
                    Problem::new(Kind::Unavailable, detail)
                })
            }
        }
    };
    on_thread(keep).await.map_err(internal)??;
    for line in &plan.lost {
        node.log.warning(&format!("factory reset ordered: {line}"));
    }
    let power = node.power.clone();
    tokio::spawn(async move {
        tokio::time::sleep(ANSWERED).await;
        // The node goes down by itself if nobody listens any more.
        let _ = power.send(Verb::Reboot);
    });
    Ok(())
}

/// Withdraws orders that are not done, wherever they are kept.
pub async fn cancel(node: &Arc<Node>) -> Result<(), Problem> {
    let work = {
        let node = node.clone();
        move || -> Result<bool, Problem> {
            let of_pools = match node.storage.get() {
                Some(storage) => storage.cancel_resets()?,
                None => false,
            };
            let unreadable = |error: disk::Failed| {
                let detail = format!("the order on the installed disk: {}", chain(&*error));
                Problem::new(Kind::Unavailable, detail)
            };
            let installed = slot::running(&node.cmdline).is_some();
            let of_disk = installed && disk::pending().map_err(unreadable)?.is_some();
            if of_disk {
                disk::finish().map_err(unreadable)?;
            }
            Ok(of_pools || of_disk)
        }
    };
    if !on_thread(work).await.map_err(internal)?? {
        return Err(Problem::new(Kind::NotFound, "no factory reset waits to be done"));
    }
    node.log
        .warning("factory reset: what was not done of it is withdrawn");
    Ok(())
}

fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}

/// Stage 1: takes the machine config of an installed disk away, where that was ordered; whether it did.
pub fn take_config(cmdline: &CommandLine, handover: &mut Handover, log: &Log) -> bool {
    if slot::running(cmdline).is_none() {
        return false;
    }
    match disk::take_config() {
        Ok(false) => false,
        Ok(true) => {
            log.warning("factory reset: the machine config on the installed disk is taken away");
            handover.documents.clear();
            handover.rejected.clear();
            true
        }
        Err(error) => {
            log.error(&format!(
                "a factory reset cannot be carried out: {}",
                chain(&*error)
            ));
            false
        }
    }
}

/// Stage 2: the order on the installed disk, as far as it is about pools.
pub fn given(node: &Node) -> Option<GivenOrder> {
    slot::running(&node.cmdline)?;
    let pending = disk::pending().unwrap_or_else(|error| {
        let why = chain(&*error);
        node.log
            .warning(&format!("cannot look for the order of a factory reset: {why}"));
        None
    });
    let Pending {
        order,
        config_is_done,
    } = pending?;
    match serde_json::from_str::<ResetOrder>(&order) {
        Ok(order) if config_is_done || !order.config => {
            let log = node.log.clone();
            Some(GivenOrder {
                order,
                keep: Box::new(move |left| keep(&log, left)),
            })
        }
        Ok(_) => {
            node.log
                .error("factory reset: the machine config was not taken away; nothing else is done before");
            None
        }
        Err(error) => {
            node.log.error(&format!(
                "factory reset: the order on the installed disk is none: {error}"
            ));
            None
        }
    }
}

/// Stage 2: keeps what is left of what was given; nothing: it is done.
fn keep(log: &Log, left: &ResetOrder) -> Result<(), String> {
    if left.names().next().is_none() {
        disk::finish().map_err(|error| format!("it is done and cannot be removed: {}", chain(&*error)))?;
        log.warning("factory reset: done");
        return Ok(());
    }
    let text = serde_json::to_string(left).map_err(|error| error.to_string())?;
    disk::keep(&text).map_err(|error| format!("what is left of it cannot be kept: {}", chain(&*error)))
}

#[cfg(test)]
mod tests;

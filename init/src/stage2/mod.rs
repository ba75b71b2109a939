//! Stage 2: the boot from the root file system, and the life of the node after it.
//!
//! [`plan`] says which phases there are and what is in them; [`run`] carries phases out; [`tasks`] are the tasks, [`profile`] those
//! of the boot profile, [`pools`] those of ZFS, [`netboot`] that of the boot server. [`apply`] puts the profile in force again later.

mod apply;
mod modules;
mod netboot;
mod plan;
mod pools;
mod profile;
mod run;
mod tasks;

pub use self::apply::{ApplyError, apply_profile};
pub use self::pools::{fence_threads, give_back, load_zfs};
pub use self::profile::{host_uses, virtual_functions};
pub use self::run::TaskError;
pub use self::tasks::prepare_state;

use std::sync::Arc;

use axion_core::cmdline::CommandLine;
use axion_core::config::{Boot, FailureAction};
use nix::sys::resource::{Resource, setrlimit};
use tokio::sync::mpsc;

use crate::clock;
use crate::crash;
use crate::failure::{self, Failure, chain};
use crate::firmware;
use crate::handover::Handover;
use crate::log::Log;
use crate::node::Node;
use crate::power::{self, Verb};
use crate::proof;
use crate::rcu;
use crate::slot;
use crate::sync::lock;

/// File descriptors of PID 1: one for each unit's output, and its D-Bus peers.
const OPEN_FILES: u64 = 65_536;

/// Runs stage 2 for as long as the node is up. It comes back only when it cannot even begin.
pub fn run(log: &Log) -> Failure {
    let cannot_begin = |cause: &dyn std::error::Error| Failure {
        task: "begin stage 2".to_owned(),
        cause: chain(cause),
        next_step: "report it; boot the previous image if it happens again".to_owned(),
        boot: Boot::default(),
    };
    // Run from a descriptor, the program would be called by its number.
    let _ = nix::sys::prctl::set_name(c"axion-init");
    if let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES) {
        log.warning(&format!("cannot raise the number of open files: {e}"));
    }
    // Threads do what the kernel takes its time for (modules, pools); they are few and short-lived.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_stack_size(512 * 1024)
        .build();
    match runtime {
        Ok(runtime) => match runtime.block_on(live(log)) {
            Ok(never) => match never {},
            Err(e) => cannot_begin(&e),
        },
        Err(e) => cannot_begin(&e),
    }
}

async fn live(log: &Log) -> std::io::Result<std::convert::Infallible> {
    let began = clock::micros(clock::since_start());
    let handover = Handover::take().unwrap_or_else(|e| {
        log.error(&format!("{}; going on without a machine config", chain(&e)));
        Handover::default()
    });
    let entered = run::entered(handover.left_us, began);
    let cmdline = CommandLine::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default());
    let (power, mut wishes) = mpsc::unbounded_channel();
    let node = Arc::new(Node::new(log.clone(), cmdline, handover, power)?);
    run::tell(&entered, &node);
    power::listen(&node)?;
    let reader = crate::log::read_kernel_log(log.clone(), began);
    let reader_log = log.clone();
    tokio::spawn(async move {
        if let Err(e) = reader.await {
            reader_log.error(&format!("cannot read the kernel log: {e}"));
        }
    });
    tokio::spawn(slot::watch(node.clone()));
    let verb = tokio::select! {
        Some(verb) = wishes.recv() => verb,
        verb = boot(&node) => verb,
    };
    // A wish may come before the boot has ended; what has not begun never does.
    match power::go_down(&node, verb).await {}
}

/// Boots; comes back when the boot failed, with what follows.
async fn boot(node: &Arc<Node>) -> Verb {
    let Err(failure) = run::all(plan::PHASES, node).await else {
        let ready = clock::since_start();
        lock(&node.boot).ready_us = Some(clock::micros(ready));
        node.log.info(&format!("ready in {} ms", ready.as_millis()));
        rcu::hurry(false, &node.log);
        proof::start_after_boot(node);
        crash::look_after_boot(node);
        tokio::spawn(firmware::watch(node.clone()));
        return std::future::pending().await;
    };
    let log = node.log.clone();
    // On a thread, so that the watchdog is fed and children are reaped during the countdown.
    let action = tokio::task::spawn_blocking(move || failure::show(&failure, &log)).await;
    match action.unwrap_or(FailureAction::Reboot) {
        FailureAction::Reboot => Verb::Reboot,
        FailureAction::PowerOff => Verb::PowerOff,
        FailureAction::Halt => std::future::pending().await,
    }
}

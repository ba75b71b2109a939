//! Updates that are bad give way by themselves, and the version before says why: one whose agent does not come up, one that
//! hangs, one whose kernel ends.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::update::{SlotFailure, SlotState};
use axion_e2e::installed::{ARGUMENTS, disk, look, stage, start};
use axion_install::slot::Slot;
use axion_lab::deadline::Poll;
use axion_lab::{Node, Spec};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A start that fails, and one of the version before.
const FALL_BACK: Duration = Duration::from_secs(170);

/// Kernel arguments that give a slot a machine config of its own.
fn with_config(spec: &Spec, toml: &str) -> String {
    let config = BASE64_STANDARD.encode(spec.medium_config(toml));
    format!("{ARGUMENTS} axion.config=inline:{config}")
}

/// Starts a bad update once, or as often as the loader tries it, and waits for the version before to tell of it.
fn falls_back(name: &str, arguments: impl Fn(&Spec) -> String) -> Result<SlotFailure> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new(name);
    let disk = disk(dir.path(), &spec.medium_config("hostname = \"kept\"\n"))?;
    stage(&disk, "0.1.9", &arguments(&spec))?;
    let machine = start(spec, &disk)?;
    machine
        .log()
        .wait_for("slot b, Axion 0.1.9, was given up: ", FALL_BACK)?;
    let node = machine.wait_ready()?;
    let failure = failure(&node)?;
    machine.power_button()?;
    machine.wait_exit()?;
    still_good(&disk)?;
    Ok(failure)
}

fn failure(node: &Node) -> Result<SlotFailure> {
    Ok(node.poll("slot a and what became of slot b", FALL_BACK, |node| {
        let status = node.call(node.client().update())?;
        let slot = status.slot("b").filter(|slot| slot.state == SlotState::Failed);
        let failure = slot.and_then(|slot| slot.failure.clone());
        Ok(match failure {
            Some(failure) if status.running == "a" => Poll::Ready(failure),
            _ => Poll::Pending(format!("{status:?}")),
        })
    })?)
}

fn still_good(disk: &Path) -> Result<()> {
    let found = look(disk)?;
    let next = found.starts().context("nothing starts")?;
    ensure!(next.name.slot == Slot::A, "{found:?}");
    ensure!(found.good() == Some(Slot::A), "{found:?}");
    Ok(())
}

#[test]
fn an_update_whose_agent_does_not_come_up_gives_way() -> Result<()> {
    // No interface has that address, so its API never listens.
    let failure = falls_back("update-no-agent", |spec| {
        with_config(spec, "api.listen = \"192.0.2.1:8443\"\n")
    })?;
    ensure!(failure.why.contains("the agent is not ready"), "{failure:?}");
    ensure!(
        failure.log.contains("slot b runs, Axion 0.1.9, on trial"),
        "{failure:?}"
    );
    Ok(())
}

#[test]
fn an_update_that_hangs_gives_way() -> Result<()> {
    // It waits for disks that nobody has for longer than it may take.
    let toml = "update.deadline = \"1min\"\nstorage.settle = \"5min\"\n\
                [[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:none\"]\n";
    let failure = falls_back("update-hangs", |spec| with_config(spec, toml))?;
    ensure!(failure.why.contains("not found good within 1min"), "{failure:?}");
    ensure!(failure.log.contains("init: phase"), "{failure:?}");
    Ok(())
}

#[test]
fn an_update_whose_kernel_ends_gives_way() -> Result<()> {
    let failure = falls_back("update-panics", |_| format!("{ARGUMENTS} rdinit=/none"))?;
    // Firmware has kept what the kernel said last.
    ensure!(failure.why.contains("its kernel ended"), "{failure:?}");
    ensure!(failure.log.contains("Kernel panic"), "{failure:?}");
    Ok(())
}

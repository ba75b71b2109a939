//! Many guests share a node: one that dies takes nobody with it, and one whose disk finds no room waits until there is some.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::vm::{Pause, VmState};
use axion_e2e::{GUEST_READY, SOON, boot, console, wait_vm};
use axion_lab::command::Program;
use axion_lab::{Machine, Node, Spec};

/// Guests at once.
const GUESTS: usize = 20;
/// A guest that writes some hundred MiB.
const WRITING: Duration = Duration::from_secs(180);

#[test]
fn many_guests_run_and_die_alone() -> Result<()> {
    let spec = Spec::new("guest-many").memory_mib(4096).config_with_token("");
    let (machine, node) = boot(spec)?;
    let names: Vec<String> = (0..GUESTS).map(|n| format!("many-{n}")).collect();
    let mut consoles = all_reach_their_shells(&node, &names)?;
    one_that_is_killed_takes_only_its_vm(&machine, &node, &names, &mut consoles)?;
    all_can_go(&node, &names)
}

/// Starts all of them, two at a time. The first one is the largest.
///
/// A guest that boots has a timer tick every 4 ms, and on an emulated processor a tick takes about one: twenty that boot at once
/// would have two processors do nothing but ticks. Guests that have booted are idle, and have none.
fn all_reach_their_shells(node: &Node, names: &[String]) -> Result<Vec<Program>> {
    let mut consoles = Vec::new();
    for (batch, names) in names.chunks(2).enumerate() {
        for (number, name) in names.iter().enumerate() {
            let largest = batch == 0 && number == 0;
            let memory = if largest { "256MiB" } else { "64MiB" };
            node.axctl(&["vm", "run", name, "--memory", memory])?;
            consoles.push(console(node, name)?);
        }
        for (console, name) in consoles.iter().rev().zip(names.iter().rev()) {
            console
                .log()
                .wait_for(GUEST_READY, axion_e2e::GUEST_BOOT)
                .with_context(|| name.clone())?;
            wait_vm(node, name, VmState::Running, SOON)?;
        }
    }
    for name in names {
        let stats = node.call(node.client().vm_stats(name))?;
        ensure!(stats.resets == 0, "{name} booted more than once: {stats:?}");
    }
    Ok(consoles)
}

/// SysRq-F has the kernel kill the process that frees the most memory (Documentation/admin-guide/sysrq.rst), as it does when
/// there is none left. It must be a VMM, and never a service.
fn one_that_is_killed_takes_only_its_vm(
    machine: &Machine,
    node: &Node,
    names: &[String],
    consoles: &mut [Program],
) -> Result<()> {
    let (victim, others) = names.split_first().context("no guests")?;
    let (first, rest) = consoles.split_first_mut().context("no consoles")?;
    // The run before has last words, which are not those of the one that is killed.
    node.axctl(&["vm", "stop", victim, "--wait"])?;
    let stopped = wait_vm(node, victim, VmState::Stopped, SOON)?;
    ensure!(
        stopped.status.exit.as_deref() == Some("guest powered off"),
        "{stopped:?}"
    );
    node.axctl(&["vm", "start", victim, "--wait"])?;
    *first = console(node, victim)?;
    first.log().wait_for(GUEST_READY, axion_e2e::GUEST_BOOT)?;
    fill_memory(first)?;
    let services = services(node)?;
    machine.press_keys(&["alt", "sysrq", "f"])?;
    let dead = wait_vm(node, victim, VmState::Failed, SOON)?;
    let why = "killed by SIGKILL: the node was out of memory";
    ensure!(dead.status.exit.as_deref() == Some(why), "{dead:?}");
    ensure!(dead.status.pid.is_none(), "{dead:?}");
    for (name, console) in others.iter().zip(rest) {
        let seen = console.log().last().context("the console is empty")?;
        console.input("echo alive=$((6*7))\n")?;
        console
            .log()
            .wait_for_after(&seen, "alive=42", SOON)
            .with_context(|| name.clone())?;
        wait_vm(node, name, VmState::Running, SOON)?;
    }
    ensure!(services == self::services(node)?, "a service was killed too");
    node.axctl(&["vm", "start", victim, "--wait"])?;
    wait_vm(node, victim, VmState::Running, SOON)?;
    Ok(())
}

/// Makes the guest use most of its memory, so that the kernel is in no doubt about which process is the largest.
fn fill_memory(guest: &mut Program) -> Result<()> {
    inside(
        guest,
        "dd if=/dev/zero of=/run/full bs=1M count=96",
        "filled",
        WRITING,
    )
}

/// The processes of all that is no VM.
fn services(node: &Node) -> Result<Vec<(String, Option<u32>)>> {
    let units = node.call(node.client().units())?;
    let services = units.into_iter().filter(|unit| !unit.transient);
    Ok(services.map(|unit| (unit.name, unit.pid)).collect())
}

fn all_can_go(node: &Node, names: &[String]) -> Result<()> {
    for name in names {
        node.call(node.client().stop_vm(name, true))?;
    }
    for name in names {
        wait_vm(node, name, VmState::Stopped, SOON)?;
        node.axctl(&["vm", "delete", name])?;
    }
    let units = node.call(node.client().units())?;
    ensure!(units.iter().all(|unit| !unit.transient), "{units:?}");
    Ok(())
}

/// Volumes of a node without a pool have half of its memory; more may be promised.
#[test]
fn a_guest_without_room_waits_for_it() -> Result<()> {
    let spec = Spec::new("guest-no-room").memory_mib(1280).config_with_token("");
    let (_machine, node) = boot(spec)?;
    node.axctl(&["volume", "create", "ballast", "--size", "384MiB"])?;
    node.axctl(&["volume", "create", "data", "--size", "384MiB"])?;
    let mut guest = guest_with(&node, "ballast", "volume=ballast")?;
    inside(&mut guest, &fill(), "filled", WRITING)?;
    for verb in [
        &["stop", "ballast", "--force", "--wait"][..],
        &["delete", "ballast"],
    ] {
        node.axctl(&[&["vm"], verb].concat())?;
    }

    let mut guest = guest_with(&node, "data", "volume=data")?;
    let seen = guest.log().last().context("the console is empty")?;
    guest.input(&format!("{} && echo filled=$((6*7))\n", fill()))?;
    let vm = wait_vm(&node, "data", VmState::Paused, WRITING)?;
    let expected = Pause::DiskFull {
        disk: 0,
        volume: Some("data".to_owned()),
    };
    ensure!(vm.status.pause == Some(expected), "{vm:?}");
    let shown = node.axctl(&["vm", "show", "data"])?;
    ensure!(shown.contains("no room on the node"), "{shown}");

    // Without room it is paused again; nothing is lost meanwhile.
    node.axctl(&["vm", "resume", "data"])?;
    wait_vm(&node, "data", VmState::Paused, SOON)?;
    node.axctl(&["volume", "delete", "ballast", "--yes"])?;
    node.axctl(&["vm", "resume", "data"])?;
    guest.log().wait_for_after(&seen, "filled=42", WRITING)?;
    wait_vm(&node, "data", VmState::Running, SOON)?;
    inside(
        &mut guest,
        "echo 3 > /proc/sys/vm/drop_caches; test $(tr -d U < /dev/vda | wc -c) = 0",
        "same",
        WRITING,
    )?;
    inside(&mut guest, "! dmesg | grep -i 'i/o error'", "clean", SOON)
}

/// Writes a letter to the whole disk.
fn fill() -> String {
    "tr '\\0' U < /dev/zero | dd of=/dev/vda bs=1M count=384 iflag=fullblock conv=fsync".to_owned()
}

/// A guest with a disk, its shell there.
fn guest_with(node: &Node, name: &str, disk: &str) -> Result<Program> {
    node.axctl(&["vm", "run", name, "--disk", disk])?;
    let console = console(node, name)?;
    console.log().wait_for(GUEST_READY, axion_e2e::GUEST_BOOT)?;
    Ok(console)
}

/// Runs a command in the guest, which must succeed. The number that is waited for is not in what is typed.
fn inside(guest: &mut Program, command: &str, word: &str, within: Duration) -> Result<()> {
    let seen = guest.log().last().context("the console is empty")?;
    guest.input(&format!("{command} && echo {word}=$((6*7))\n"))?;
    guest
        .log()
        .wait_for_after(&seen, &format!("{word}=42"), within)
        .with_context(|| command.to_owned())?;
    Ok(())
}

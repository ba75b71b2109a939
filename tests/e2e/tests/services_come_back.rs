//! Whatever dies on a node, PID 1 stays: services come back, failed guests stay failed, nothing is left behind.

use std::fs;

use anyhow::{Context, Result, ensure};
use axion_api::client::{ImageFile, Precondition};
use axion_api::host::UnitStatus;
use axion_api::vm::{BootSource, ImageRef, RestartPolicy, VmSpec, VmState};
use axion_core::quantity::ByteSize;
use axion_e2e::{SOON, boot, unit_pid, wait_restarted, wait_vm};
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::{Machine, Node, Spec};

/// VMs of one wave of the storm.
const WAVE: usize = 20;
/// Waves.
const WAVES: usize = 3;

#[test]
fn services_come_back_and_pid_1_stays() -> Result<()> {
    let (machine, node) = boot(Spec::new("services-come-back").config_with_token(""))?;
    a_restarted_service_is_a_new_process(&node)?;
    a_crash_of_everything_but_pid_1_is_survived(&machine, &node)?;
    a_storm_of_failing_guests_leaves_nothing(&machine, &node)
}

fn a_restarted_service_is_a_new_process(node: &Node) -> Result<()> {
    for name in ["console@ttyS0", "agent"] {
        let pid = unit_pid(node, name)?.with_context(|| format!("no unit {name}"))?;
        node.call(node.client().restart_unit(name))?;
        wait_restarted(node, name, pid)?;
    }
    Ok(())
}

/// SysRq-I kills every process but init (Documentation/admin-guide/sysrq.rst): the worst crash that there is.
fn a_crash_of_everything_but_pid_1_is_survived(machine: &Machine, node: &Node) -> Result<()> {
    let before = unit(node, "agent")?;
    machine.press_keys(&["alt", "sysrq", "i"])?;
    wait_restarted(node, "agent", before.pid.unwrap_or_default())?;
    let after = unit(node, "agent")?;
    ensure!(after.restarts == before.restarts + 1, "{before:?} {after:?}");
    ensure!(after.exit.as_deref() == Some("killed by SIGKILL"), "{after:?}");
    let console = node.poll("the console's return", SOON, |node| {
        let console = node
            .call(node.client().units())?
            .into_iter()
            .find(|unit| unit.name == "console@ttyS0");
        Ok(match console {
            Some(unit) if unit.pid.is_some() && unit.restarts > 0 => Poll::Ready(unit),
            other => Poll::Pending(format!("{other:?}")),
        })
    })?;
    ensure!(
        console.exit.as_deref() == Some("killed by SIGKILL"),
        "{console:?}"
    );
    Ok(())
}

fn a_storm_of_failing_guests_leaves_nothing(machine: &Machine, node: &Node) -> Result<()> {
    let spec = broken_guest(machine, node)?;
    let names: Vec<String> = (0..WAVE).map(|n| format!("broken-{n}")).collect();
    for _ in 0..WAVES {
        for name in &names {
            node.call(node.client().put_vm(name, &spec, Precondition::None))?;
            node.call(node.client().start_vm(name))?;
        }
        for name in &names {
            let vm = wait_vm(node, name, VmState::Failed, SOON)?;
            ensure!(vm.status.exit.is_some(), "{vm:?}");
        }
    }
    for name in &names {
        node.call(node.client().delete_vm(name, true))?;
    }
    let processes = node.call(node.client().processes())?;
    ensure!(
        processes.iter().all(|process| process.state != 'Z'),
        "zombies: {processes:?}"
    );
    ensure!(
        processes.iter().all(|process| process.name.starts_with("axion-")),
        "{processes:?}"
    );
    ensure!(
        processes.iter().all(|process| process.name != "axion-vmm"),
        "{processes:?}"
    );
    let units = node.call(node.client().units())?;
    ensure!(units.iter().all(|unit| !unit.transient), "{units:?}");
    let boots = machine
        .log()
        .lines()
        .iter()
        .filter(|line| line.text.contains(READY))
        .count();
    ensure!(boots == 1, "the machine was restarted");
    Ok(())
}

/// A guest whose kernel is no kernel; its VMM fails and is started again a few times.
fn broken_guest(machine: &Machine, node: &Node) -> Result<VmSpec> {
    let path = machine.dir().join("no-kernel");
    fs::write(&path, "this is no kernel\n".repeat(1000))?;
    let kernel = node.call(async {
        let file = ImageFile::open(&path).await?;
        node.client().put_image(&file, |_| {}).await
    })?;
    let boot = BootSource {
        kernel: ImageRef(kernel.digest),
        ..BootSource::default()
    };
    Ok(VmSpec {
        boot,
        // A wave of them has a place at once.
        memory: ByteSize(32 << 20),
        restart: RestartPolicy::OnFailure,
        ..VmSpec::default()
    })
}

fn unit(node: &Node, name: &str) -> Result<UnitStatus> {
    let units = node.call(node.client().units())?;
    units
        .into_iter()
        .find(|unit| unit.name == name)
        .with_context(|| format!("no unit {name}"))
}

//! Where the config says so, kernel arguments come by a restart of the machine: once, through the loader of the installed disk.

use anyhow::{Context, Result, ensure};
use axion_api::host::PowerAction;
use axion_core::profile::{ItemState, Restart, Standing};
use axion_e2e::installation::{INSTALLATION, down, look};
use axion_e2e::installed::disk;
use axion_e2e::{KERNEL_START, SECOND_KERNEL, times};
use axion_lab::machine::READY;
use axion_lab::spec::DiskBus;
use axion_lab::{Firmware, Image, Node, Spec};

/// Two nodes of two CPUs: the host keeps the first of each.
const ISOLATED: &str = "1,3";
const ARGUMENTS: &str = "axion.plan=begin isolcpus=managed_irq,domain,1,3 nohz_full=1,3 rcu_nocbs=1,3 irqaffinity=0,2 axion.plan=end";
const CONFIG: &str = "[profile]\nmode = \"hpc\"\nrestart = \"reboot\"\n";
/// What stage 1 says before it restarts the machine.
const RESTARTING: &str = "the arguments are stored in the entry of slot a; restarting the machine";
/// What the node says once a start has proved what its slot's entry says.
const KEPT: &str = "slot a: the next start has the arguments of this one";
/// The mark of a restart on the kernel command line.
const GUARD: &str = "axion.restart";

#[test]
fn a_uefi_machine_restarts_once_for_its_kernel_arguments() -> Result<()> {
    arguments_come_by_one_restart("restart-uefi", Firmware::Uefi)
}

#[test]
fn a_bios_machine_restarts_once_for_its_kernel_arguments() -> Result<()> {
    arguments_come_by_one_restart("restart-bios", Firmware::Bios)
}

fn arguments_come_by_one_restart(name: &str, firmware: Firmware) -> Result<()> {
    let dir = tempfile::tempdir()?;
    // With memory above 4 GiB, SeaBIOS puts the disk's registers there, too, and then does not find them.
    let spec = Spec::new(name)
        .cpus(4, 2)
        .numa_node(0, 1, 1024)
        .numa_node(2, 3, 1024);
    let disk = disk(dir.path(), &spec.medium_config(CONFIG))?;
    let spec = match firmware {
        Firmware::Bios => spec,
        Firmware::Uefi => spec.uefi(),
    };
    let spec = spec.boot_from_disks().disk(DiskBus::Nvme, &disk);
    let machine = spec.start(&Image::find()?)?;

    let ready = machine.log().wait_for(READY, INSTALLATION)?;
    let node = machine.wait_ready()?;
    ensure!(
        times(&machine, RESTARTING) == 1,
        "{}",
        times(&machine, RESTARTING)
    );
    ensure!(
        times(&machine, KERNEL_START) == 2,
        "{} kernels",
        times(&machine, KERNEL_START)
    );
    the_profile_is_in_force(&node)?;
    machine.log().wait_for(KEPT, INSTALLATION)?;

    // The arguments are the entry's by now: whoever restarts the machine gets a start that needs nothing.
    node.call(node.client().power(PowerAction::Reboot))?;
    let node = machine.wait_ready_after(&ready)?;
    ensure!(
        times(&machine, RESTARTING) == 1 && times(&machine, KERNEL_START) == 3,
        "{} kernels",
        times(&machine, KERNEL_START)
    );
    ensure!(
        times(&machine, SECOND_KERNEL) == 0,
        "the kernel was started by a kexec"
    );
    the_profile_is_in_force(&node)?;
    down(machine)?;

    let found = look(&disk)?;
    let next = match firmware {
        Firmware::Uefi => found.starts(),
        Firmware::Bios => found.bios.as_ref().and_then(|on_bios| on_bios.starts()),
    };
    let options = &next.context("nothing starts")?.entry.options;
    ensure!(
        options.contains(ARGUMENTS) && !options.contains(GUARD) && options.ends_with("axion.slot=a"),
        "{options}"
    );
    Ok(())
}

fn the_profile_is_in_force(node: &Node) -> Result<()> {
    let profile = node.call(node.client().profile())?;
    ensure!(
        profile.standing == Standing::Planned && profile.plan.restart == Restart::Reboot,
        "{profile:?}"
    );
    ensure!(
        profile.plan.isolated.to_string() == ISOLATED,
        "{:?}",
        profile.plan
    );
    let items = &profile.attestation.items;
    let isolated = items.iter().find(|item| item.key == "cmdline.isolcpus");
    ensure!(
        isolated.is_some_and(|item| item.effective == ISOLATED),
        "{isolated:?}"
    );
    let wrong: Vec<_> = items.iter().filter(|item| item.state != ItemState::Ok).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

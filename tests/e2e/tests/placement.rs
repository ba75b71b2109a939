//! A dedicated guest has isolated cores and hugepages of its own, sees the NUMA nodes that it is on, and nobody else gets what
//! it has; what a node does not have is refused with what it has.

use std::fs;

use anyhow::{Context, Result, ensure};
use axion_api::capacity::Capacity;
use axion_api::vm::VmState;
use axion_api::vmm::in_force::{DisabledExit, UnitLimits};
use axion_core::placement::VmClass;
use axion_core::topology::CpuSet;
use axion_e2e::{
    GUEST_BOOT, GUEST_READY, SOON, boot, console, in_force, inside, unit_pid, wait_restarted, wait_vm,
};
use axion_lab::command::Program;
use axion_lab::deadline::Poll;
use axion_lab::{Image, Node, Spec};

/// Two nodes of three CPUs, of which the host keeps the first.
const HPC: &str = "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"2MiB\", count = 192 }]\n";
const ISOLATED: [u32; 4] = [1, 2, 4, 5];

#[test]
fn dedicated_guests_have_what_is_theirs() -> Result<()> {
    let (image, dir) = (Image::find()?, tempfile::tempdir()?);
    let archives = dir.path().join("initramfs.cpio");
    fs::write(
        &archives,
        [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat(),
    )?;
    let spec = Spec::new("placement")
        .cpus(6, 2)
        .numa_node(0, 2, 2048)
        .numa_node(3, 5, 2048)
        .config_with_token(HPC)
        .initramfs(&archives);
    let (_machine, node) = boot(spec)?;
    let empty = node.call(node.client().capacity())?;
    the_node_says_what_it_has(&empty)?;

    node.axctl(&[
        "vm",
        "run",
        "wide",
        "--class",
        "dedicated",
        "--cpus",
        "4",
        "--memory",
        "512M",
        "--page-size",
        "2M",
        "--numa",
        "spread",
        "--scheduling",
        "fifo",
    ])?;
    let mut wide = console(&node, "wide")?;
    wide.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    the_guest_sees_its_nodes_and_sockets(&mut wide)?;
    the_kernel_did_as_planned(&node)?;
    nobody_else_gets_it(&node)?;
    a_new_agent_knows_it(&node)?;
    a_shared_guest_is_with_the_host(&node)?;

    one_that_halted_keeps_its_cpus_until_it_is_stopped(&node)?;
    more_memory_than_there_is_is_refused(&node)?;
    everything_is_given_back(&node, &empty)
}

fn the_node_says_what_it_has(capacity: &Capacity) -> Result<()> {
    let isolated: Vec<u32> = capacity
        .nodes
        .iter()
        .flat_map(|node| node.dedicated_free.iter())
        .collect();
    ensure!(isolated == ISOLATED, "{capacity:?}");
    ensure!(capacity.host_cpus.to_string() == "0,3", "{capacity:?}");
    for node in &capacity.nodes {
        ensure!(node.cores_free == 2 && node.shared_cpus.len() == 1, "{node:?}");
        let pool = node.hugepages.iter().find(|pool| pool.page_size == 2 << 20);
        ensure!(pool.is_some_and(|pool| pool.free == 192), "{node:?}");
    }
    ensure!(capacity.reservations.is_empty(), "{capacity:?}");
    Ok(())
}

fn the_guest_sees_its_nodes_and_sockets(guest: &mut Program) -> Result<()> {
    let nodes = "/sys/devices/system/node";
    for (file, text) in [
        (format!("{nodes}/online"), "0-1"),
        (format!("{nodes}/node0/cpulist"), "0-1"),
        (format!("{nodes}/node1/cpulist"), "2-3"),
        (format!("{nodes}/node0/distance"), "10 20"),
        (format!("{nodes}/node1/distance"), "20 10"),
    ] {
        inside(
            guest,
            &format!("cat {file} && test \"$(cat {file})\" = \"{text}\""),
        )?;
    }
    for node in 0..2 {
        let total = format!("grep MemTotal {nodes}/node{node}/meminfo");
        // 256 MiB, less what the guest's kernel keeps for itself.
        inside(
            guest,
            &format!("{total} && test $({total} | tr -dc '0-9 ' | awk '{{print $2}}') -gt 150000"),
        )?;
    }
    for (field, values) in [("physical id", 2), ("processor", 4)] {
        let count = format!("grep '^{field}' /proc/cpuinfo | sort -u | wc -l");
        inside(guest, &format!("test $({count}) = {values}"))?;
    }
    inside(
        guest,
        "test $(grep '^cpu cores' /proc/cpuinfo | sort -u | tr -dc 0-9) = 2",
    )
}

fn the_kernel_did_as_planned(node: &Node) -> Result<()> {
    let (vm, state) = in_force(node, "wide")?;
    let placement = vm.status.placement.context("no placement")?;
    ensure!(
        placement.class == VmClass::Dedicated && placement.vcpus == ISOLATED,
        "{placement:?}"
    );
    for (vcpu, cpu) in state.vcpus.iter().zip(ISOLATED) {
        ensure!(vcpu.cpus == CpuSet::from_iter([cpu]), "{state:?}");
    }
    let memory: Vec<_> = state.memory.iter().map(|node| (node.size, node.bound)).collect();
    ensure!(
        memory == [(256 << 20, Some(0)), (256 << 20, Some(1))],
        "{state:?}"
    );
    for (memory, host) in state.memory.iter().zip(0..) {
        ensure!(
            memory.samples.iter().all(|sample| sample.host_node == host),
            "{state:?}"
        );
    }
    ensure!(state.exits_disabled.contains(&DisabledExit::Hlt), "{state:?}");
    let unit = state.unit.context("nothing is known of the unit")?;
    // Hugepages are in another account: what is left is for the VMM itself.
    ensure!(unit.memory_max.is_some_and(|most| most < 256 << 20), "{unit:?}");
    ensure!(
        unit.cpus == placement.used() && unit.cpu_limit.is_none(),
        "{unit:?}"
    );
    let shown = node.axctl(&["vm", "describe", "wide"])?;
    ensure!(shown.contains("4 of 4 vCPUs on their CPU alone"), "{shown}");
    ensure!(
        shown.contains("4 of 4 vCPUs by SCHED_FIFO, priority 1"),
        "{shown}"
    );
    let metrics = node.call(node.client().metrics())?;
    ensure!(
        metrics.contains("axion_dedicated_cores_free{node=\"1\"} 0"),
        "{metrics}"
    );
    Ok(())
}

fn nobody_else_gets_it(node: &Node) -> Result<()> {
    let shown = node.axctl(&["capacity"])?;
    ensure!(shown.contains("wide  dedicated"), "{shown}");
    let more = node.try_axctl(&[
        "vm",
        "run",
        "more",
        "--class",
        "dedicated",
        "--memory",
        "64M",
        "--page-size",
        "2M",
    ])?;
    ensure!(
        !more.status.success()
            && more
                .stderr
                .contains("node 0: isolated cores: 1 wanted, 0 free of 2"),
        "{more:?}"
    );
    let vm = node.call(node.client().vm("more"))?;
    ensure!(vm.status.placement.is_none() && vm.status.pid.is_none(), "{vm:?}");
    // And nobody may ask for what the node never has.
    let never = node.try_axctl(&[
        "vm",
        "run",
        "never",
        "--class",
        "dedicated",
        "--cpus",
        "3",
        "--memory",
        "64M",
        "--page-size",
        "2M",
    ])?;
    ensure!(
        !never.status.success() && never.stderr.contains("possible: cpus = 2"),
        "{never:?}"
    );
    ensure!(node.attempt(node.client().vm("never")).is_err());
    Ok(())
}

fn a_new_agent_knows_it(node: &Node) -> Result<()> {
    let before = node.call(node.client().capacity())?;
    let agent = unit_pid(node, "agent")?.context("the agent is no unit")?;
    node.axctl(&["host", "restart", "agent"])?;
    wait_restarted(node, "agent", agent)?;
    let after = node.call(node.client().capacity())?;
    ensure!(after.reservations == before.reservations, "{before:?} {after:?}");
    Ok(())
}

fn a_shared_guest_is_with_the_host(node: &Node) -> Result<()> {
    node.axctl(&["vm", "run", "plain", "--cpu-weight", "200", "--cpu-limit", "100"])?;
    let mut plain = console(node, "plain")?;
    plain.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    inside(&mut plain, "test $(cat /sys/devices/system/node/online) = 0")?;
    let vm = node.call(node.client().vm("plain"))?;
    let placement = vm.status.placement.context("no placement")?;
    let processes = node.call(node.client().processes())?;
    let vmm = processes
        .iter()
        .find(|process| process.cgroup.ends_with("vms.slice/vm-plain"));
    let vmm = vmm.context("the VMM is no process")?;
    ensure!(
        vmm.cpus == placement.cpus && ["0", "3"].contains(&vmm.cpus.to_string().as_str()),
        "{vmm:?} {placement:?}"
    );
    what_it_asked_for_is_in_force(node, &placement.cpus)?;
    node.axctl(&["vm", "stop", "plain", "--force", "--wait"])?;
    Ok(())
}

/// By the kernel's word: the files of the unit's cgroup.
fn what_it_asked_for_is_in_force(node: &Node, cpus: &CpuSet) -> Result<()> {
    let (vm, state) = in_force(node, "plain")?;
    let unit = state.unit.context("nothing is known of the unit")?;
    let expected = UnitLimits {
        cpus: cpus.clone(),
        cpu_weight: 200,
        cpu_limit: Some(100),
        memory_max: unit.memory_max,
    };
    ensure!(unit == expected, "{unit:?}");
    let most = unit.memory_max.context("the VMM may use all memory")?;
    let guest = vm.spec.memory.0;
    ensure!((guest..guest + (128 << 20)).contains(&most), "{unit:?}");
    let shown = node.axctl(&["vm", "describe", "plain"])?;
    ensure!(
        shown.contains(", weight 200, at most 100 %, memory at most "),
        "{shown}"
    );
    Ok(())
}

/// HLT does not leave it: nobody can see that it has nothing more to do.
fn one_that_halted_keeps_its_cpus_until_it_is_stopped(node: &Node) -> Result<()> {
    let mut wide = console(node, "wide")?;
    wide.log().wait_for(GUEST_READY, SOON)?;
    wide.input("halt -f\n")?;
    wide.log().wait_for("System halted", SOON)?;
    let vm = node.call(node.client().vm("wide"))?;
    ensure!(vm.status.state == VmState::Running, "{vm:?}");
    node.axctl(&["vm", "stop", "wide", "--force", "--wait"])?;
    let vm = wait_vm(node, "wide", VmState::Stopped, SOON)?;
    ensure!(vm.status.exit.as_deref() == Some("power cut"), "{vm:?}");
    Ok(())
}

fn more_memory_than_there_is_is_refused(node: &Node) -> Result<()> {
    let much = node.try_axctl(&[
        "vm",
        "run",
        "much",
        "--class",
        "dedicated",
        "--memory",
        "512M",
        "--page-size",
        "2M",
    ])?;
    ensure!(
        !much.status.success()
            && much
                .stderr
                .contains("node 0: pages of 2MiB: 256 wanted, 192 free of 192")
            && much.stderr.contains("possible: memory = \"384MiB\""),
        "{much:?}"
    );
    Ok(())
}

fn everything_is_given_back(node: &Node, empty: &Capacity) -> Result<()> {
    Ok(node.poll("everything to be free again", SOON, |node| {
        let capacity = node.call(node.client().capacity())?;
        let free = |capacity: &Capacity| -> Vec<_> {
            let nodes = capacity.nodes.iter();
            nodes
                .map(|node| (node.dedicated_free.clone(), node.hugepages.clone()))
                .collect()
        };
        Ok(if free(&capacity) == free(empty) {
            Poll::Ready(())
        } else {
            Poll::Pending(format!("{capacity:?}"))
        })
    })?)
}

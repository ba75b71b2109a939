//! Guests have disks that keep what was written and networks that lead to each other and to the node; they are told what to
//! do by cloud-init's disk, and stand still when they are asked to.

use anyhow::{Context, Result, ensure};
use axion_api::vm::{Pause, VmState};
use axion_e2e::{GUEST_BOOT, GUEST_READY, SOON, boot, console, wait_vm};
use axion_lab::command::Program;
use axion_lab::{Node, Spec};

/// The node's address in the guests' network.
const HOST: &str = "10.77.0.1";

#[test]
fn guests_have_disks_and_networks() -> Result<()> {
    let (_machine, node) = boot(Spec::new("guest-devices").config_with_token(""))?;
    a_volume_keeps_what_was_written(&node)?;
    what_is_used_stays(&node)?;
    two_guests_reach_each_other_and_the_node(&node)?;
    a_guest_stands_still_and_goes_on(&node)?;
    cloud_init_finds_its_disk(&node)?;
    nothing_is_left_behind(&node)
}

/// A guest with its shell there.
fn guest(node: &Node, name: &str, devices: &[&str]) -> Result<Program> {
    let mut run = vec!["vm", "run", name];
    run.extend(devices);
    node.axctl(&run)?;
    ready(node, name)
}

fn ready(node: &Node, name: &str) -> Result<Program> {
    let console = console(node, name)?;
    console.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    Ok(console)
}

/// Runs a command in the guest, which must succeed. The number that is waited for is not in what is typed.
fn inside(guest: &mut Program, command: &str) -> Result<()> {
    let seen = guest.log().last().context("the console is empty")?;
    guest.input(&format!("{command} && echo done=$((6*7))\n"))?;
    guest
        .log()
        .wait_for_after(&seen, "done=42", SOON)
        .with_context(|| command.to_owned())?;
    Ok(())
}

fn a_volume_keeps_what_was_written(node: &Node) -> Result<()> {
    node.axctl(&["volume", "create", "data", "--size", "64MiB"])?;
    let mut keeper = guest(node, "keeper", &["--disk", "volume=data"])?;
    inside(&mut keeper, "test $(cat /sys/block/vda/size) = 131072")?;
    inside(&mut keeper, "test $(cat /sys/block/vda/serial) = data")?;
    // The last block, and one that is not aligned to the host's pages.
    for seek in [131_071, 7] {
        let write = format!("echo kept-{seek} | dd of=/dev/vda bs=512 seek={seek} conv=sync,notrunc");
        inside(&mut keeper, &write)?;
    }
    inside(&mut keeper, "sync")?;
    node.axctl(&["vm", "stop", "keeper", "--wait"])?;
    node.axctl(&["vm", "start", "keeper", "--wait"])?;
    let mut keeper = ready(node, "keeper")?;
    for skip in [131_071, 7] {
        let read = format!("dd if=/dev/vda bs=512 skip={skip} count=1 | grep -q kept-{skip}");
        inside(&mut keeper, &read)?;
    }
    its_stats_are_for_people_too(node)?;
    let volume = node.call(node.client().volume("data"))?;
    let allocated = volume.allocated.context("nobody knows what it takes")?;
    ensure!(allocated > 0 && allocated < 32 << 20, "{volume:?}");
    Ok(())
}

fn its_stats_are_for_people_too(node: &Node) -> Result<()> {
    let shown = node.axctl(&["vm", "stats", "keeper"])?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = shown.lines().map(words).collect();
    let starts = |start: &[&str]| {
        let found = lines.iter().find(|line| {
            line.iter()
                .map(String::as_str)
                .take(start.len())
                .eq(start.iter().copied())
        });
        found.with_context(|| format!("no line begins with {start:?}:\n{shown}"))
    };
    starts(&["CPU", "time"])?;
    starts(&["VCPU", "CPU", "TIME", "STEAL", "EXITS"])?;
    starts(&["0"])?;
    for (reason, to) in [("halt", "KVM"), ("port-write", "VMM")] {
        let line = starts(&[reason, to])?;
        let count: u64 = line.last().context("no count")?.parse()?;
        ensure!(count > 0, "{shown}");
    }
    let reads: u64 = starts(&["data"])?.get(1).context("no reads")?.parse()?;
    ensure!(reads > 0, "{shown}");
    starts(&["data", "reads"])?;
    Ok(())
}

fn what_is_used_stays(node: &Node) -> Result<()> {
    let error = node
        .attempt(node.client().delete_volume("data"))
        .err()
        .context("a volume was deleted under its VM")?;
    ensure!(error.status() == Some(409), "{error}");
    node.axctl(&["vm", "stop", "keeper", "--force", "--wait"])?;
    node.axctl(&["vm", "delete", "keeper"])?;
    node.axctl(&["volume", "delete", "data", "--yes"])?;
    Ok(())
}

fn two_guests_reach_each_other_and_the_node(node: &Node) -> Result<()> {
    let address = format!("{HOST}/24");
    node.axctl(&["network", "create", "lab", "--address", &address])?;
    let mut one = guest(node, "one", &["--net", "lab"])?;
    let mut two = guest(node, "two", &["--net", "lab,mac=02:00:00:00:00:02"])?;
    for (guest, name, address) in [(&mut one, "one", "10.77.0.2"), (&mut two, "two", "10.77.0.3")] {
        let vm = node.call(node.client().vm(name))?;
        let net = vm.status.nets.first().context("the VM has no interface")?;
        inside(
            guest,
            &format!("test $(cat /sys/class/net/eth0/address) = {}", net.mac),
        )?;
        inside(guest, &format!("ip address add {address}/24 dev eth0"))?;
        inside(guest, "ip link set eth0 up")?;
        inside(guest, &format!("ping -c 3 -W 10 {HOST}"))?;
    }
    inside(&mut one, "ping -c 3 -W 10 10.77.0.3")?;
    inside(&mut two, "ping -c 3 -W 10 10.77.0.2")?;
    let network = node.call(node.client().network("lab"))?;
    ensure!(network.ports.len() == 2, "{network:?}");
    let stats = node.call(node.client().vm_stats("one"))?;
    let net = stats.nets.first().context("the VM has no interface")?;
    ensure!(net.receive_packets > 0 && net.send_packets > 0, "{stats:?}");
    let metrics = node.call(node.client().metrics())?;
    ensure!(
        metrics.contains("axion_vm_net_send_packets_total{vm=\"one\""),
        "{metrics}"
    );
    for name in ["one", "two"] {
        node.axctl(&["vm", "stop", name, "--force", "--wait"])?;
        node.axctl(&["vm", "delete", name])?;
    }
    Ok(())
}

fn a_guest_stands_still_and_goes_on(node: &Node) -> Result<()> {
    let mut still = guest(node, "still", &["--net", "lab"])?;
    node.axctl(&["vm", "pause", "still"])?;
    let vm = wait_vm(node, "still", VmState::Paused, SOON)?;
    ensure!(vm.status.pause == Some(Pause::Request), "{vm:?}");
    let seen = still.log().last().context("the console is empty")?;
    still.input("echo awake=$((6*7))\n")?;
    // A shell that runs would have answered within these round trips.
    for _ in 0..5 {
        node.axctl(&["vm", "show", "still"])?;
    }
    ensure!(still.log().find("awake=42").is_none(), "a paused guest answered");
    node.axctl(&["vm", "resume", "still"])?;
    still.log().wait_for_after(&seen, "awake=42", SOON)?;
    wait_vm(node, "still", VmState::Running, SOON)?;
    node.axctl(&["vm", "stop", "still", "--force", "--wait"])?;
    node.axctl(&["vm", "delete", "still"])?;
    Ok(())
}

fn cloud_init_finds_its_disk(node: &Node) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "#cloud-config\nhostname: told\n")?;
    let path = file.path().to_str().context("a path that is no text")?;
    let mut told = guest(node, "told", &["--user-data", path])?;
    inside(&mut told, "mkdir -p /seed && mount -t vfat -o ro /dev/vda /seed")?;
    inside(&mut told, "grep -q 'hostname: told' /seed/user-data")?;
    inside(&mut told, "grep -q 'local-hostname: told' /seed/meta-data")?;
    inside(&mut told, "test $(cat /sys/block/vda/ro) = 1")?;
    node.axctl(&["vm", "stop", "told", "--force", "--wait"])?;
    node.axctl(&["vm", "delete", "told"])?;
    Ok(())
}

fn nothing_is_left_behind(node: &Node) -> Result<()> {
    let network = node.call(node.client().network("lab"))?;
    ensure!(network.ports.is_empty(), "taps were left: {network:?}");
    node.axctl(&["network", "delete", "lab"])?;
    ensure!(node.call(node.client().networks())?.is_empty());
    ensure!(node.call(node.client().volumes())?.is_empty());
    Ok(())
}

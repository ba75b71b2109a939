//! A guest's memory grows and shrinks while it runs, by virtio-mem and by the balloon; what a node has not left is refused. One that
//! halts ends.

use anyhow::{Context, Result, ensure};
use axion_api::vm::{Vm, VmState};
use axion_api::vmm::ResetCause;
use axion_e2e::{GUEST_BOOT, GUEST_READY, SOON, boot, console, inside, metric, wait_vm};
use axion_lab::command::Program;
use axion_lab::deadline::Poll;
use axion_lab::{Node, Spec};

const MIB: u64 = 1 << 20;

#[test]
fn memory_comes_and_goes() -> Result<()> {
    let (_machine, node) = boot(Spec::new("guest-memory").config_with_token(""))?;
    node.axctl(&[
        "vm",
        "run",
        "grow",
        "--memory",
        "128M",
        "--memory-max",
        "1152M",
        "--balloon",
        "--vsock",
        "--virtio-console",
    ])?;
    let mut guest = console(&node, "grow")?;
    guest.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    it_grows(&node, &mut guest)?;
    its_console_is_timed(&node)?;
    it_shrinks(&node, &mut guest)?;
    what_is_not_there_is_refused(&node)?;
    its_balloon_takes_and_its_sockets_answer(&node)?;
    a_reset_takes_back_what_came_and_asks_again(&node, &guest)?;
    a_guest_that_halts_ends(&node, &mut guest)
}

/// Waits until the guest has from `least` to `most` MiB, by the VMM's account.
fn wait_for_memory(node: &Node, least: u64, most: u64) -> Result<Vm> {
    let what = format!("the guest to have {least} to {most} MiB");
    Ok(node.poll(&what, SOON, |node| {
        let vm = node.call(node.client().vm("grow"))?;
        let memory = vm.status.memory;
        let present = memory.as_ref().and_then(|memory| memory.present);
        Ok(match present {
            Some(present) if (least..=most).contains(&(present.0 / MIB)) => Poll::Ready(vm),
            _ => Poll::Pending(format!("{memory:?}")),
        })
    })?)
}

/// Bytes of ordinary memory that the VM has of the node.
fn reserved(node: &Node) -> Result<u64> {
    let capacity = node.call(node.client().capacity())?;
    let reservation = capacity.reservations.iter().find(|held| held.vm == "grow");
    let reservation = reservation.context("the VM has no place")?;
    Ok(reservation.placement.nodes.iter().map(|part| part.memory).sum())
}

fn total(comparison: &str) -> String {
    format!("grep MemTotal /proc/meminfo && test $(awk '/MemTotal/{{print $2}}' /proc/meminfo) {comparison}")
}

fn it_grows(node: &Node, guest: &mut Program) -> Result<()> {
    inside(guest, &total("-lt 131072"))?;
    ensure!(reserved(node)? == 128 * MIB);
    let told = node.axctl(&["vm", "resize", "grow", "--memory", "512M", "--wait"])?;
    ensure!(told.contains("grow has 512MiB"), "{told}");
    ensure!(reserved(node)? == 512 * MIB);
    // 384 MiB came, of which the guest's kernel takes some to describe them.
    inside(guest, &total("-gt 470000"))?;
    // And it is memory.
    inside(guest, "mkdir -p /full && mount -t tmpfs -o size=300m none /full")?;
    inside(guest, "dd if=/dev/zero of=/full/file bs=1M count=280")?;
    inside(guest, "umount /full")?;
    let shown = node.axctl(&["vm", "show", "grow"])?;
    ensure!(
        shown.contains("512MiB of 512MiB that it is to have; up to 1152MiB by steps of 2MiB"),
        "{shown}"
    );
    Ok(())
}

/// By virtio-console, both directions of which have been used by now.
fn its_console_is_timed(node: &Node) -> Result<()> {
    for direction in ["print", "type"] {
        let count = metric(
            node,
            &format!("axion_vm_console_{direction}_seconds_count{{vm=\"grow\"}}"),
        )?;
        ensure!(count > 0.0, "{direction} {count}");
    }
    let stats = node.call(node.client().vm_stats("grow"))?;
    let console = stats.console;
    ensure!(
        console.printed_bytes > console.typed_bytes && console.typed_bytes > 0,
        "{stats:?}"
    );
    ensure!(console.type_times.longest_ns > 0, "{stats:?}");
    let shown = node.axctl(&["vm", "stats", "grow"])?;
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    ensure!(
        ["console prints", "console types"]
            .iter()
            .all(|start| shown.lines().any(|line| words(line) == *start)),
        "{shown}"
    );
    Ok(())
}

fn it_shrinks(node: &Node, guest: &mut Program) -> Result<()> {
    node.axctl(&["vm", "resize", "grow", "--memory", "256M"])?;
    // Pages that the kernel cannot move keep their blocks.
    let vm = wait_for_memory(node, 256, 288)?;
    inside(guest, &total("-lt 300000"))?;
    let present = vm.status.memory.and_then(|memory| memory.present);
    let expected = if present.is_some_and(|present| present.0 == 256 * MIB) {
        256 * MIB
    } else {
        512 * MIB
    };
    Ok(node.poll("the place to be as large as the guest", SOON, |node| {
        let held = reserved(node).unwrap_or_default();
        Ok(if held == expected {
            Poll::Ready(())
        } else {
            Poll::Pending(format!("{held}"))
        })
    })?)
}

fn what_is_not_there_is_refused(node: &Node) -> Result<()> {
    let never = node.try_axctl(&["vm", "resize", "grow", "--memory", "2G"])?;
    ensure!(
        !never.status.success()
            && never
                .stderr
                .contains("allowed are 128MiB to 1152MiB, by steps of 2MiB"),
        "{never:?}"
    );
    node.axctl(&["vm", "run", "other", "--memory", "64M", "--memory-max", "1088M"])?;
    node.axctl(&["vm", "resize", "other", "--memory", "1088M"])?;
    let now = node.try_axctl(&["vm", "resize", "grow", "--memory", "1152M"])?;
    ensure!(
        !now.status.success() && now.stderr.contains("node 0: memory: ") && now.stderr.contains(" wanted, "),
        "{now:?}"
    );
    node.axctl(&["vm", "stop", "other", "--force", "--wait"])?;
    node.axctl(&["vm", "delete", "other"])?;
    Ok(())
}

fn its_balloon_takes_and_its_sockets_answer(node: &Node) -> Result<()> {
    node.axctl(&["vm", "balloon", "grow", "32MiB"])?;
    node.poll("the balloon to have 32 MiB", SOON, |node| {
        let balloon = node.call(node.client().vm_stats("grow"))?.balloon;
        Ok(match balloon {
            Some(balloon) if balloon.actual == 32 * MIB => Poll::Ready(()),
            other => Poll::Pending(format!("{other:?}")),
        })
    })?;
    node.axctl(&["vm", "balloon", "grow", "0B"])?;
    // The guest's driver says that nobody listens, at once.
    let refused = node.try_axctl(&["vm", "vsock", "grow", "22"])?;
    ensure!(!refused.status.success(), "{refused:?}");
    let stats = node.call(node.client().vm_stats("grow"))?;
    ensure!(
        stats
            .vsock
            .is_some_and(|vsock| vsock.to_guest > 0 || vsock.resets > 0)
    );
    Ok(())
}

fn a_reset_takes_back_what_came_and_asks_again(node: &Node, guest: &Program) -> Result<()> {
    let seen = guest.log().last().context("the console is empty")?;
    node.axctl(&["vm", "reset", "grow"])?;
    guest.log().wait_for_after(&seen, GUEST_READY, GUEST_BOOT)?;
    wait_for_memory(node, 256, 256)?;
    // The VMM is asked from time to time.
    node.poll("the cause of the reset", SOON, |node| {
        let resets = node.call(node.client().vm("grow"))?.status.resets;
        Ok(match resets.as_ref().and_then(|resets| resets.last) {
            Some(ResetCause::Request) => Poll::Ready(()),
            _ => Poll::Pending(format!("{resets:?}")),
        })
    })?;
    Ok(())
}

fn a_guest_that_halts_ends(node: &Node, guest: &mut Program) -> Result<()> {
    guest.input("halt -f\n")?;
    let vm = wait_vm(node, "grow", VmState::Stopped, SOON)?;
    ensure!(vm.status.exit.as_deref() == Some("guest halted"), "{vm:?}");
    Ok(())
}

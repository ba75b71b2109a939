//! What happens to disks while the node works: one is pulled and replaced, the power fails under writes, another machine gets
//! them. What was acknowledged is there afterwards, and nothing is taken over that somebody else may have.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::client::Precondition;
use axion_api::storage::{Health, Pool, ScanState};
use axion_api::volume::VolumeSpec;
use axion_e2e::{SOON, boot, contents};
use axion_lab::deadline::Poll;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Node, Spec, Token};

const UUID: &str = "7d0a4c1e-9b7e-4d0c-8f52-2b8a1f6d3c01";
const OTHER_UUID: &str = "7d0a4c1e-9b7e-4d0c-8f52-2b8a1f6d3c02";
const MIRROR: &str = "[storage]\nsettle = \"5s\"\n[[storage.pools]]\nname = \"tank\"\nlayout = \"mirror\"\n\
                      disks = [\"serial:axion-0\", \"serial:axion-1\"]\n";
/// The smallest cache that may be asked for.
const SMALL_CACHE: &str = "[profile.memory]\narc_limit = \"64MiB\"\n";
const ARC_LIMIT: u64 = 64 << 20;
/// Bytes of a disk.
const DISK: u64 = 512 << 20;
/// A disk is pulled, a resilver runs.
const LATER: Duration = Duration::from_secs(120);
/// Volumes whose making is acknowledged before the power fails.
const ACKNOWLEDGED: usize = 6;

fn blank_disk(path: PathBuf) -> Result<PathBuf> {
    File::create(&path)?.set_len(DISK)?;
    Ok(path)
}

fn blank_disks(directory: &Path) -> Result<[PathBuf; 2]> {
    Ok([blank_disk(directory.join("0"))?, blank_disk(directory.join("1"))?])
}

fn machine(name: &str, uuid: &str, token: &Token, bus: DiskBus, disks: &[PathBuf], more: &str) -> Spec {
    let spec = Spec::new(name).uuid(uuid).cpus(2, 1).token(token.clone());
    let with_disk = |spec: Spec, disk: &PathBuf| spec.disk(bus, DiskContent::File(disk.clone()));
    disks
        .iter()
        .fold(spec, with_disk)
        .config_with_token(&format!("{MIRROR}{more}"))
}

fn put_volume(node: &Node, name: &str) -> Result<()> {
    let spec = VolumeSpec::of("8MiB".parse().map_err(anyhow::Error::msg)?);
    node.call(node.client().put_volume(name, &spec, Precondition::Absent))?;
    Ok(())
}

fn wait_pool(node: &Node, what: &str, is: impl Fn(&Pool) -> bool) -> Result<Pool> {
    Ok(node.poll(what, LATER, |node| {
        let pool = node.call(node.client().pool("tank"))?;
        Ok(if is(&pool) {
            Poll::Ready(pool)
        } else {
            Poll::Pending(format!("{pool:?}"))
        })
    })?)
}

/// The value of a metric without labels.
fn metric(node: &Node, name: &str) -> Result<u64> {
    let text = node.call(node.client().metrics())?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let value = lines.find_map(|rest| rest.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name} in\n{text}"))?.parse()?)
}

#[test]
fn a_pulled_disk_is_replaced_while_the_node_works() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disks = blank_disks(directory.path())?;
    let token = Token::random();
    let spec = machine("storage-pulled", UUID, &token, DiskBus::NvmeSlot, &disks, "");
    let (machine, node) = boot(spec)?;
    machine.log().wait_for("pool `tank` was made", SOON)?;
    let (before, meanwhile) = (contents::made_of(1), contents::made_of(2));
    contents::put_volume(&node, "before", &before, directory.path())?;

    machine.pull_disk(1)?;
    contents::put_volume(&node, "meanwhile", &meanwhile, directory.path())?;
    machine
        .log()
        .wait_for("pool `tank`: it is degraded, was online", LATER)?;
    let text = node.call(node.client().metrics())?;
    ensure!(
        text.contains("axion_pool_state{pool=\"tank\",state=\"degraded\"} 1"),
        "{text}"
    );
    node.poll("the disk to be gone", LATER, |node| {
        let disks = node.call(node.client().pool_disks())?;
        let gone = !disks
            .iter()
            .any(|disk| disk.disk.serial.as_deref() == Some("axion-1"));
        Ok(if gone {
            Poll::Ready(())
        } else {
            Poll::Pending(format!("{disks:?}"))
        })
    })?;

    let new = blank_disk(directory.path().join("2"))?;
    machine.insert_disk(1, &new, "axion-2")?;
    let pool = node.call(node.client().pool("tank"))?;
    let lost = devices(&pool)
        .into_iter()
        .find(|(_, state)| *state != Health::Online)
        .with_context(|| format!("no device is lost: {pool:?}"))?;
    node.poll("the new disk", SOON, |node| {
        let tried = node.try_axctl(&["pool", "replace", "tank", &lost.0, "serial:axion-2"])?;
        Ok(if tried.status.success() {
            Poll::Ready(())
        } else {
            Poll::Pending(tried.stderr)
        })
    })?;
    wait_pool(&node, "the pool to be whole again", |pool| {
        let done = |pool: &Pool| {
            pool.scan
                .as_ref()
                .is_none_or(|scan| scan.state == ScanState::Finished)
        };
        pool.state == Health::Online && devices(pool).len() == 2 && done(pool)
    })?;
    for (volume, kept) in [("before", &before), ("meanwhile", &meanwhile)] {
        let snapshot = contents::snapshot(&node, volume, "after")?;
        contents::are_in(&node, &snapshot, kept, directory.path())?;
    }
    machine.pull_plug()?;
    Ok(())
}

/// Id and health of every device.
fn devices(pool: &Pool) -> Vec<(String, Health)> {
    let mut found = Vec::new();
    let mut rest: Vec<_> = pool.vdevs.iter().collect();
    while let Some(vdev) = rest.pop() {
        if vdev.children.is_empty() {
            found.push((vdev.guid.clone(), vdev.state));
        }
        rest.extend(&vdev.children);
    }
    found
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut_and_stays_with_its_host() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disks = blank_disks(directory.path())?;
    let token = Token::random();
    let spec = |name: &str, uuid: &str| machine(name, uuid, &token, DiskBus::Nvme, &disks, SMALL_CACHE);
    let flushed = contents::made_of(3);
    let made = {
        let (machine, node) = boot(spec("storage-cut", UUID))?;
        machine.log().wait_for("pool `tank` was made", SOON)?;
        the_cache_stays_small(&node, directory.path())?;
        contents::put_volume(&node, "flushed", &flushed, directory.path())?;
        let mut made = Vec::new();
        for n in 0..ACKNOWLEDGED {
            let name = format!("kept-{n}");
            put_volume(&node, &name)?;
            made.push(name);
        }
        // The last one is on its way when the power fails.
        std::thread::scope(|scope| {
            scope.spawn(|| put_volume(&node, "late"));
            machine.pull_plug()
        })?;
        made
    };
    {
        let (machine, node) = boot(spec("storage-after-cut", UUID))?;
        machine.log().wait_for("pool `tank` is imported", SOON)?;
        for name in &made {
            node.call(node.client().volume(name))?;
        }
        let snapshot = contents::snapshot(&node, "flushed", "after")?;
        contents::are_in(&node, &snapshot, &flushed, directory.path())?;
        node.axctl(&["pool", "scrub", "tank"])?;
        let pool = wait_pool(&node, "the scrub's end", |pool| {
            pool.scan
                .as_ref()
                .is_some_and(|scan| scan.state == ScanState::Finished)
        })?;
        let errors = pool.scan.as_ref().map_or(0, |scan| scan.errors);
        ensure!(
            pool.state == Health::Online && pool.data_errors == 0 && errors == 0,
            "{pool:?}"
        );
        // Nothing is given back.
        machine.pull_plug()?;
    }
    let (machine, node) = boot(spec("storage-other-host", OTHER_UUID))?;
    machine
        .log()
        .wait_for("pool `tank` was last used by host", SOON)?;
    ensure!(
        !node.call(node.client().host())?.persistent_state,
        "a pool was taken over"
    );
    let found = node.call(node.client().found_pools())?;
    ensure!(
        found
            .iter()
            .any(|pool| pool.name == "tank" && pool.foreign_host.is_some()),
        "{found:?}"
    );
    let refused = node.try_axctl(&["pool", "import", "tank"])?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("last used by host"),
        "{refused:?}"
    );
    node.axctl(&["pool", "import", "tank", "--take-over"])?;
    let pool = node.call(node.client().pool("tank"))?;
    ensure!(pool.state == Health::Online, "{pool:?}");
    machine.pull_plug()?;
    Ok(())
}

/// An image twice as large as the cache may be is written and read.
fn the_cache_stays_small(node: &Node, directory: &Path) -> Result<()> {
    let path = directory.join("large.img");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(1 << 20);
    let mut file = File::create(&path)?;
    for _ in 0..96 {
        block.clear();
        while block.len() < 1 << 20 {
            // Nothing that compression would make small.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    node.axctl(&["image", "upload", &path.to_string_lossy()])?;
    let limit = metric(node, "axion_arc_limit_bytes")?;
    ensure!(limit == ARC_LIMIT, "the cache may grow to {limit} bytes");
    let size = metric(node, "axion_arc_size_bytes")?;
    ensure!(size <= limit, "the cache has {size} bytes of {limit}");
    Ok(())
}

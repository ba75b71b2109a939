//! Pools: a declared one is made of empty disks and of no others, the node's state lives on it, and a disk that is missing is
//! said and stops nothing.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use axion_api::client::Precondition;
use axion_api::host::PowerAction;
use axion_api::init::{Outcome, Phase};
use axion_api::storage::{KeyState, Snapshot};
use axion_api::volume::{VolumeKind, VolumeSpec};
use axion_core::profile::ItemState;
use axion_e2e::{GUEST_BOOT, GUEST_READY, SOON, boot, console, contents, inside};
use axion_lab::command::Program;
use axion_lab::machine::READY;
use axion_lab::screen::key;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Machine, Node, Spec, Token};

const UUID: &str = "0b9dfb2b-6f3f-4a53-8c3e-5a0f6c1d2e3f";
const MIRROR: &str = "[storage]\nsettle = \"5s\"\n[[storage.pools]]\nname = \"tank\"\nlayout = \"mirror\"\n\
                      disks = [\"serial:axion-0\", \"serial:axion-1\"]\n\
                      [storage.encryption.secrets]\n\"tank/declared\" = \"correct horse\"\n";
/// What unlocks the encrypted datasets.
const PASSPHRASE: &str = "correct horse";
/// Another node's pool.
const PEER: &str = "[[storage.pools]]\nname = \"far\"\nlayout = \"stripe\"\ndisks = [\"serial:axion-0\"]\n";
/// Bytes of a disk: enough for a pool with what ZFS keeps in reserve.
const DISK: u64 = 512 << 20;
/// What somebody has written to a disk: the mark of an ext4 file system, at 1 KiB and 56 bytes.
const FOREIGN: (u64, [u8; 2]) = (1024 + 56, [0x53, 0xef]);
/// How names of ZFS's threads in the kernel begin.
const ZFS_THREADS: [&str; 8] = ["arc_", "dbu", "dp_", "spl_", "txg_", "vdev_", "z_", "zvol"];

/// A machine with these disks; it is the same one in every test.
fn machine(name: &str, token: &Token, disks: &[PathBuf]) -> Spec {
    let spec = Spec::new(name).uuid(UUID).cpus(4, 1).token(token.clone());
    let with_disk = |spec: Spec, disk: &PathBuf| spec.disk(DiskBus::Nvme, DiskContent::File(disk.clone()));
    disks.iter().fold(spec, with_disk).config_with_token(MIRROR)
}

fn blank_disk(path: PathBuf) -> Result<PathBuf> {
    File::create(&path)?.set_len(DISK)?;
    Ok(path)
}

#[test]
fn a_declared_mirror_keeps_the_nodes_state_and_does_without_a_disk() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disks = [
        blank_disk(directory.path().join("0"))?,
        blank_disk(directory.path().join("1"))?,
    ];
    let token = Token::random();
    {
        let (machine, node) = boot(machine("storage", &token, &disks))?;
        machine.log().wait_for("pool `tank` was made", SOON)?;
        ensure!(phase(&node, "storage")?.outcome == Outcome::Ok);
        state_is_on_the_pool(&node, true)?;
        the_cache_keeps_to_its_limit(&node)?;
        no_thread_of_zfs_runs_on_the_workloads_cpus(&node)?;
        let spec = VolumeSpec::of("8MiB".parse().map_err(anyhow::Error::msg)?);
        node.call(node.client().put_volume("kept", &spec, Precondition::Absent))?;
        a_volume_of_the_pool_is_a_zvol_with_snapshots(&node)?;
        a_guest_keeps_what_it_wrote_on_a_zvol(&node)?;
        a_dataset_is_copied_and_what_breaks_off_leaves_nothing(&machine, &node)?;
        properties_are_those_that_are_documented(&node)?;
        let kept = contents::made_of(4);
        let secret = an_encrypted_dataset_is_filled(&node, &kept, directory.path())?;
        a_snapshot_goes_to_another_node(&node, &kept, directory.path())?;
        let (ready, fingerprint) = (machine.log().wait_for(READY, SOON)?, node.fingerprint());

        node.call(node.client().power(PowerAction::Reboot))?;
        let node = machine.wait_ready_after(&ready)?;
        machine
            .log()
            .wait_for_after(&ready, "pool `tank` is imported", SOON)?;
        ensure!(
            node.fingerprint() == fingerprint,
            "the agent made itself another CA"
        );
        the_volume_is_there(&node)?;
        a_locked_dataset_takes_its_passphrase_on_the_console(&machine, &node)?;
        contents::are_in(&node, &secret, &kept, directory.path())?;
        power_off(&machine, &node)?;
    }
    let (machine, node) = boot(machine(
        "storage-degraded",
        &token,
        disks.get(..1).unwrap_or_default(),
    ))?;
    machine.log().wait_for("pool `tank` is degraded", SOON)?;
    let storage = phase(&node, "storage")?;
    ensure!(storage.outcome == Outcome::Degraded, "{storage:?}");
    state_is_on_the_pool(&node, true)?;
    the_volume_is_there(&node)?;
    power_off(&machine, &node)
}

#[test]
fn a_disk_that_holds_something_is_left_alone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disks = [
        blank_disk(directory.path().join("0"))?,
        blank_disk(directory.path().join("1"))?,
    ];
    let [_, foreign] = &disks;
    let mut file = File::options().write(true).open(foreign)?;
    file.seek(SeekFrom::Start(FOREIGN.0))?;
    file.write_all(&FOREIGN.1)?;
    drop(file);
    let before = blocks_in_use(&disks)?;

    let (machine, node) = boot(machine("storage-foreign", &Token::random(), &disks))?;
    let line = machine.log().wait_for("pool `tank`: ", SOON)?;
    ensure!(
        line.text.contains("ext4") && line.text.contains("axion-1"),
        "{}",
        line.text
    );
    let storage = phase(&node, "storage")?;
    ensure!(storage.outcome == Outcome::Degraded, "{storage:?}");
    state_is_on_the_pool(&node, false)?;
    power_off(&machine, &node)?;
    ensure!(
        blocks_in_use(&disks)? == before,
        "something was written to a disk"
    );
    Ok(())
}

fn phase(node: &Node, name: &str) -> Result<Phase> {
    let report = node.call(node.client().boot())?;
    let mut phases = report.phases.into_iter();
    phases
        .find(|phase| phase.name == name)
        .with_context(|| format!("no phase `{name}`"))
}

fn state_is_on_the_pool(node: &Node, wanted: bool) -> Result<()> {
    let host = node.call(node.client().host())?;
    ensure!(host.persistent_state == wanted, "{host:?}");
    Ok(())
}

fn the_volume_is_there(node: &Node) -> Result<()> {
    node.call(node.client().volume("kept"))?;
    Ok(())
}

/// Made of an image, kept, set back, branched off, grown: by what the kernel and ZFS say of it.
fn a_volume_of_the_pool_is_a_zvol_with_snapshots(node: &Node) -> Result<()> {
    let volume = node.call(node.client().volume("kept"))?;
    ensure!(volume.kind == VolumeKind::Zvol, "{volume:?}");
    let zvol = volume.dataset.context("a zvol has a name")?;
    let dataset = node.call(node.client().dataset(&zvol))?;
    ensure!(
        dataset.device.is_some() && dataset.block_size == 16 << 10,
        "{dataset:?}"
    );
    node.axctl(&["volume", "snapshot", "kept@clean"])?;
    node.axctl(&[
        "volume",
        "create",
        "branch",
        "--from",
        "kept@clean",
        "--size",
        "16MiB",
    ])?;
    let branch = node.call(node.client().volume("branch"))?;
    let branch = node.call(node.client().dataset(&branch.dataset.context("no zvol")?))?;
    ensure!(
        branch.origin == Some(format!("{zvol}@clean")) && branch.volume_size == Some(16 << 20),
        "{branch:?}"
    );
    let refused = node.attempt(node.client().destroy_dataset(&zvol, true)).err();
    ensure!(
        refused.and_then(|error| error.status()) == Some(409),
        "a volume was destroyed"
    );
    node.axctl(&["volume", "rollback", "kept@clean", "--yes"])?;
    node.axctl(&["volume", "delete", "branch", "--yes"])?;
    node.axctl(&["volume", "delete-snapshot", "kept@clean", "--yes"])?;
    Ok(())
}

fn a_guest_keeps_what_it_wrote_on_a_zvol(node: &Node) -> Result<()> {
    node.axctl(&["volume", "create", "disk", "--size", "16MiB"])?;
    let volume = node.call(node.client().volume("disk"))?;
    ensure!(volume.kind == VolumeKind::Zvol, "{volume:?}");
    node.axctl(&["vm", "run", "keeper", "--disk", "volume=disk"])?;
    let mut keeper = guest(node, "keeper")?;
    inside(&mut keeper, "test $(cat /sys/block/vda/size) = 32768")?;
    // The last block of the zvol, and one that is not aligned to its blocks.
    for seek in [32_767, 7] {
        let write = format!("echo kept-{seek} | dd of=/dev/vda bs=512 seek={seek} conv=sync,notrunc,fsync");
        inside(&mut keeper, &write)?;
    }
    node.axctl(&["vm", "stop", "keeper", "--wait"])?;
    node.axctl(&["vm", "start", "keeper", "--wait"])?;
    let mut keeper = guest(node, "keeper")?;
    for skip in [32_767, 7] {
        let read = format!("dd if=/dev/vda bs=512 skip={skip} count=1 | grep -q kept-{skip}");
        inside(&mut keeper, &read)?;
    }
    node.axctl(&["vm", "stop", "keeper", "--force", "--wait"])?;
    node.axctl(&["vm", "delete", "keeper"])?;
    node.axctl(&["volume", "delete", "disk", "--yes"])?;
    Ok(())
}

/// A guest that was started, its shell there.
fn guest(node: &Node, name: &str) -> Result<Program> {
    let console = console(node, name)?;
    console.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    Ok(console)
}

fn a_dataset_is_copied_and_what_breaks_off_leaves_nothing(machine: &Machine, node: &Node) -> Result<()> {
    node.axctl(&["dataset", "create", "tank/a"])?;
    node.axctl(&["snapshot", "create", "tank/a@1"])?;
    node.axctl(&["dataset", "copy", "tank/a@1", "tank/b"])?;
    node.axctl(&["snapshot", "create", "tank/a@2"])?;
    node.axctl(&["dataset", "copy", "tank/a@2", "tank/b", "--from-snapshot", "1"])?;
    let guid = |name: &str| -> Result<String> {
        let dataset = name.split('@').next();
        let there = node.call(node.client().snapshots(dataset))?;
        let found = there.into_iter().find(|snapshot| snapshot.name == name);
        Ok(found.with_context(|| format!("no {name}"))?.guid)
    };
    ensure!(guid("tank/b@1")? == guid("tank/a@1")? && guid("tank/b@2")? == guid("tank/a@2")?);

    let file = machine.dir().join("a.zfs");
    let path = file.to_string_lossy();
    node.axctl(&["dataset", "send", "tank/a@1", &path])?;
    let sent = std::fs::read(&file)?;
    std::fs::write(&file, sent.get(..sent.len() / 2).unwrap_or_default())?;
    let half = node.try_axctl(&["dataset", "receive", "tank/c", &path])?;
    ensure!(
        !half.status.success() && half.stderr.contains("zfs receive"),
        "{half:?}"
    );
    let there = node.call(node.client().datasets(Some("tank")))?;
    ensure!(there.iter().all(|dataset| dataset.name != "tank/c"), "{there:?}");
    std::fs::write(&file, &sent)?;
    node.axctl(&["dataset", "receive", "tank/c", &path])?;
    ensure!(guid("tank/c@1")? == guid("tank/a@1")?);
    Ok(())
}

/// What docs/storage.md says is set without asking, by what ZFS says of the pool and of datasets for each use.
fn properties_are_those_that_are_documented(node: &Node) -> Result<()> {
    let pool = node.call(node.client().pool("tank"))?;
    // The lab's disks say that they are flash with sectors of 512 bytes.
    ensure!(pool.ashift == Some(12) && pool.autotrim, "{pool:?}");
    let config = node.call(node.client().config())?;
    let scrub = config.values.iter().find(|value| value.key == "storage.scrub");
    ensure!(scrub.is_some_and(|scrub| scrub.value == "\"30d\""), "{scrub:?}");
    for (name, purpose, block, compression) in [
        ("tank/general", "general", 128 << 10, "lz4"),
        ("tank/database", "database", 16 << 10, "lz4"),
        ("tank/archive", "archive", 1 << 20, "zstd"),
    ] {
        node.axctl(&["dataset", "create", name, "--for", purpose])?;
        let dataset = node.call(node.client().dataset(name))?;
        ensure!(
            dataset.block_size == block && dataset.compression == compression,
            "{dataset:?}"
        );
        ensure!(
            // ZFS gives `sa` its other name.
            dataset.atime == Some(false) && matches!(dataset.xattr.as_deref(), Some("sa" | "on")),
            "{dataset:?}"
        );
        node.axctl(&["dataset", "delete", name, "--yes"])?;
    }
    let create = ["dataset", "create", "tank/disk", "--size", "16MiB", "--sparse"];
    node.axctl(&[&create[..], &["--for", "stream"]].concat())?;
    let zvol = node.call(node.client().dataset("tank/disk"))?;
    ensure!(
        zvol.block_size == 64 << 10 && zvol.compression == "lz4" && zvol.atime.is_none(),
        "{zvol:?}"
    );
    node.axctl(&["dataset", "delete", "tank/disk", "--yes"])?;
    Ok(())
}

/// A volume with contents, and a copy of it in an encrypted dataset; gives the copy's snapshot. `tank/declared` is one whose key the
/// machine config has.
fn an_encrypted_dataset_is_filled(node: &Node, kept: &[u8], dir: &Path) -> Result<String> {
    let file = dir.join("passphrase");
    std::fs::write(&file, format!("{PASSPHRASE}\n"))?;
    let file = file.to_string_lossy();
    for name in ["tank/secret", "tank/declared"] {
        node.axctl(&["dataset", "create", name, "--passphrase-file", &file])?;
        let dataset = node.call(node.client().dataset(name))?;
        ensure!(dataset.key == Some(KeyState::Available), "{dataset:?}");
    }
    contents::put_volume(node, "source", kept, dir)?;
    let source = contents::snapshot(node, "source", "1")?;
    node.axctl(&["dataset", "copy", &source, "tank/secret/kept"])?;
    let copy = node.call(node.client().dataset("tank/secret/kept"))?;
    ensure!(copy.encryption.is_some(), "{copy:?}");
    let copy = "tank/secret/kept@1";
    contents::are_in(node, copy, kept, dir)?;
    node.axctl(&["dataset", "unload-key", "tank/secret"])?;
    let locked = node.try_axctl(&["dataset", "send", copy, &dir.join("locked.zfs").to_string_lossy()])?;
    ensure!(!locked.status.success(), "{locked:?}");
    node.axctl(&["dataset", "load-key", "tank/secret", "--passphrase-file", &file])?;
    Ok(copy.to_owned())
}

/// After a restart: one that the config has the key of is unlocked by itself, the other one waits for somebody.
fn a_locked_dataset_takes_its_passphrase_on_the_console(machine: &Machine, node: &Node) -> Result<()> {
    let declared = node.call(node.client().dataset("tank/declared"))?;
    ensure!(declared.key == Some(KeyState::Available), "{declared:?}");
    let secret = node.call(node.client().dataset("tank/secret"))?;
    ensure!(secret.key == Some(KeyState::Unavailable), "{secret:?}");
    let screen = machine.screen();
    screen.press("4")?;
    screen.wait_for("Locked datasets", SOON)?;
    screen.press("u")?;
    screen.wait_for("Unlock a dataset", SOON)?;
    screen.press(PASSPHRASE)?;
    screen.press(key::ENTER)?;
    screen.wait_for("The dataset tank/secret is unlocked", SOON)?;
    screen.press("1")?;
    let secret = node.call(node.client().dataset("tank/secret"))?;
    ensure!(secret.key == Some(KeyState::Available), "{secret:?}");
    Ok(())
}

/// Two snapshots, the second as what changed since the first; the nodes know nothing of each other.
fn a_snapshot_goes_to_another_node(node: &Node, kept: &[u8], dir: &Path) -> Result<()> {
    let disk = blank_disk(dir.join("peer"))?;
    let spec = Spec::new("storage-peer")
        .cpus(2, 1)
        .memory_mib(1536)
        .disk(DiskBus::Nvme, DiskContent::File(disk))
        .config_with_token(PEER)
        .beside_others();
    let (peer, far) = boot(spec)?;
    peer.log().wait_for("pool `far` was made", SOON)?;
    let endpoint = far.endpoint();
    // Its token and its proof are in the environment of this command.
    far.axctl(&["login", &endpoint.address.to_string(), "--name", "far"])?;
    let saved = |machine: &Path| machine.join("config/axion/config.toml");
    let here = saved(node.dir());
    std::fs::create_dir_all(here.parent().context("a directory")?)?;
    // With its mode, which keeps others out.
    std::fs::copy(saved(far.dir()), &here)?;

    let first = "tank/axion/zvols/source@1";
    node.axctl(&["dataset", "copy", first, "far/kept", "--to", "far"])?;
    contents::are_in(&far, "far/kept@1", kept, dir)?;
    let second = contents::snapshot(node, "source", "2")?;
    node.axctl(&[
        "dataset",
        "copy",
        &second,
        "far/kept",
        "--from-snapshot",
        "1",
        "--to",
        "far",
    ])?;
    let snapshots = |node: &Node, of: &str| node.call(node.client().snapshots(Some(of)));
    let guid = |snapshots: Vec<Snapshot>| {
        let second = snapshots.into_iter().find(|snapshot| snapshot.snapshot == "2");
        second.map(|snapshot| snapshot.guid)
    };
    let (sent, received) = (
        snapshots(node, "tank/axion/zvols/source")?,
        snapshots(&far, "far/kept")?,
    );
    let (sent, received) = (guid(sent), guid(received));
    ensure!(sent.is_some() && sent == received, "{sent:?} and {received:?}");
    contents::are_in(&far, "far/kept@2", kept, dir)?;
    power_off(&peer, &far)
}

/// The limit is the module's own word, not what it would be given.
fn the_cache_keeps_to_its_limit(node: &Node) -> Result<()> {
    let profile = node.call(node.client().profile())?;
    let mut items = profile.attestation.items.into_iter();
    let limit = items
        .find(|item| item.key == "module.zfs.zfs_arc_max")
        .context("the limit of ZFS's cache is not attested")?;
    ensure!(
        limit.state == ItemState::Ok && limit.effective.parse::<u64>().is_ok(),
        "{limit:?}"
    );
    Ok(())
}

fn no_thread_of_zfs_runs_on_the_workloads_cpus(node: &Node) -> Result<()> {
    let isolated = node.call(node.client().profile())?.plan.isolated;
    ensure!(!isolated.is_empty(), "no CPU is kept for workloads");
    let processes = node.call(node.client().processes_and_kernel_threads())?;
    let is_zfs = |name: &str| ZFS_THREADS.iter().any(|start| name.starts_with(start));
    let threads = processes.iter().filter(|p| p.kernel && is_zfs(&p.name));
    let (astray, home): (Vec<_>, Vec<_>) =
        threads.partition(|thread| !thread.cpus.intersection(&isolated).is_empty());
    ensure!(astray.is_empty(), "{astray:?}");
    ensure!(home.len() > 10, "only {} threads of ZFS: {home:?}", home.len());
    Ok(())
}

fn power_off(machine: &Machine, node: &Node) -> Result<()> {
    node.call(node.client().power(PowerAction::PowerOff))?;
    ensure!(machine.wait_exit()?.success());
    Ok(())
}

/// How much of each sparse file was ever written to.
fn blocks_in_use(disks: &[PathBuf]) -> Result<Vec<u64>> {
    use std::os::unix::fs::MetadataExt;
    let blocks = |disk: &PathBuf| Ok(Path::new(disk).metadata()?.blocks());
    disks.iter().map(blocks).collect()
}

//! A node in trouble: what it tells of itself, what it forgets when it is told to, who gets a shell, and how its last crash is known.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::client::Precondition;
use axion_api::host::PowerAction;
use axion_api::recovery::{Manifest, PartState};
use axion_api::vm::VmSpec;
use axion_api::volume::VolumeSpec;
use axion_e2e::{SOON, boot};
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::screen::key;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Machine, Node, Spec, Token};

const UUID: &str = "5d1f6c9e-3b0a-4c8f-9a57-6e2b1d0c4f38";
/// Bytes of a disk: enough for a pool with what ZFS keeps in reserve.
const DISK: u64 = 512 << 20;
const CONFIG: &str = "hostname = \"rack7\"\n[sysctl]\n\"net.ipv4.tcp_fastopen_key\" = \"00112233-44556677-8899aabb-ccddeeff\"\n\
                      [storage]\nsettle = \"5s\"\n[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\n\
                      disks = [\"serial:axion-0\"]\n";
/// What must not be in a bundle, besides the token and the inline config.
const SECRETS: [&str; 2] = ["00112233-44556677", "hunter2"];
/// A kernel that ends, firmware that keeps its log, a boot.
const CRASH: Duration = Duration::from_secs(150);
/// What a console needs for a key.
const MOMENT: Duration = Duration::from_secs(10);

#[test]
fn a_bundle_tells_all_but_secrets_and_a_reset_forgets_the_state_alone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    File::create(&disk)?.set_len(DISK)?;
    let token = Token::random();
    let spec = Spec::new("recovery")
        .uuid(UUID)
        .token(token.clone())
        .disk(DiskBus::Nvme, DiskContent::File(disk))
        .config_with_token(CONFIG);
    let (machine, node) = boot(spec)?;
    machine.log().wait_for("pool `tank` was made", SOON)?;
    fill(&node)?;
    the_bundle_has_its_parts_and_no_secret(&node, &token, directory.path())?;

    let plan = node.axctl(&["host", "reset", "--scope", "state", "--plan"])?;
    ensure!(
        plan.contains("the disk `kept` of VMs") && plan.contains("the pool `tank`"),
        "{plan}"
    );
    let refused = node.try_axctl(&["host", "reset", "--scope", "state", "--confirm", "rack8"])?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("rack7"),
        "{refused:?}"
    );
    let refused = node.try_axctl(&["host", "reset", "--scope", "config", "--confirm", "rack7"])?;
    ensure!(refused.stderr.contains("keeps no machine config"), "{refused:?}");
    let none = node.try_axctl(&["host", "reset", "--cancel"])?;
    ensure!(none.stderr.contains("no factory reset waits"), "{none:?}");
    node.call(node.client().vm("web"))?;

    let (ready, fingerprint) = (machine.log().wait_for(READY, SOON)?, node.fingerprint());
    node.axctl(&["host", "reset", "--scope", "state", "--confirm", "rack7"])?;
    let node = machine.wait_ready_after(&ready)?;
    machine.log().wait_for_after(
        &ready,
        "factory reset: the node's state on `tank` is destroyed",
        SOON,
    )?;
    ensure!(node.fingerprint() != fingerprint, "the agent kept its CA");
    ensure!(node.call(node.client().vms())?.is_empty());
    ensure!(node.call(node.client().volumes())?.is_empty());
    ensure!(
        node.call(node.client().host())?.persistent_state,
        "no state was made anew"
    );
    let datasets = node.call(node.client().datasets(Some("tank")))?;
    let has = |name: &str| datasets.iter().any(|dataset| dataset.name == name);
    ensure!(has("tank/data") && !has("tank/axion/zvols/kept"), "{datasets:?}");

    // Done once: the next boot forgets nothing.
    node.call(
        node.client()
            .put_vm("web", &VmSpec::default(), Precondition::Absent),
    )?;
    let ready = machine.log().wait_for_after(&ready, READY, SOON)?;
    node.call(node.client().power(PowerAction::Reboot))?;
    let node = machine.wait_ready_after(&ready)?;
    node.call(node.client().vm("web"))?;
    Ok(())
}

/// A VM with a secret, a volume, a dataset that is nobody's.
fn fill(node: &Node) -> Result<()> {
    let spec: VmSpec =
        serde_json::from_str(r##"{"cloud_init":{"user_data":"#cloud-config\npassword: hunter2"}}"##)?;
    node.call(node.client().put_vm("web", &spec, Precondition::Absent))?;
    let size = VolumeSpec::of("8MiB".parse().map_err(anyhow::Error::msg)?);
    node.call(node.client().put_volume("kept", &size, Precondition::Absent))?;
    node.axctl(&["dataset", "create", "tank/data"])?;
    Ok(())
}

/// As the program that people unpack it with sees it.
fn unpack(node: &Node, directory: &Path, name: &str) -> Result<std::path::PathBuf> {
    let file = directory.join(format!("{name}.tar"));
    node.axctl(&["support", "bundle", &file.to_string_lossy()])?;
    let into = directory.join(name);
    std::fs::create_dir(&into)?;
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(&file)
        .arg("--strip-components=1")
        .arg("-C")
        .arg(&into)
        .output()?;
    ensure!(tar.status.success(), "{tar:?}");
    Ok(into)
}

fn the_bundle_has_its_parts_and_no_secret(node: &Node, token: &Token, directory: &Path) -> Result<()> {
    let unpacked = unpack(node, directory, "bundle")?;
    let read = |name: &str| std::fs::read_to_string(unpacked.join(name)).with_context(|| name.to_owned());
    let manifest: Manifest = serde_json::from_str(&read("manifest.json")?)?;
    ensure!(
        manifest.hostname == "rack7" && !manifest.machine_id.is_empty(),
        "{manifest:?}"
    );
    for (file, holds) in [
        ("log.txt", "pool `tank` was made"),
        ("kernel.txt", "Linux version"),
        ("config.json", "net.ipv4.tcp_fastopen_key"),
        ("pools.json", "\"tank\""),
        ("datasets.json", "tank/data"),
        ("volumes.json", "kept"),
        ("topology.json", "axion-0"),
        ("devices.json", "NVMe"),
        ("profile.json", "attestation"),
        ("version.json", "urn:axion:sbom"),
        ("audit.jsonl", "/v1/vms/web"),
        ("vms.json", "\"web\""),
        ("metrics.txt", "axion_"),
        ("proc/cmdline", "axion.config=(hidden)"),
        ("proc/interrupts", "CPU0"),
        ("proc/mounts", "zfs"),
    ] {
        let text = read(file)?;
        ensure!(text.contains(holds), "{file} has no {holds}: {text}");
    }
    for missing in ["crash.json", "slots.json"] {
        let part = manifest.parts.iter().find(|part| part.file == missing);
        let part = part.with_context(|| missing.to_owned())?;
        ensure!(part.state == PartState::Missing && part.why.is_some(), "{part:?}");
    }
    let archive = std::fs::read(directory.join("bundle.tar"))?;
    let holds = |secret: &str| {
        archive
            .windows(secret.len())
            .any(|bytes| bytes == secret.as_bytes())
    };
    ensure!(
        !holds(token.as_str()) && !holds(&token.hash()),
        "the token, or its digest"
    );
    for secret in SECRETS {
        ensure!(
            !holds(secret),
            "{secret} is in {:?}",
            lines_with(&unpacked, secret)?
        );
    }
    Ok(())
}

/// Where `words` are in the files of a bundle.
fn lines_with(directory: &Path, words: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let text = std::fs::read(entry.path())?;
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains(words));
        found.extend(lines.map(|line| format!("{}: {line}", entry.file_name().display())));
    }
    Ok(found)
}

#[test]
fn who_is_at_the_console_gets_a_shell_and_a_crash_is_known_to_the_next_boot() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let spec = Spec::new("rescue")
        .uefi()
        .kernel_arg("panic=1")
        .config_with_token("hostname = \"rack7\"\nconsole.rescue_shell = true\n");
    let (machine, node) = boot(spec)?;
    let screen = machine.screen();
    ask_for_a_shell(&machine)?;
    screen.press("echo I am $(id -u) in $(cat /etc/hostname /proc/sys/kernel/hostname 2>/dev/null)\r")?;
    screen.wait_for("I am 0 in rack7", SOON)?;
    the_shell_is_audited(&node, directory.path())?;
    firmware_is_in_the_root(&node, directory.path())?;
    screen.press("exit\r")?;
    screen.wait_for("trouble", SOON)?;
    machine
        .log()
        .wait_for("the rescue shell on ttyS0 is closed", SOON)?;

    let ready = machine.log().wait_for(READY, SOON)?;
    crash(&machine)?;
    machine.log().wait_for_after(&ready, READY, CRASH)?;
    let node = machine.wait_ready_after(&ready)?;
    machine
        .log()
        .wait_for_after(&ready, "the kernel before this one ended unexpectedly", SOON)?;
    let host = node.call(node.client().host())?;
    let crash = host.last_crash.context("the crash is not known")?;
    ensure!(crash.headline.contains("sysrq triggered crash"), "{crash:?}");
    let unpacked = unpack(&node, directory.path(), "after")?;
    let told = std::fs::read_to_string(unpacked.join("crash.json"))?;
    ensure!(told.contains("sysrq triggered crash"), "{told}");
    Ok(())
}

fn the_shell_is_audited(node: &Node, directory: &Path) -> Result<()> {
    let mut number = 0;
    let found = node.poll("the shell in the audit log", SOON, |node| {
        number += 1;
        let audit = unpack(node, directory, &format!("audit-{number}"))
            .ok()
            .and_then(|unpacked| std::fs::read_to_string(unpacked.join("audit.jsonl")).ok());
        let audit = audit.unwrap_or_default();
        Ok(if audit.contains("a rescue shell is opened on ttyS0") {
            Poll::Ready(())
        } else {
            Poll::Pending(audit)
        })
    });
    Ok(found?)
}

/// Where the image was built with some.
fn firmware_is_in_the_root(node: &Node, directory: &Path) -> Result<()> {
    let list = Image::find()?.initramfs().with_file_name("firmware.spdx.json");
    if list.exists() {
        let unpacked = unpack(node, directory, "firmware")?;
        let mounts = std::fs::read_to_string(unpacked.join("proc/mounts"))?;
        ensure!(mounts.contains(" /usr/lib/firmware "), "{mounts}");
    }
    Ok(())
}

/// Ends the kernel as a fault of its own would.
fn crash(machine: &Machine) -> Result<()> {
    ask_for_a_shell(machine)?;
    machine.screen().press("echo c > /proc/sysrq-trigger\r")?;
    Ok(())
}

/// By the console's keys.
fn ask_for_a_shell(machine: &Machine) -> Result<()> {
    const QUESTION: &str = "Rescue shell on this line?";
    let screen = machine.screen();
    screen.press("t")?;
    screen.wait_for("What is wanted?", SOON)?;
    screen.press("s")?;
    // Of keys that come while a slow machine paints, one was seen to be lost.
    if screen.wait_for(QUESTION, MOMENT).is_err() {
        screen.press("s")?;
        screen.wait_for(QUESTION, SOON)?;
    }
    // A wrong answer is forgotten, and so is the second `s` where the first was only late.
    screen.press(key::ENTER)?;
    screen.press("shell")?;
    screen.press(key::ENTER)?;
    screen.wait_for("rescue#", SOON)?;
    Ok(())
}

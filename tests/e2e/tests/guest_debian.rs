//! A real Debian runs as a guest, from a disk that is laid out as its cloud images are: systemd, vCPUs on two nodes with 1 GiB pages as
//! its own tools see them, cloud-init that was told of a name, a user, a key and a network and grew the root, SSH by the guest's
//! socket device, HTTP to the node.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::vm::{HugepageSize, VmState};
use axion_e2e::{SOON, boot, console, inside, metric, wait_vm};
use axion_lab::command::{self, Program};
use axion_lab::deadline::Poll;
use axion_lab::node::axctl;
use axion_lab::{Image, Node, Spec};

/// Two nodes of two CPUs, of which the host keeps the first.
const HPC: &str = "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", count = 1 }]\n";
/// From the VMM's start to a shell under systemd, emulated twice.
const DEBIAN_BOOT: Duration = Duration::from_secs(300);
/// Until cloud-init has done all of what it was told: a Python program, emulated.
const CLOUD_INIT: Duration = Duration::from_secs(240);
/// A login by SSH: keys are exchanged by processors that are emulated.
const LOGIN: Duration = Duration::from_secs(120);
/// The node's address in the guest's network.
const HOST: &str = "10.77.0.1";

/// What cloud-init is told, but for the key.
const USER_DATA: &str = "#cloud-config
hostname: told
users:
  - name: ada
    shell: /bin/bash
    ssh_authorized_keys: [KEY]
write_files:
  - path: /etc/told
    content: written by cloud-init
runcmd:
  - [sh, -c, 'echo ran > /run/told']
";
const NETWORK: &str = "version: 2
ethernets:
  eth0:
    addresses: [10.77.0.2/24]
";

/// Makes a key without a password in the file `key`; gives its public half.
fn new_key(key: &Path) -> Result<String> {
    let mut keygen = Command::new("ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
        .arg(key);
    command::succeed(&mut keygen, SOON)?;
    Ok(fs::read_to_string(key.with_extension("pub"))?.trim().to_owned())
}

#[test]
fn debian_runs_as_a_guest() -> Result<()> {
    let (image, dir) = (Image::find()?, tempfile::tempdir()?);
    let disk = image.debian_guest()?;
    let archives = dir.path().join("initramfs.cpio");
    fs::write(
        &archives,
        [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat(),
    )?;
    let spec = Spec::new("guest-debian")
        .cpus(4, 2)
        // Of the first node, 2 GiB lie below 4 GiB, and the kernel may take a place in each of the other pages of 1 GiB.
        .numa_node(0, 1, 6144)
        .numa_node(2, 3, 4096)
        .config_with_token(HPC)
        .initramfs(&archives);
    let (_machine, node) = boot(spec)?;
    let path = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_str().context("a path that is no text")?.to_owned())
    };
    let key = dir.path().join("key");
    let told = USER_DATA.replace("KEY", &new_key(&key)?);
    let (user_data, network) = (path("user.yaml", &told)?, path("network.yaml", NETWORK)?);
    let disk = disk.to_str().context("a path that is no text")?;
    node.axctl(&["volume", "create", "debian", "--from", disk, "--size", "512MiB"])?;
    let address = format!("{HOST}/24");
    node.axctl(&["network", "create", "lab", "--address", &address])?;
    node.axctl(&[
        "vm",
        "run",
        "debian",
        "--class",
        "dedicated",
        "--cpus",
        "2",
        "--numa",
        "spread",
        "--memory",
        "2GiB",
        "--page-size",
        "1GiB",
        "--disk",
        "volume=debian",
        "--net",
        "lab",
        "--vsock",
        "--initrd",
        "none",
        "--cmdline",
        "root=/dev/vda1 net.ifnames=0",
        "--user-data",
        &user_data,
        "--network-config",
        &network,
    ])?;
    let mut debian = console(&node, "debian")?;
    debian.log().wait_for("Debian guest ready", DEBIAN_BOOT)?;
    it_is_debian(&mut debian)?;
    it_sees_its_cpus_and_nodes(&mut debian)?;
    its_memory_is_large_pages_of_both_nodes(&node)?;
    it_was_told_by_cloud_init(&mut debian)?;
    its_root_fills_the_volume(&mut debian)?;
    a_key_opens_it_by_its_socket_device(&node, &key)?;
    it_reaches_the_node(&mut debian)?;
    debian.input("systemctl poweroff --force\n")?;
    let vm = wait_vm(&node, "debian", VmState::Stopped, SOON)?;
    ensure!(vm.status.exit.as_deref() == Some("guest powered off"), "{vm:?}");
    Ok(())
}

/// Runs a command in the guest, which must succeed within `time`. The number that is waited for is not in what is typed.
fn within(guest: &mut Program, time: Duration, command: &str) -> Result<()> {
    let seen = guest.log().last().context("the console is empty")?;
    guest.input(&format!("{command} && echo done=$((6*7))\n"))?;
    guest
        .log()
        .wait_for_after(&seen, "done=42", time)
        .with_context(|| command.to_owned())?;
    Ok(())
}

fn it_is_debian(guest: &mut Program) -> Result<()> {
    inside(guest, "grep -q 'Debian GNU/Linux 13' /etc/os-release")?;
    inside(guest, "test $(cat /proc/1/comm) = systemd")?;
    inside(guest, "test $(findmnt -n -o SOURCE /) = /dev/vda1")?;
    inside(guest, "test $(findmnt -n -o SOURCE /boot/efi) = /dev/vda15")
}

fn it_sees_its_cpus_and_nodes(guest: &mut Program) -> Result<()> {
    inside(guest, "lscpu | tee /run/lscpu")?;
    for line in [
        "CPU(s): *2$",
        "Socket(s): *2$",
        "Core(s) per socket: *1$",
        "NUMA node(s): *2$",
        "NUMA node0 CPU(s): *0$",
        "NUMA node1 CPU(s): *1$",
        "Hypervisor vendor: *KVM$",
    ] {
        inside(guest, &format!("grep -q '^ *{line}' /run/lscpu"))?;
    }
    inside(guest, "numactl -H | tee /run/numa")?;
    for line in ["available: 2 nodes (0-1)", "node 0 cpus: 0", "node 1 cpus: 1"] {
        inside(guest, &format!("grep -q '^{line}$' /run/numa"))?;
    }
    // A program of node 1 has memory of node 1.
    inside(guest, "numactl -N 1 -m 1 numactl -s | grep -q '^membind: 1'")
}

fn its_memory_is_large_pages_of_both_nodes(node: &Node) -> Result<()> {
    let state = node.poll("what is in force", SOON, |node| {
        let vm = node.call(node.client().vm("debian"))?;
        Ok(match vm.status.in_force.clone() {
            Some(state) => Poll::Ready(state),
            None => Poll::Pending(format!("{:?}", vm.status)),
        })
    })?;
    let memory: Vec<_> = state
        .memory
        .iter()
        .map(|node| (node.size, node.hugepages, node.bound))
        .collect();
    let page = |node| (1 << 30, HugepageSize::OneGiB, Some(node));
    ensure!(memory == [page(0), page(1)], "{state:?}");
    Ok(())
}

fn it_was_told_by_cloud_init(guest: &mut Program) -> Result<()> {
    within(guest, CLOUD_INIT, "until [ -e /run/told ]; do sleep 1; done")?;
    inside(guest, "grep -q 'written by cloud-init' /etc/told")?;
    inside(guest, "test $(hostname) = told")?;
    // What the node says by itself.
    inside(
        guest,
        "grep -q '\"local-hostname\": \"debian\"' /run/cloud-init/instance-data.json",
    )?;
    inside(guest, "ip -br address show eth0 | grep -q 10.77.0.2/24")
}

/// The image has less than 400 MiB.
fn its_root_fills_the_volume(guest: &mut Program) -> Result<()> {
    inside(guest, "lsblk /dev/vda; df -k /")?;
    inside(guest, "test $(cat /sys/block/vda/vda1/size) -gt 1000000")?;
    inside(guest, "test $(df -k --output=size / | tail -n 1) -gt 450000")
}

/// As `axctl vm vsock --help` says it. systemd has sshd listen there in every guest that has the device.
fn a_key_opens_it_by_its_socket_device(node: &Node, key: &Path) -> Result<()> {
    let axctl = axctl()?;
    let proxy = format!(
        "ProxyCommand={} vm vsock debian 22",
        axctl.get_program().to_string_lossy()
    );
    let mut ssh = Command::new("ssh");
    node.be_known_to(&mut ssh);
    ssh.args([
        "-F",
        "/dev/null",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]);
    ssh.args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    ssh.args(["-o", &proxy, "-i"]).arg(key);
    ssh.args(["ada@debian", "id -un; hostname"]);
    let said = command::succeed(&mut ssh, LOGIN)?;
    ensure!(said == "ada\ntold\n", "{said:?}");
    for direction in ["receive", "send"] {
        let sample = format!("axion_vm_vsock_{direction}_seconds_count{{vm=\"debian\"}}");
        ensure!(metric(node, &sample)? > 0.0, "{sample}");
    }
    let stats = node.call(node.client().vm_stats("debian"))?;
    let vsock = stats.vsock.context("the guest has no socket device")?;
    ensure!(
        vsock.to_guest == 1 && vsock.send_bytes > 0 && vsock.receive_times.longest_ns > 0,
        "{vsock:?}"
    );
    Ok(())
}

fn it_reaches_the_node(guest: &mut Program) -> Result<()> {
    inside(guest, &format!("ping -c 3 -W 10 {HOST}"))?;
    inside(
        guest,
        &format!("wget -q -O - --no-check-certificate https://{HOST}:8443/healthz | grep -q ok"),
    )
}

//! Isolated CPUs are left alone, and devices for VMs are with vfio-pci.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axion_api::host::{Device, PowerAction};
use axion_api::profile::HostProof;
use axion_core::profile::ItemState;
use axion_core::proof::{NoiseKind, Proof};
use axion_e2e::{SOON, boot, contents, with_kexec};
use axion_lab::deadline::{Poll, scaled};
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Iommu, Node, Spec};

/// Beside the window, a proof settles and is read.
const PROOF: Duration = Duration::from_secs(120);
/// Seconds that CPUs are watched.
const WINDOW: u32 = 10;
/// Vendor and device of a virtual function of the lab's card (82576).
const VF: (u16, u16) = (0x8086, 0x10ca);
/// Those of the lab's NVMe disk.
const NVME: (u16, u16) = (0x1b36, 0x0010);

/// Two nodes of two cores of two threads, a 1 GiB page on the second: CPUs 0, 1 and 4, 5 are the host's. While the others are
/// watched, its disk and its network card are at work.
#[test]
fn isolated_cpus_are_left_alone_while_they_work() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("isolation")
        .cpus(8, 2)
        .threads(2)
        .numa_node(0, 3, 3072)
        .numa_node(4, 7, 3072)
        .disk(DiskBus::Nvme, DiskContent::Blank { mib: 1024 })
        .config_with_token(
            "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", node = 1, count = 1 }]\n\
             [[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:axion-0\"]\n",
        )
        .initramfs(with_kexec(dir.path())?);
    let (machine, node) = boot(spec)?;
    let profile = node.call(node.client().profile())?;
    ensure!(
        profile.plan.isolated.to_string() == "2-3,6-7",
        "{:?}",
        profile.plan
    );
    let wrong: Vec<_> = profile
        .attestation
        .items
        .iter()
        .filter(|item| item.state != ItemState::Ok)
        .collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    let item = |key: &str| {
        let items = profile.attestation.items.iter();
        items
            .clone()
            .find(|item| item.key == key)
            .with_context(|| format!("no item {key}"))
    };
    ensure!(item("cpu.threads")?.effective == "none");
    ensure!(
        item("hugepages.1GiB")?.effective.starts_with("1:1"),
        "{:?}",
        item("hugepages.1GiB")?
    );

    machine.log().wait_for("pool `tank` was made", SOON)?;
    let proof = prove_while_devices_work(&node, dir.path())?;
    let text = serde_json::to_string_pretty(&proof)?;
    ensure!(proof.cpus.len() == 4, "{text}");
    // Queues that carry data, not the one by which the controller is told what to do.
    let of_disk = interrupts(&proof, |name| {
        name.contains("nvme0q") && !name.contains("nvme0q0")
    });
    let of_network = interrupts(&proof, |name| name.contains("virtio"));
    ensure!(of_disk > 0 && of_network > 0, "{text}");
    ensure!(proof.host_device_interrupts() >= of_disk + of_network, "{text}");
    for cpu in &proof.cpus {
        ensure!(cpu.counts.ticks <= u64::from(WINDOW), "{text}");
        ensure!(cpu.counts.device_interrupts == 0, "{text}");
        ensure!(cpu.rounds > 0, "{text}");
        ensure!(cpu.counts.sched_switches.is_some(), "{text}");
        let mut threads = cpu.noise.iter().filter(|noise| noise.kind == NoiseKind::Thread);
        ensure!(threads.all(|thread| is_of_cpu(&thread.name, cpu.cpu)), "{text}");
        // Timers for some seconds behind the window; in emulation few of those of each millisecond are on time.
        ensure!(
            cpu.latency
                .is_some_and(|latency| latency.timers > 0 && latency.thread_max_ns > latency.irq_max_ns),
            "{text}"
        );
    }
    let shown = node.axctl(&["profile", "proof"])?;
    ensure!(
        shown.contains("interrupts of devices on the host's CPUs"),
        "{shown}"
    );
    let metrics = node.call(node.client().metrics())?;
    let meanwhile = format!(
        "axion_isolation_host_device_interrupts {}",
        proof.host_device_interrupts()
    );
    ensure!(
        metrics.contains("axion_isolation_ticks{cpu=\"2\"}") && metrics.contains(&meanwhile),
        "{metrics}"
    );
    machine
        .screen()
        .wait_for("for VMs: in force", Duration::from_secs(120))?;

    // Strays may come with what was done since: the proof itself, axctl.
    let profile = node.call(node.client().profile())?;
    let strays = profile
        .attestation
        .items
        .iter()
        .find(|item| item.key == "cpu.threads");
    ensure!(
        strays.is_some_and(|item| item.state == ItemState::Ok),
        "{strays:?}"
    );

    prove(&node)?;
    let proofs = node.call(node.client().proof())?;
    ensure!(proofs.previous.as_ref() == Some(&proof), "{:?}", proofs.previous);
    let compared = proofs.comparison.context("two proofs are not compared")?;
    ensure!(
        compared.cpus.len() == 4 && compared.cpus.iter().all(|cpu| cpu.thread_max_ns.is_some()),
        "{compared:?}"
    );
    let shown = node.axctl(&["profile", "proof"])?;
    ensure!(
        shown.contains("Against the proof before") && shown.contains("THREAD LATENCY"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn virtual_functions_go_to_vfio_under_an_intel_iommu() -> Result<()> {
    virtual_functions_go_to_vfio(Iommu::Intel)
}

#[test]
fn virtual_functions_go_to_vfio_under_an_amd_iommu() -> Result<()> {
    virtual_functions_go_to_vfio(Iommu::Amd)
}

fn virtual_functions_go_to_vfio(iommu: Iommu) -> Result<()> {
    let name = match iommu {
        Iommu::Intel => "vfio-intel",
        Iommu::Amd => "vfio-amd",
    };
    let dir = tempfile::tempdir()?;
    // The card is the machine's only Intel one; its interface's name depends on the order of drivers.
    let config = "profile.vfio = [{ device = \"1b36:0010\" }]\n[[profile.sriov]]\nmatch.pci = \"0000:01:00.0\"\nvfs = 2\n\
                  mac = \"02:00:00:00:10:00\"\nvfio = true\n";
    let spec = Spec::new(name)
        .iommu(iommu)
        .sriov_nic()
        .disk(DiskBus::Nvme, DiskContent::Blank { mib: 64 })
        .config_volume("[time]\nntp = []\n")
        .config_with_token(config)
        .initramfs(with_kexec(dir.path())?);
    let (machine, node) = boot(spec)?;
    let nvme = kept_for_vms(&node)?;
    what_the_node_needs_is_refused(&node, dir.path(), &nvme)?;
    let devices = node.call(node.client().devices())?;
    let functions: Vec<&Device> = devices
        .iter()
        .filter(|d| (d.function.vendor, d.function.device) == VF)
        .collect();
    ensure!(functions.len() == 2, "{devices:?}");
    for function in &functions {
        let f = &function.function;
        ensure!(f.driver.as_deref() == Some("vfio-pci"), "{function:?}");
        ensure!(
            f.iommu_group.is_some() && function.goes_with.is_empty(),
            "{function:?}"
        );
        ensure!(
            f.physical_function.as_deref() == Some("0000:01:00.0"),
            "{function:?}"
        );
        ensure!(
            f.reset_methods.iter().any(|method| method == "flr"),
            "{function:?}"
        );
    }
    let card = devices.iter().find(|d| d.function.address == "0000:01:00.0");
    let card = card.context("no card")?;
    ensure!(card.function.driver.as_deref() == Some("igb"), "{card:?}");
    ensure!(
        card.function
            .sriov
            .is_some_and(|s| (s.enabled, s.total) == (2, 7)),
        "{card:?}"
    );
    ensure!(card.class_name == "Ethernet controller", "{card:?}");
    let listed = node.axctl(&["devices"])?;
    ensure!(
        listed.matches("vfio-pci").count() == 3 && listed.contains("8086:10ca"),
        "{listed}"
    );
    node.axctl(&["profile", "show", "--check"])?;
    if iommu == Iommu::Intel {
        // Without the rule, the disk would be with its own driver after the next start; with it, it is not.
        let ready = machine.log().wait_for(READY, SOON)?;
        node.call(node.client().power(PowerAction::Reboot))?;
        let node = machine.wait_ready_after(&ready)?;
        ensure!(kept_for_vms(&node)? == nvme);
    }
    Ok(())
}

/// The NVMe disk that a rule by its kind gives to VMs; its address.
fn kept_for_vms(node: &Node) -> Result<String> {
    let devices = node.call(node.client().devices())?;
    let nvme = devices
        .iter()
        .find(|d| (d.function.vendor, d.function.device) == NVME)
        .context("no NVMe disk")?;
    ensure!(nvme.function.driver.as_deref() == Some("vfio-pci"), "{nvme:?}");
    Ok(nvme.function.address.clone())
}

/// A preview names what a rule would take from the node, and grants the rest.
fn what_the_node_needs_is_refused(node: &Node, dir: &Path, free: &str) -> Result<()> {
    let host = node.call(node.client().host())?;
    let nics = &host.topology.nics;
    let own = nics
        .iter()
        .find(|nic| nic.driver.as_deref() != Some("igb"))
        .and_then(|nic| Some((nic.name.as_str(), nic.pci.as_deref()?)))
        .with_context(|| format!("no interface of the node's own: {nics:?}"))?;
    let volume = host
        .topology
        .disks
        .iter()
        .find(|disk| disk.name.starts_with("vd"));
    let volume = volume
        .and_then(|disk| disk.pci.as_deref())
        .context("no config volume")?;
    // Another interface is named as the node's own, and still this one carries its address.
    let named = "[[network.interfaces]]\nmatch.name = \"ax-none\"\n";
    let plan = |address: &str, force: bool| {
        let file = dir.join("plan.toml");
        let rule = format!("profile.vfio = [{{ device = \"{address}\", force = {force} }}]\n{named}");
        fs::write(&file, rule)?;
        let output = node.try_axctl(&["profile", "plan", "--file", &file.to_string_lossy()])?;
        let said = [output.stdout, output.stderr].concat();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        anyhow::Ok((output.status.success(), said))
    };
    let (granted, said) = plan(own.1, false)?;
    let carries = format!("is {}, which carries 10.0.2.15", own.0);
    ensure!(!granted && said.contains(&carries), "{said}");
    let (granted, said) = plan(volume, false)?;
    ensure!(!granted && said.contains("which the node boots from"), "{said}");
    let (granted, said) = plan(own.1, true)?;
    ensure!(granted, "{said}");
    let (granted, said) = plan(free, false)?;
    ensure!(granted, "{said}");
    Ok(())
}

/// Whether a thread of the kernel is one that each CPU has of its own: `migration/3`, `kworker/3:1H`.
fn is_of_cpu(thread: &str, cpu: u32) -> bool {
    let place = thread.split_once('/').map(|(_, place)| place);
    let place = place.and_then(|place| place.split(':').next());
    place == Some(cpu.to_string().as_str())
}

/// Interrupts of devices on the host's CPUs, of those with such names.
fn interrupts(proof: &Proof, is_meant: impl Fn(&str) -> bool) -> u64 {
    let meant = proof
        .host_interrupts
        .iter()
        .filter(|interrupt| is_meant(&interrupt.name));
    meant.map(|interrupt| interrupt.count).sum()
}

/// A proof in whose window the host writes to its pool what comes over the network: volumes are filled and deleted until it has ended.
fn prove_while_devices_work(node: &Node, dir: &Path) -> Result<Proof> {
    let end = Instant::now() + scaled(PROOF);
    node.call(node.client().start_proof(WINDOW))?;
    let mut seed = 0;
    loop {
        let proofs = node.call(node.client().proof())?;
        if !proofs.running {
            return taken(proofs);
        }
        ensure!(Instant::now() < end, "the proof does not end: {proofs:?}");
        // Contents that are not there yet: an image that the node knows is not sent again.
        seed += 1;
        contents::put_volume(node, "load", &contents::made_of(seed), dir)?;
        node.axctl(&["volume", "delete", "load", "--yes"])?;
    }
}

fn prove(node: &Node) -> Result<Proof> {
    node.call(node.client().start_proof(WINDOW))?;
    let ended = node.poll("an isolation proof", PROOF, |node| {
        let proofs: HostProof = node.call(node.client().proof())?;
        Ok(if proofs.running {
            Poll::Pending("running".to_owned())
        } else {
            Poll::Ready(proofs)
        })
    })?;
    taken(ended)
}

/// The proof that has ended last.
fn taken(proofs: HostProof) -> Result<Proof> {
    ensure!(proofs.error.is_none(), "{:?}", proofs.error);
    proofs.last.context("no proof")
}

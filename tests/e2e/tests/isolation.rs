//! Isolated CPUs are left alone, and devices for VMs are with vfio-pci.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::host::{Device, PowerAction};
use axion_api::profile::HostProof;
use axion_core::profile::ItemState;
use axion_core::proof::Proof;
use axion_e2e::{SOON, boot};
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Iommu, Node, Spec};

/// Beside the window, a proof settles and is read.
const PROOF: Duration = Duration::from_secs(120);
/// Seconds that CPUs are watched.
const WINDOW: u32 = 10;
/// Vendor and device of a virtual function of the lab's card (82576).
const VF: (u16, u16) = (0x8086, 0x10ca);
/// Those of the lab's NVMe disk.
const NVME: (u16, u16) = (0x1b36, 0x0010);

/// Two nodes of two cores of two threads, 1 GiB pages on each: CPUs 0, 1 and 4, 5 are the host's.
#[test]
fn isolated_cpus_are_left_alone_while_they_work() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("isolation")
        .cpus(8, 2)
        .threads(2)
        .numa_node(0, 3, 3072)
        .numa_node(4, 7, 2048)
        .config_with_token(
            "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", node = 1, count = 1 }]\n",
        )
        .initramfs(with_kexec(&dir)?);
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

    let proof = prove(&node)?;
    let text = serde_json::to_string_pretty(&proof)?;
    ensure!(proof.cpus.len() == 4, "{text}");
    for cpu in &proof.cpus {
        ensure!(cpu.counts.ticks <= u64::from(WINDOW), "{text}");
        ensure!(cpu.counts.device_interrupts == 0, "{text}");
        ensure!(cpu.rounds > 0, "{text}");
        ensure!(cpu.counts.sched_switches.is_some(), "{text}");
        // Timers for some seconds behind the window; in emulation few of those of each millisecond are on time.
        ensure!(
            cpu.latency
                .is_some_and(|latency| latency.timers > 0 && latency.thread_max_ns > latency.irq_max_ns),
            "{text}"
        );
    }
    node.axctl(&["profile", "proof"])?;
    let metrics = node.call(node.client().metrics())?;
    ensure!(metrics.contains("axion_isolation_ticks{cpu=\"2\"}"), "{metrics}");
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
        .initramfs(with_kexec(&dir)?);
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

/// The image's initramfs with what a kexec needs behind it.
fn with_kexec(dir: &tempfile::TempDir) -> Result<PathBuf> {
    let image = Image::find()?;
    let archives = dir.path().join("initramfs.cpio");
    fs::write(
        &archives,
        [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat(),
    )?;
    Ok(archives)
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
    ensure!(ended.error.is_none(), "{:?}", ended.error);
    ended.last.context("no proof")
}

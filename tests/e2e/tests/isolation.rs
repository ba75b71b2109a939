//! Isolated CPUs are left alone, and devices for VMs are with vfio-pci.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::host::Device;
use axion_api::profile::HostProof;
use axion_core::profile::ItemState;
use axion_core::proof::Proof;
use axion_e2e::boot;
use axion_lab::deadline::Poll;
use axion_lab::{Image, Iommu, Node, Spec};

/// Beside the window, a proof settles and is read.
const PROOF: Duration = Duration::from_secs(120);
/// Seconds that CPUs are watched.
const WINDOW: u32 = 10;
/// Vendor and device of a virtual function of the lab's card (82576).
const VF: (u16, u16) = (0x8086, 0x10ca);

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
        // A timer of each millisecond, for some seconds behind the window.
        ensure!(
            cpu.latency
                .is_some_and(|latency| latency.timers > 100 && latency.thread_max_ns > latency.irq_max_ns),
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
    let config = "[[profile.sriov]]\nmatch.pci = \"0000:01:00.0\"\nvfs = 2\nmac = \"02:00:00:00:10:00\"\nvfio = true\n";
    let spec = Spec::new(name)
        .iommu(iommu)
        .sriov_nic()
        .config_with_token(config)
        .initramfs(with_kexec(&dir)?);
    let (_machine, node) = boot(spec)?;
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
        listed.matches("vfio-pci").count() == 2 && listed.contains("8086:10ca"),
        "{listed}"
    );
    node.axctl(&["profile", "show", "--check"])?;
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

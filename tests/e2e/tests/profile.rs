//! A boot profile is in force after one boot, whatever it takes; what cannot be is said, and the node is up all the same.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use axion_api::host::Process;
use axion_api::init::Outcome;
use axion_api::profile::HostProfile;
use axion_api::vm::VmState;
use axion_core::profile::{ItemState, Standing};
use axion_core::topology::CpuSet;
use axion_e2e::{KERNEL_START, SECOND_KERNEL, SOON, boot, times, wait_vm, with_kexec};
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Machine, Node, Spec};

/// Two nodes of two CPUs: the host keeps the first of each.
const HOST: &str = "0,2";
const ARGUMENTS: &str = "axion.plan=begin isolcpus=managed_irq,domain,1,3 nohz_full=1,3 rcu_nocbs=1,3 irqaffinity=0,2 \
                         axion.kexec=1 axion.plan=end";

/// What stage 1 says of a kernel that was started for the profile and is not as it should be.
const NOT_AGAIN: &str = "has not got its arguments; not a second time";

const HPC: &str = "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"2MiB\", count = 32 }]\n\
                   [sysctl]\n\"kernel.printk\" = \"7 4 1 7\"\n";

#[test]
fn hpc_is_in_force_after_one_kexec_and_what_leaves_it_is_noticed() -> Result<()> {
    let spec = Spec::new("profile-hpc")
        .cpus(4, 2)
        .disk(DiskBus::Nvme, DiskContent::Blank { mib: 512 })
        .numa_node(0, 1, 1024)
        .numa_node(2, 3, 1024);
    let document = format!("api.token_hashes = [\"{}\"]\n{HPC}", spec.token.hash());
    let (port, fetched) = serve(document)?;
    let spec = spec.kernel_arg(format!("axion.config=http://10.0.2.2:{port}/axion.toml"));
    let dir = tempfile::tempdir()?;
    let (machine, node) = boot(spec.initramfs(with_kexec(dir.path())?))?;

    let kernels = times(&machine, KERNEL_START);
    ensure!(kernels == 2, "{kernels} kernels");
    ensure!(fetched.load(Ordering::SeqCst) == 1, "{fetched:?} fetches");
    the_second_kernel_has_the_arguments(&machine)?;
    everything_is_in_force(&node)?;
    nothing_of_the_host_runs_on_the_workloads_cpus(&node)?;
    nor_once_a_pool_is_there_and_a_vm_has_run(&node)?;
    machine
        .screen()
        .wait_for("hpc, CPUs 1,3 for VMs: in force", SOON)?;
    a_drift_is_an_event(&machine, &node)
}

/// A start that carries the guard of a kexec, and none of what the kexec was for: the kernel has all that another one would take, and
/// is not left.
#[test]
fn a_second_kernel_without_its_arguments_is_kept_and_says_so() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("profile-guard")
        .cpus(4, 2)
        .numa_node(0, 1, 1024)
        .numa_node(2, 3, 1024)
        .kernel_arg("axion.plan=begin axion.kexec=1 axion.plan=end")
        .config_with_token(HPC)
        .initramfs(with_kexec(dir.path())?);
    let (machine, node) = boot(spec)?;
    let (kernels, kexecs) = (times(&machine, KERNEL_START), times(&machine, SECOND_KERNEL));
    ensure!(
        (kernels, kexecs) == (1, 0),
        "{kernels} kernels, {kexecs} times on purpose"
    );
    machine.log().wait_for(NOT_AGAIN, SOON)?;

    let report = node.call(node.client().boot())?;
    let phase = report.phases.iter().find(|phase| phase.name == "plan-profile");
    let phase = phase.context("no phase `plan-profile`")?;
    ensure!(
        phase.outcome == Outcome::Degraded && format!("{phase:?}").contains(NOT_AGAIN),
        "{phase:?}"
    );
    let profile = node.call(node.client().profile())?;
    ensure!(profile.standing == Standing::Planned, "{profile:?}");
    ensure!(
        profile.attestation.state == ItemState::NeedsReboot,
        "{:?}",
        profile.attestation
    );
    for name in ["isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity"] {
        let key = format!("cmdline.{name}");
        let item = profile.attestation.items.iter().find(|item| item.key == key);
        let item = item.with_context(|| format!("no item {key}"))?;
        ensure!(
            item.state == ItemState::NeedsReboot && item.effective == "not given",
            "{item:?}"
        );
        ensure!(
            item.fix.as_deref().is_some_and(|fix| fix.starts_with("reboot")),
            "{item:?}"
        );
    }
    // What a kernel takes while it runs is in force all the same.
    is_ok(&profile, "hugepages.2MiB")?;
    is_ok(&profile, "cpu.workqueues")?;
    let check = node.try_axctl(&["profile", "show", "--check"])?;
    ensure!(
        !check.status.success() && check.stdout.contains("needs reboot"),
        "{check:?}"
    );
    machine
        .log()
        .wait_for("boot profile needs reboot: cmdline.isolcpus", SOON)?;
    machine.screen().wait_for("Boot profile needs reboot", SOON)?;
    Ok(())
}

#[test]
fn a_refused_profile_is_shown_and_the_node_is_up_on_the_rest() -> Result<()> {
    let config = "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"2MiB\", count = 5000 }]\n\
                  [sysctl]\n\"vm.swappiness\" = \"7\"\n";
    let spec = Spec::new("profile-refused").cpus(4, 1).config_with_token(config);
    let (machine, node) = boot(spec)?;
    ensure!(times(&machine, KERNEL_START) == 1);
    let profile = node.call(node.client().profile())?;
    ensure!(profile.standing == Standing::Refused, "{profile:?}");
    ensure!(
        profile.refusals.iter().any(|r| r.key == "profile.hugepages[0]"),
        "{profile:?}"
    );
    is_ok(&profile, "sysctl.vm.swappiness")?;
    let report = node.call(node.client().boot())?;
    let phase = report.phases.iter().find(|phase| phase.name == "profile");
    let phase = phase.context("no phase `profile`")?;
    ensure!(phase.outcome == Outcome::Degraded, "{phase:?}");
    ensure!(
        format!("{phase:?}").contains("profile.hugepages[0]"),
        "the refusal is not in {phase:?}"
    );
    machine.screen().wait_for("profile.hugepages[0]", SOON)?;
    Ok(())
}

#[test]
fn the_command_line_switches_the_profile_off() -> Result<()> {
    let spec = Spec::new("profile-off")
        .cpus(4, 1)
        .kernel_arg("axion.profile=off")
        .config_with_token(HPC);
    let (machine, node) = boot(spec)?;
    ensure!(times(&machine, KERNEL_START) == 1);
    let profile = node.call(node.client().profile())?;
    ensure!(profile.standing == Standing::Off, "{profile:?}");
    ensure!(profile.plan.arguments.is_empty() && profile.plan.isolated.is_empty());
    ensure!(profile.attestation.state == ItemState::Ok, "{profile:?}");
    is_ok(&profile, "sysctl.kernel.printk")
}

/// Serves a machine config to whoever asks; counts how often that is.
fn serve(document: String) -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = fetched.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let asked = stream.read(&mut request).is_ok_and(|length| length > 0);
            count.fetch_add(usize::from(asked), Ordering::SeqCst);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/toml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{document}",
                document.len()
            );
            // Who went away has no use for it.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Ok((port, fetched))
}

fn the_second_kernel_has_the_arguments(machine: &Machine) -> Result<()> {
    let lines = machine.log().lines();
    let given: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.text.split_once("] Kernel command line: "))
        .map(|(_, given)| given)
        .collect();
    let [first, second] = given.as_slice() else {
        anyhow::bail!("{} command lines: {given:?}", given.len());
    };
    ensure!(!first.contains("axion.plan"), "{first}");
    ensure!(second.ends_with(ARGUMENTS), "{second}");
    ensure!(second.starts_with(first), "{second}");
    ensure!(second.matches("rootfstype").count() == 1, "{second}");
    Ok(())
}

fn everything_is_in_force(node: &Node) -> Result<()> {
    let profile = node.call(node.client().profile())?;
    ensure!(profile.standing == Standing::Planned, "{profile:?}");
    ensure!(profile.plan.housekeeping.to_string() == HOST);
    let wrong: Vec<_> = profile
        .attestation
        .items
        .iter()
        .filter(|item| item.state != ItemState::Ok)
        .collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    let expected = [
        ("cmdline.isolcpus", "1,3"),
        ("cmdline.nohz_full", "1,3"),
        ("hugepages.2MiB", "0:32,1:32 (64 free)"),
        ("cpu.cpuset.axion.slice", "on 0,2"),
        ("cpu.cpuset.vms.slice", "on 0-3"),
    ];
    for (key, effective) in expected {
        let item = profile.attestation.items.iter().find(|item| item.key == key);
        let item = item.with_context(|| format!("no item {key}"))?;
        ensure!(item.effective == effective, "{item:?}");
    }
    let report = node.call(node.client().boot())?;
    let degraded = report.phases.iter().find(|phase| phase.outcome != Outcome::Ok);
    ensure!(degraded.is_none(), "{degraded:?}");
    node.axctl(&["profile", "show", "--check"])?;
    Ok(())
}

fn nothing_of_the_host_runs_on_the_workloads_cpus(node: &Node) -> Result<()> {
    let host: CpuSet = HOST.parse()?;
    let processes = node.call(node.client().processes_and_kernel_threads())?;
    // The kernel has threads of each CPU, which do what only that CPU can, and rescuers of work queues, which sleep until memory
    // is short and then go where the work is stuck.
    let of_a_cpu = |process: &Process| {
        process.kernel && (process.cpus.len() == 1 || process.name.starts_with("kworker/R-"))
    };
    let astray: Vec<_> = processes
        .iter()
        .filter(|process| !of_a_cpu(process))
        .filter(|process| process.cpus.is_empty() || !process.cpus.is_subset(&host))
        .collect();
    ensure!(astray.is_empty(), "{astray:?}");
    ensure!(processes.iter().any(|p| p.kernel) && processes.iter().any(|p| !p.kernel));
    Ok(())
}

/// ZFS and a VM bring threads of the kernel along, and work for those that were there.
fn nor_once_a_pool_is_there_and_a_vm_has_run(node: &Node) -> Result<()> {
    node.axctl(&[
        "pool",
        "create",
        "tank",
        "--layout",
        "stripe",
        "--disk",
        "serial:axion-0",
    ])?;
    node.axctl(&["vm", "run", "hello", "--memory", "128MiB"])?;
    wait_vm(node, "hello", VmState::Running, SOON)?;
    node.axctl(&["vm", "stop", "hello", "--force", "--wait"])?;
    node.axctl(&["vm", "delete", "hello"])?;
    nothing_of_the_host_runs_on_the_workloads_cpus(node)?;
    let is_zfs = |process: &Process| process.kernel && process.name.starts_with("txg_");
    let processes = node.call(node.client().processes_and_kernel_threads())?;
    ensure!(processes.iter().any(is_zfs), "no pool, no threads of one");
    // What may run where is one thing, what did is another: the CPU that each thread was last on.
    is_ok(&node.call(node.client().profile())?, "cpu.threads")?;
    node.axctl(&["pool", "destroy", "tank", "--yes"])?;
    Ok(())
}

/// SysRq-9 sets the kernel's log level (Documentation/admin-guide/sysrq.rst) behind the back of the setting that the config
/// has; nobody asks the agent, it looks by itself.
fn a_drift_is_an_event(machine: &Machine, node: &Node) -> Result<()> {
    let events = node.start_axctl(&["events"], "events")?;
    machine.press_keys(&["alt", "sysrq", "9"])?;
    events
        .log()
        .wait_for("profile drifted: sysctl.kernel.printk", SOON)?;
    let check = node.try_axctl(&["profile", "show", "--check"])?;
    ensure!(
        !check.status.success() && check.stdout.contains("9 4 1 7"),
        "{check:?}"
    );
    const PRINTK: &str = "item=\"sysctl.kernel.printk\"";
    let metrics = node.call(node.client().metrics())?;
    ensure!(
        metrics.contains(&format!(
            "axion_profile_item_state{{{PRINTK},state=\"drifted\"}} 1"
        )),
        "{metrics}"
    );
    machine.screen().wait_for("Boot profile drifted", SOON)?;
    machine.screen().wait_for("DEGRADED", SOON)?;

    let applied = node.call(node.client().apply_profile())?;
    ensure!(
        applied.done.iter().any(|key| key == "sysctl.kernel.printk"),
        "{applied:?}"
    );
    is_ok(&node.call(node.client().profile())?, "sysctl.kernel.printk")?;
    events.log().wait_for("profile in force", SOON)?;
    let metrics = node.call(node.client().metrics())?;
    ensure!(
        metrics.contains(&format!("axion_profile_item_state{{{PRINTK},state=\"ok\"}} 1"))
            && metrics.contains("axion_profile_items{state=\"ok\"}")
            && metrics.contains("axion_profile_checked_timestamp_seconds "),
        "{metrics}"
    );
    let again = node.try_axctl(&["profile", "apply"])?;
    ensure!(!again.stdout.contains("kernel.printk"), "{again:?}");
    // The console's own keys: what is as planned stays as it is, but that a thread may have strayed since.
    machine.screen().press("6")?;
    machine.screen().wait_for("Planned", SOON)?;
    machine.screen().press("c")?;
    machine.screen().wait_for("Checked: ", SOON)?;
    machine.screen().press("a")?;
    let done = |screen: &str| {
        screen.contains("Nothing was to be done") || screen.contains("In force again: cpu.workqueues")
    };
    machine
        .screen()
        .wait_until("what was put in force again", SOON, done)?;
    machine.screen().press("1")?;
    Ok(())
}

fn is_ok(profile: &HostProfile, key: &str) -> Result<()> {
    let item = profile.attestation.items.iter().find(|item| item.key == key);
    let item = item.with_context(|| format!("no item {key}"))?;
    ensure!(item.state == ItemState::Ok, "{item:?}");
    Ok(())
}

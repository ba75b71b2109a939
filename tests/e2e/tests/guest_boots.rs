//! A real Linux guest boots under the node's own VMM, can be worked with, outlives the agent, and ends as it was told to. One with a
//! CPU model sees what the model has, and no more.

use anyhow::{Context, Result, bail, ensure};
use axion_api::vm::VmState;
use axion_api::vmm::in_force::Coverage;
use axion_api::vmm::{ResetCause, SandboxMode};
use axion_core::paths::UID_VM_BASE;
use axion_e2e::{
    GUEST_BOOT, GUEST_READY, SOON, boot, console, in_force, inside, metric, unit_pid, wait_restarted, wait_vm,
};
use axion_lab::command::Program;
use axion_lab::{Image, Node, Spec};

#[test]
fn a_guest_boots_and_outlives_the_agent() -> Result<()> {
    let (_machine, node) = boot(Spec::new("guest-boots").config_with_token(""))?;
    node.axctl(&["vm", "run", "hello"])?;
    let mut hello = console(&node, "hello")?;
    it_boots_to_a_shell(&hello)?;
    what_is_typed_is_answered(&mut hello, "before")?;
    it_sees_the_cpu_of_the_node(&mut hello)?;
    its_exits_are_counted(&node)?;
    its_vmm_is_in_a_sandbox(&node)?;
    a_watcher_sees_what_was_printed_before(&node)?;
    it_outlives_the_agent(&node)?;
    let mut hello = console(&node, "hello")?;
    what_is_typed_is_answered(&mut hello, "after")?;
    a_reboot_inside_starts_it_anew(&node, &mut hello)?;
    a_panic_inside_is_told_apart(&node, &mut hello)?;
    the_power_button_ends_it(&node)?;
    a_deleted_vm_is_gone(&node)?;
    files_of_ones_own_boot_too(&node)?;
    a_cpu_model_is_what_the_guest_sees(&node)?;
    a_cpu_model_that_the_node_lacks_is_refused(&node)
}

/// What Linux calls the features of x86-64-v2, those that v3 adds, and some that the lab's CPU has and no level names.
const V2: [&str; 7] = ["pni", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm"];
const V3: [&str; 9] = [
    "xsave", "avx", "avx2", "bmi1", "bmi2", "fma", "f16c", "movbe", "abm",
];
const OF_NO_LEVEL: [&str; 2] = ["aes", "rdrand"];

/// How many of `flags` the guest's kernel shows.
fn it_shows(guest: &mut Program, count: usize, flags: &[&str]) -> Result<()> {
    let split = "grep -m1 ^flags /proc/cpuinfo | tr ' ' '\\n'";
    let found = format!("{split} | grep -cxE '{}'", flags.join("|"));
    inside(guest, &format!("test $({found}) = {count}"))
}

/// Without which it would say nothing that a model hides something.
fn it_sees_the_cpu_of_the_node(guest: &mut Program) -> Result<()> {
    for flags in [V2.as_slice(), &V3, &OF_NO_LEVEL] {
        it_shows(guest, flags.len(), flags)?;
    }
    Ok(())
}

fn a_cpu_model_is_what_the_guest_sees(node: &Node) -> Result<()> {
    for (name, model, of_v3) in [("v2", "x86-64-v2", 0), ("v3", "x86-64-v3", V3.len())] {
        node.axctl(&["vm", "run", name, "--cpu-model", model])?;
        let mut level = console(node, name)?;
        it_boots_to_a_shell(&level)?;
        it_shows(&mut level, V2.len(), &V2)?;
        it_shows(&mut level, of_v3, &V3)?;
        it_shows(&mut level, 0, &OF_NO_LEVEL)?;
        let shown = node.axctl(&["vm", "describe", name])?;
        ensure!(shown.contains(model), "{shown}");
        node.axctl(&["vm", "stop", name, "--force", "--wait"])?;
        node.axctl(&["vm", "delete", name])?;
    }
    Ok(())
}

fn a_cpu_model_that_the_node_lacks_is_refused(node: &Node) -> Result<()> {
    // It may be over before it is looked at for the first time, or not.
    let _ = node.try_axctl(&["vm", "run", "v4", "--cpu-model", "x86-64-v4"])?;
    let vm = wait_vm(node, "v4", VmState::Failed, SOON)?;
    let why = vm.status.exit.as_deref().unwrap_or_default();
    ensure!(
        why.contains("cpu_model: x86-64-v4 is not allowed; KVM on this host's CPU has no AVX512F, AVX512DQ,")
            && why.contains("which leaves x86-64-v3"),
        "{vm:?}"
    );
    ensure!(vm.status.pid.is_none() && vm.status.in_force.is_none(), "{vm:?}");
    node.axctl(&["vm", "delete", "v4", "--force"])?;
    Ok(())
}

fn it_boots_to_a_shell(console: &Program) -> Result<()> {
    console.log().wait_for("Linux version", GUEST_BOOT)?;
    console.log().wait_for(GUEST_READY, GUEST_BOOT)?;
    Ok(())
}

fn what_is_typed_is_answered(console: &mut Program, when: &str) -> Result<()> {
    console.input(&format!("echo {when}=$((6*7))\n"))?;
    console.log().wait_for(&format!("{when}=42"), SOON)?;
    Ok(())
}

/// KVM's counts are of all exits, the VMM's of those that KVM left to it.
fn its_exits_are_counted(node: &Node) -> Result<()> {
    let stats = node.call(node.client().vm_stats("hello"))?;
    let [vcpu] = stats.vcpus.as_slice() else {
        bail!("{stats:?}");
    };
    ensure!(vcpu.vmm_exits > 0 && vcpu.exits > vcpu.vmm_exits, "{stats:?}");
    ensure!(
        vcpu.cpu_us > 0 && vcpu.page_faults > 0 && stats.page_faults > 0,
        "{stats:?}"
    );
    let mapped = stats.mapped.context("nothing is known of its pages")?;
    ensure!(mapped.pages_4k + mapped.pages_2m > 0, "{stats:?}");
    for sample in [
        r#"axion_vm_vcpu_exits_total{vm="hello",vcpu="0"}"#,
        r#"axion_vm_vcpu_exits_by_reason_total{vm="hello",vcpu="0",reason="halt"}"#,
        r#"axion_vm_vcpu_vmm_exits_total{vm="hello",vcpu="0",reason="port-write"}"#,
        r#"axion_vm_vcpu_steal_seconds_total{vm="hello",vcpu="0"}"#,
    ] {
        let value = metric(node, sample)?;
        ensure!(value > 0.0, "{sample} {value}");
    }
    Ok(())
}

/// What the VMM has done to itself, and what the kernel shows of its process to others.
fn its_vmm_is_in_a_sandbox(node: &Node) -> Result<()> {
    const NAMESPACES: [&str; 5] = ["ipc", "mnt", "net", "pid", "uts"];
    let (_, state) = in_force(node, "hello")?;
    let sandbox = &state.sandbox;
    ensure!(
        sandbox.mode == SandboxMode::Enforce && sandbox.landlock == Coverage::Full && sandbox.empty_root,
        "{sandbox:?}"
    );
    let has = |names: &[String], name: &str| names.iter().any(|there| there == name);
    ensure!(
        NAMESPACES.iter().all(|name| has(&sandbox.namespaces, name)),
        "{sandbox:?}"
    );
    let process = state.process.context("nothing is known of the process")?;
    ensure!(
        process.uid >= UID_VM_BASE && process.capabilities == 0,
        "{process:?}"
    );
    ensure!(
        process.threads > 1 && process.filtered == process.threads && process.unprivileged == process.threads,
        "{process:?}"
    );
    ensure!(
        ["mnt", "net", "pid"]
            .iter()
            .all(|name| has(&process.namespaces, name)),
        "{process:?}"
    );
    let shown = node.axctl(&["vm", "describe", "hello"])?;
    ensure!(
        shown.contains("threads filtered, no capabilities")
            && shown.contains("Landlock, empty root, its own ipc, mnt, net, pid,")
            && !shown.contains("missing:"),
        "{shown}"
    );
    let shown: serde_json::Value =
        serde_json::from_str(&node.axctl(&["vm", "show", "hello", "-o", "json"])?)?;
    ensure!(
        shown
            .pointer("/status/in_force/sandbox/mode")
            .and_then(serde_json::Value::as_str)
            == Some("enforce"),
        "{shown}"
    );
    Ok(())
}

fn a_watcher_sees_what_was_printed_before(node: &Node) -> Result<()> {
    let watcher = node.start_axctl(&["vm", "console", "hello", "--no-input"], "hello.watcher")?;
    watcher.log().wait_for("Linux version", SOON)?;
    watcher.log().wait_for(GUEST_READY, SOON)?;
    Ok(())
}

fn it_outlives_the_agent(node: &Node) -> Result<()> {
    let agent = unit_pid(node, "agent")?.context("the agent is no unit")?;
    let before = wait_vm(node, "hello", VmState::Running, SOON)?;
    node.axctl(&["host", "restart", "agent"])?;
    wait_restarted(node, "agent", agent)?;
    let after = wait_vm(node, "hello", VmState::Running, SOON)?;
    ensure!(
        after.status.pid.is_some() && after.status.pid == before.status.pid,
        "{before:?} {after:?}"
    );
    Ok(())
}

fn a_reboot_inside_starts_it_anew(node: &Node, console: &mut Program) -> Result<()> {
    let before = node.call(node.client().vm("hello"))?;
    let seen = console.log().last().context("the console is empty")?;
    console.input("reboot -f\n")?;
    let started = console.log().wait_for_after(&seen, "Linux version", GUEST_BOOT)?;
    console.log().wait_for_after(&started, GUEST_READY, GUEST_BOOT)?;
    // The agent asks the VMM now, and not only in its turn.
    node.call(node.client().vm_stats("hello"))?;
    let after = node.call(node.client().vm("hello"))?;
    let resets = after.status.resets.unwrap_or_default();
    ensure!(
        resets.last == Some(ResetCause::Keyboard) && resets.keyboard == 1,
        "the cause of an ordinary reboot: {after:?}"
    );
    ensure!(
        after.status.pid == before.status.pid,
        "a reset is no new process: {before:?} {after:?}"
    );
    Ok(())
}

/// Linux says that it panicked where firmware would look, and the VMM does: memory that runs out is a panic here.
fn a_panic_inside_is_told_apart(node: &Node, console: &mut Program) -> Result<()> {
    inside(console, "echo 2 > /proc/sys/vm/panic_on_oom")?;
    inside(
        console,
        "mkdir -p /full && mount -t tmpfs -o size=100% none /full",
    )?;
    let seen = console.log().last().context("the console is empty")?;
    console.input("dd if=/dev/zero of=/full/file bs=1M\n")?;
    let panicked =
        console
            .log()
            .wait_for_after(&seen, "Kernel panic - not syncing: Out of memory", GUEST_BOOT)?;
    console.log().wait_for_after(&panicked, GUEST_READY, GUEST_BOOT)?;
    // The agent asks the VMM now, and not only in its turn.
    node.call(node.client().vm_stats("hello"))?;
    let after = node.call(node.client().vm("hello"))?;
    let resets = after.status.resets.unwrap_or_default();
    ensure!(
        resets.last == Some(ResetCause::Panic) && (resets.panic, resets.keyboard) == (1, 1),
        "{after:?}"
    );
    Ok(())
}

fn the_power_button_ends_it(node: &Node) -> Result<()> {
    node.axctl(&["vm", "stop", "hello", "--wait"])?;
    let vm = wait_vm(node, "hello", VmState::Stopped, SOON)?;
    ensure!(
        vm.status.exit.as_deref() == Some("guest powered off"),
        "{:?}",
        vm.status
    );
    ensure!(vm.status.pid.is_none(), "{:?}", vm.status);
    Ok(())
}

fn a_deleted_vm_is_gone(node: &Node) -> Result<()> {
    node.axctl(&["vm", "delete", "hello"])?;
    let error = node
        .attempt(node.client().vm("hello"))
        .err()
        .context("the VM is still there")?;
    ensure!(error.status() == Some(404), "{error}");
    let units = node.call(node.client().units())?;
    ensure!(units.iter().all(|unit| !unit.transient), "{units:?}");
    Ok(())
}

fn files_of_ones_own_boot_too(node: &Node) -> Result<()> {
    let image = Image::find()?;
    let (kernel, initrd) = (image.guest_kernel()?, image.guest_initrd()?);
    let files = [kernel.to_string_lossy(), initrd.to_string_lossy()];
    let [kernel, initrd] = &files;
    node.axctl(&[
        "vm", "run", "own", "--cpus", "2", "--memory", "256MiB", "--kernel", kernel, "--initrd", initrd,
    ])?;
    let mut own = console(node, "own")?;
    it_boots_to_a_shell(&own)?;
    own.input("nproc | sed s/^/processors=/\n")?;
    own.log().wait_for("processors=2", SOON)?;
    let images = node.call(node.client().images())?;
    ensure!(images.len() == 2, "{images:?}");
    node.call(node.client().stop_vm("own", true))?;
    wait_vm(node, "own", VmState::Stopped, SOON)?;
    node.call(node.client().delete_vm("own", false))?;
    Ok(())
}

//! What the phases do. Each task is short here; the work is in the modules that it calls.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_core::config::{MachineConfig, Source, resolve};
use axion_core::identity::{self, Facts, MachineId};
use axion_core::paths;
use axion_core::profile::Action;
use axion_core::secure_boot::SecureBoot;

use super::modules::{Given, Modules, kvm_module};
use super::run::TaskError;
use crate::config as machine_config;
use crate::consoles::{Terminals, log_line};
use crate::failure::chain;
use crate::files::{self, Access, PUBLIC};
use crate::mounts::{self, Mount};
use crate::network::{self, Settings};
use crate::node::Node;
use crate::sync::lock;
use crate::units::{CPU_WEIGHT, Cpus, Restart, Spec, Stdio, cgroup, open_terminal};
use crate::{dbus, keys, log, profile, secure_boot, timekeeping, watchdog};

pub(super) type Done = Result<(), TaskError>;

const RESOLV_CONF: &str = "/run/axion/resolv.conf";
/// The agent says that it listens within this time, or the boot is degraded.
const AGENT_READY: Duration = Duration::from_secs(30);
/// Static addresses are there within this time, or the boot goes on without them.
const LINKS_READY: Duration = Duration::from_secs(5);
const PATH: (&str, &str) = ("PATH", "/usr/sbin:/usr/bin");

/// Several things went wrong, each of which was tried.
pub(super) fn several(failures: impl IntoIterator<Item = String>) -> Done {
    let failures: Vec<String> = failures.into_iter().collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; ").into())
    }
}

pub(super) fn config(node: &Node) -> Result<&MachineConfig, TaskError> {
    node.config
        .get()
        .map(|effective| &effective.config)
        .ok_or_else(|| "there is no machine config".into())
}

fn root_owned(mode: u32) -> Access {
    Access { uid: 0, gid: 0, mode }
}

/// File systems that nothing works without.
pub async fn mount_file_systems(_node: Arc<Node>) -> Done {
    for mount in mounts::ESSENTIAL {
        mount.perform()?;
    }
    Ok(files::directory(Path::new(paths::RUN), root_owned(0o755))?)
}

/// File systems that some kernels and machines do not have.
pub async fn mount_kernel_views(_node: Arc<Node>) -> Done {
    // hugetlbfs gets a directory; the others' mount points are the kernel's, where it has what belongs there.
    let has_place = |mount: &&Mount| mount.kind == "hugetlbfs" || Path::new(mount.target).exists();
    let failed = |mount: &Mount| mount.perform().err().map(|e| chain(&e));
    several(mounts::OPTIONAL.iter().filter(has_place).filter_map(failed))
}

/// The machine config in force and the boot profile, for everyone to read.
pub async fn resolve_config(node: Arc<Node>) -> Done {
    let mut effective = resolve(&node.handover.documents());
    effective.rejected.extend(node.handover.rejected.iter().cloned());
    for rejected in &effective.rejected {
        node.log.error(&format!("machine config refused: {rejected}"));
    }
    for ignored in &effective.ignored {
        node.log.error(&format!("machine config, left out: {ignored}"));
    }
    files::replace(
        Path::new(paths::EFFECTIVE_CONFIG),
        &serde_json::to_vec_pretty(&effective)?,
        PUBLIC,
    )?;
    let _ = node.config.set(effective);
    tokio::spawn(machine_config::tell(node.clone()));
    if let Some(resolved) = &node.handover.profile {
        files::replace(
            Path::new(paths::PROFILE),
            &serde_json::to_vec_pretty(resolved)?,
            PUBLIC,
        )?;
    }
    Ok(())
}

/// The cgroup tree.
pub async fn prepare_cgroups(_node: Arc<Node>) -> Done {
    Ok(cgroup::prepare()?)
}

/// Machine id and host name.
pub async fn identify(node: Arc<Node>) -> Done {
    let facts = Facts::read(Path::new("/"));
    let stored = std::fs::read_to_string(Path::new(paths::STATE).join("machine-id")).ok();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = MachineId::decide(stored.as_deref(), &facts, &boot_id);
    if !id.is_stable() {
        node.log.warning("this machine has neither a usable SMBIOS UUID nor a permanent MAC address: its machine id is another one at each boot");
    }
    let hostname = identity::hostname(&config(&node)?.hostname, &facts, &id).unwrap_or_else(|e| {
        node.log
            .error(&format!("hostname: {e}; using {}", id.default_hostname()));
        id.default_hostname()
    });
    nix::unistd::sethostname(&hostname)?;
    files::replace(
        Path::new(paths::MACHINE_ID_IN_FORCE),
        format!("{id}\n").as_bytes(),
        PUBLIC,
    )?;
    let mut status = lock(&node.status);
    status.machine_id = id.to_string();
    status.hostname = hostname;
    Ok(())
}

/// Directories of the services. `/var` is a tmpfs: a node without a pool keeps nothing. Whether a pool keeps it is seen from what is
/// mounted: whatever became of the task that mounts it, nothing is put over a pool's volumes.
pub async fn prepare_state(node: Arc<Node>) -> Done {
    let mounted = std::fs::read_to_string("/proc/self/mounts")?;
    let on_pool = |place: &str| mounts::kind_at(&mounted, place) == Some("zfs");
    lock(&node.status).persistent_state = on_pool(paths::STATE);
    let agent = |mode| Access {
        uid: paths::UID_AGENT,
        gid: paths::GROUP_AXION,
        mode,
    };
    files::directory(Path::new(paths::STATE), root_owned(0o755))?;
    files::directory(Path::new(paths::AGENT_STATE), agent(0o700))?;
    files::directory(Path::new(paths::IMAGES), agent(0o755))?;
    if !on_pool(paths::VOLUMES) {
        mounts::VOLUMES.perform()?;
    }
    files::directory(Path::new(paths::VOLUMES), agent(0o711))?;
    files::directory(Path::new(paths::AGENT_RUN), agent(0o2770))?;
    let for_boot_server = Access {
        gid: paths::GROUP_NETBOOT,
        ..agent(0o2750)
    };
    files::directory(Path::new(paths::NETBOOT_CONFIGS), for_boot_server)?;
    Ok(files::directory(Path::new(paths::VMS_RUN), root_owned(0o755))?)
}

/// The D-Bus interface.
pub async fn serve_control(node: Arc<Node>) -> Done {
    Ok(dbus::serve(&node)?)
}

/// Kernel settings that every node has; those of the boot profile and of the config come after them.
const SETTINGS: [(&str, &str); 7] = [
    // Services log through the kernel log; it must not drop their lines.
    ("kernel.printk_devkmsg", "on"),
    ("kernel.kptr_restrict", "1"),
    ("kernel.dmesg_restrict", "1"),
    ("fs.protected_symlinks", "1"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_fifos", "1"),
    ("fs.protected_regular", "1"),
];

/// Kernel settings below /proc/sys.
pub async fn apply_kernel_settings(node: Arc<Node>) -> Done {
    if timekeeping::not_before(Path::new(paths::AGENT)) {
        node.log
            .warning("the hardware clock is behind the image; the clock starts at the image's time");
    }
    // The kernel keeps to its command line there, and refuses the setting.
    let fixed = node.cmdline.contains("printk.devkmsg");
    let own = SETTINGS
        .iter()
        .filter(|(key, _)| !(fixed && *key == "kernel.printk_devkmsg"))
        .map(|(name, value)| Action::Sysctl {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
    let perform = |action| profile::perform(Path::new("/"), &action).err();
    several(own.filter_map(perform).map(|e| chain(&e)))
}

/// The hardware watchdog.
pub async fn arm_watchdog(node: Arc<Node>) -> Done {
    let settings = &config(&node)?.watchdog;
    if !settings.enabled {
        return Ok(());
    }
    let seconds = node.watchdog.arm(settings.timeout.0, &node.log)?;
    lock(&node.status).watchdog_seconds = seconds;
    if seconds > 0 {
        tokio::spawn(async move { watchdog::keep_fed(&node.watchdog, seconds, &node.log).await });
    }
    Ok(())
}

/// Links, addresses, leases. Only static addresses are waited for.
pub async fn start_network(node: Arc<Node>) -> Done {
    let config = config(&node)?.network.clone();
    let wait = network::has_static_addresses(&config);
    let settings = Settings {
        config,
        hostname: lock(&node.status).hostname.clone(),
        resolv_conf: RESOLV_CONF.into(),
    };
    let configured = network::start(settings, node.network.clone(), node.log.clone())?;
    if wait && tokio::time::timeout(LINKS_READY, configured).await.is_err() {
        return Err("static addresses are not set yet; going on".into());
    }
    Ok(())
}

/// NTP, in the background.
pub async fn start_clock(node: Arc<Node>) -> Done {
    let time = config(&node)?.time.clone();
    if time.ntp.is_empty() {
        lock(&node.status).time_detail = "no NTP server is configured".to_owned();
        return Ok(());
    }
    // What the operator chose wins over DHCP, and DHCP over the built-in default.
    let chosen = node.config.get().and_then(|c| c.provenance.get("time.ntp"));
    let prefer_learnt = chosen.is_none_or(|p| p.source == Source::Default);
    let (network, names) = (node.network.subscribe(), node.names.clone());
    tokio::spawn(timekeeping::run(
        node,
        time.ntp,
        prefer_learnt,
        time.interval.0,
        network,
        names,
    ));
    Ok(())
}

/// The log on its serial line, unless the kernel writes it there.
pub async fn start_log_line(node: Arc<Node>) -> Done {
    let Some(line) = log_line(&node.cmdline, &config(&node)?.console) else {
        return Ok(());
    };
    if !Terminals::read(Path::new("/")).kernel.iter().any(|k| k == line) {
        log::start_line(&node.log, open_terminal(line)?)?;
    }
    Ok(())
}

/// Receivers of the log.
pub async fn start_forwarding(node: Arc<Node>) -> Done {
    let hostname = lock(&node.status).hostname.clone();
    log::start_forwarding(&node.log, &config(&node)?.logging.forward, &hostname, &node.names);
    Ok(())
}

/// A service of the node.
pub(super) fn service(name: &str, description: &str, program: &str, uid: u32) -> Spec {
    Spec {
        name: name.to_owned(),
        description: description.to_owned(),
        transient: false,
        argv: vec![program.to_owned()],
        env: vec![(PATH.0.to_owned(), PATH.1.to_owned())],
        uid,
        gid: paths::GROUP_AXION,
        groups: Vec::new(),
        run_directory: None,
        files: Vec::new(),
        volumes: Vec::new(),
        taps: Vec::new(),
        restart: Restart::Always,
        stop_timeout: Duration::from_secs(10),
        stdio: Stdio::Log,
        notifies: false,
        oom_score: -900,
        cpus: Cpus::default(),
        memory_max: None,
        own_pids: false,
        low_ports: false,
    }
}

/// The agent; the phase waits until its API answers.
pub async fn start_agent(node: Arc<Node>) -> Done {
    let agent = Spec {
        notifies: true,
        ..service("agent", "Node agent (REST API)", paths::AGENT, paths::UID_AGENT)
    };
    node.units.add(agent).await?;
    let ready = tokio::time::timeout(AGENT_READY, node.units.ready("agent")).await;
    ready.map_err(|_| format!("the agent is not ready after {} s", AGENT_READY.as_secs()).into())
}

/// The TUI on every terminal that shows it.
pub async fn start_consoles(node: Arc<Node>) -> Done {
    let console = &config(&node)?.console;
    let terminals = Terminals::read(Path::new("/"));
    let lines = terminals.for_tui(console, log_line(&node.cmdline, console));
    if terminals.tear(&lines) {
        // Emergencies still come through.
        files::set(Path::new("/proc/sys/kernel/printk"), "1")?;
    }
    let mut failures = Vec::new();
    for line in lines {
        let name = format!("console@{line}");
        let description = format!("Console on {line}");
        let mut spec = service(&name, &description, paths::CONSOLE, paths::UID_CONSOLE);
        spec.argv.push(line.clone());
        let term = if line.starts_with("tty") && !line.starts_with("ttyS") {
            "linux"
        } else {
            "vt220"
        };
        spec.env.push(("TERM".to_owned(), term.to_owned()));
        spec.stdio = Stdio::Terminal(line);
        spec.stop_timeout = Duration::from_secs(2);
        spec.oom_score = -500;
        // A screen can wait, the API cannot.
        spec.cpus.weight = CPU_WEIGHT / 5;
        failures.extend(node.units.add(spec).await.err().map(|e| chain(&e)));
    }
    several(failures)
}

pub(super) fn read_modules() -> Result<Modules, TaskError> {
    let release = nix::sys::utsname::uname()?
        .release()
        .to_string_lossy()
        .into_owned();
    Ok(Modules::read(Path::new("/"), &release)?)
}

/// Parameters of modules: `own`, the boot profile's, the kernel command line's.
pub(super) fn given<'a>(node: &'a Node, own: &'a [(&'static str, String)]) -> Given<'a> {
    Given {
        own,
        plan: node.plan(),
        cmdline: &node.cmdline,
    }
}

/// Begins to measure the boot profile into the TPM: it takes its time, and only keys that it keeps wait for it.
pub async fn begin_measuring(node: Arc<Node>) -> Done {
    keys::begin(&node);
    Ok(())
}

/// Locks the kernel down where Secure Boot is on, and says how it is.
pub async fn keep_secure_boot(node: Arc<Node>) -> Done {
    let kept = tokio::task::spawn_blocking(secure_boot::keep_promise).await?;
    let shown = SecureBoot::read(Path::new("/")).to_string();
    node.log.info(&format!("Secure Boot: {shown}"));
    lock(&node.status).secure_boot = shown;
    Ok(kept?)
}

/// Begins to load KVM: it takes the kernel longer than anything else, and only VMs need it.
pub async fn begin_loading_kvm(node: Arc<Node>) -> Done {
    let loading = tokio::task::spawn_blocking({
        let node = node.clone();
        move || load_kvm(&node)
    });
    *lock(&node.kvm) = Some(loading);
    Ok(())
}

/// KVM for this CPU, and who may use it.
fn load_kvm(node: &Node) -> Done {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let Some(module) = kvm_module(&cpuinfo) else {
        return Err(
            "the CPU has no virtualization (neither vmx nor svm), or the firmware switched it off".into(),
        );
    };
    read_modules()?.load(module, &given(node, &[]))?;
    let group_only = Access {
        uid: 0,
        gid: paths::GROUP_KVM,
        mode: 0o660,
    };
    files::set_access(Path::new("/dev/kvm"), group_only)?;
    // What a guest's network needs: its tap, and the kernel's part of virtio-net. Making a tap stays init's right.
    for device in ["/dev/net/tun", "/dev/vhost-net"] {
        if Path::new(device).exists() {
            files::set_access(Path::new(device), group_only)?;
        }
    }
    Ok(())
}

/// Waits for KVM.
pub async fn finish_loading_kvm(node: Arc<Node>) -> Done {
    let loading = lock(&node.kvm).take();
    match loading {
        Some(loading) => loading.await?,
        None => Err("KVM was never begun to be loaded".into()),
    }
}

//! Desired against effective, item by item, read below an injected root.
//!
//! An item is **ok**; or **drifted**, and putting the profile in force again would mend it; or it **needs a reboot**; or
//! it is **impossible** on this kernel or machine. What the kernel was given counts for nothing by itself: where the
//! kernel says what it made of an argument, that is compared too.

mod arguments;
mod devices;
mod functions;
mod settings;
mod threads;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Action, Plan};
use crate::cmdline::CommandLine;
use crate::threads::Thread;
use crate::topology::{CpuSet, read};

pub use functions::{FunctionSettings, VirtualFunction};

/// Whether the node is as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Attestation {
    /// The worst state of any item.
    pub state: ItemState,
    /// Every item, arguments first, in the plan's order.
    pub items: Vec<Item>,
}

/// One thing that was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Item {
    /// What it is about: `cmdline.isolcpus`, `hugepages.2MiB`.
    pub key: String,
    /// As planned.
    pub desired: String,
    /// As it is.
    pub effective: String,
    /// Whether it is as planned.
    pub state: ItemState,
    /// What mends it.
    pub fix: Option<String>,
}

/// Whether something is as planned, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ItemState {
    /// It is.
    Ok,
    /// It is not; it can be put in force again while the node runs.
    Drifted,
    /// It is not; the next boot puts it in force.
    NeedsReboot,
    /// It is not, and cannot be here.
    Impossible,
}

impl ItemState {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Drifted => "drifted",
            Self::NeedsReboot => "needs reboot",
            Self::Impossible => "impossible",
        }
    }
}

/// How an item turned out.
struct Finding {
    effective: String,
    state: ItemState,
    fix: Option<String>,
}

impl Finding {
    fn ok(effective: impl Into<String>) -> Self {
        Self {
            effective: effective.into(),
            state: ItemState::Ok,
            fix: None,
        }
    }

    fn drifted(effective: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            effective: effective.into(),
            state: ItemState::Drifted,
            fix: Some(fix.into()),
        }
    }

    fn needs_reboot(effective: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: ItemState::NeedsReboot,
            ..Self::drifted(effective, fix)
        }
    }

    fn impossible(effective: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: ItemState::Impossible,
            ..Self::drifted(effective, fix)
        }
    }

    /// Ok, or drifted where the write was undone or never made.
    fn compared(is_so: bool, effective: impl Into<String>, file: &str) -> Self {
        if is_so {
            Self::ok(effective)
        } else {
            Self::drifted(effective, format!("write {file}"))
        }
    }
}

/// Reads the node.
struct Probe<'a> {
    root: &'a Path,
    cmdline: CommandLine,
    functions: &'a FunctionSettings,
    threads: OnceCell<Vec<Thread>>,
}

impl Probe<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Option<String> {
        read::text(self.path(path))
    }

    /// A CPU list; empty for the words that the kernel has for none.
    fn cpus(&self, path: &str) -> Option<CpuSet> {
        let path = self.path(path);
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().parse().unwrap_or_default())
    }

    /// Every thread; read once, as there are thousands.
    fn threads(&self) -> &[Thread] {
        self.threads.get_or_init(|| Thread::read_all(self.root))
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

/// Compares the node below `root` (`/` on a running one) with its plan; settings of virtual functions are not looked at.
pub fn attest(root: &Path, plan: &Plan) -> Attestation {
    attest_with(root, plan, &FunctionSettings::default())
}

/// The same, where it is known what virtual functions have.
pub fn attest_with(root: &Path, plan: &Plan, functions: &FunctionSettings) -> Attestation {
    let cmdline = read::text(root.join("proc/cmdline")).unwrap_or_default();
    let probe = Probe {
        root,
        cmdline: CommandLine::parse(&cmdline),
        functions,
        threads: OnceCell::new(),
    };
    let mut items: Vec<Item> = plan
        .arguments
        .iter()
        .map(|planned| arguments::item(&probe, plan, planned))
        .collect();
    items.extend(plan.actions.iter().map(|planned| {
        let finding = action(&probe, &planned.action);
        item(planned.key.clone(), planned.text.clone(), finding)
    }));
    if !plan.isolated.is_empty() {
        let desired = format!("none of the host on {}", plan.isolated);
        items.push(item(
            "cpu.threads".to_owned(),
            desired,
            threads::threads(&probe, plan),
        ));
    }
    Attestation {
        state: items.iter().map(|item| item.state).max().unwrap_or(ItemState::Ok),
        items,
    }
}

fn item(key: String, desired: String, finding: Finding) -> Item {
    let Finding {
        effective,
        state,
        fix,
    } = finding;
    Item {
        key,
        desired,
        effective,
        state,
        fix,
    }
}

fn action(probe: &Probe<'_>, action: &Action) -> Finding {
    match action {
        Action::Smt { on } => settings::smt(probe, *on),
        Action::NumaBalancingOff => settings::off_or_absent(probe, "/proc/sys/kernel/numa_balancing"),
        Action::KsmOff => settings::off_or_absent(probe, "/sys/kernel/mm/ksm/run"),
        Action::Sysctl { name, value } => settings::sysctl(probe, name, value),
        Action::Hugepages { page_size, nodes } => settings::hugepages(probe, *page_size, nodes),
        Action::TransparentHugepages { policy } => settings::transparent_hugepages(probe, policy.word()),
        Action::IrqAffinity { cpus } => devices::interrupts(probe, cpus),
        Action::WorkqueueCpumask { cpus } => settings::workqueues(probe, cpus),
        Action::Cpuset { cgroup, cpus } => settings::cpuset(probe, cgroup, cpus),
        Action::CpusetPartition {
            cgroup,
            cpus,
            partition,
        } => settings::partition(probe, cgroup, cpus, *partition),
        Action::FairServerPeriod { period_ns, cpus } => settings::fair_server(probe, *period_ns, cpus),
        Action::Governor { governor, cpus } => {
            settings::per_cpu(probe, cpus, "cpufreq/scaling_governor", governor)
        }
        Action::IdleLatency { limit, cpus } => {
            settings::per_cpu(probe, cpus, "power/pm_qos_resume_latency_us", &limit.word())
        }
        Action::ModuleParameter {
            module,
            name,
            value,
            live,
        } => settings::parameter(probe, module, name, value, *live),
        Action::LoadModule { name } => settings::module(probe, name),
        Action::VirtualFunctions {
            address,
            interface,
            vfs,
            macs,
            vlan,
            trust,
            vfio,
        } => {
            let counted = devices::virtual_functions(probe, address, *vfs, *vfio);
            let wanted = functions::Wanted {
                interface,
                vfs: *vfs,
                macs,
                vlan: *vlan,
                trust: *trust,
            };
            match functions::compare(probe.functions, &wanted) {
                Some(drift) if counted.state == ItemState::Ok => drift,
                _ => counted,
            }
        }
        Action::VfioBind { address, .. } => devices::vfio(probe, address),
    }
}

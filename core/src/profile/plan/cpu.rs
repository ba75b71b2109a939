//! Who has which core.
//!
//! A core is divided never: its threads share execution units and caches, so a tenant on one would feel the host on the
//! other. Auto keeps one core in 32 of each NUMA node for the host, at least one on the node of the boot CPU, and none on
//! another node that has a single core. A machine with fewer than four CPUs is left undivided: what would remain is too
//! little to be worth a fence.

use std::collections::BTreeMap;

use super::Draft;
use crate::config::{CpuChoice, IrqPolicy, Mitigations, ProfileMode, Smt};
use crate::paths;
use crate::profile::{Action, Argument, PartitionKind};
use crate::topology::{CpuSet, SmtState};

/// Cores of a node for each that the host keeps.
const CORES_PER_KEPT: usize = 32;
/// Fewest CPUs that auto divides.
const FEWEST: usize = 4;

/// Who has which core.
#[derive(Debug, Default)]
pub(super) struct Division {
    pub housekeeping: CpuSet,
    pub isolated: CpuSet,
    /// Both, and those in between.
    pub usable: CpuSet,
    nohz_full: CpuSet,
    rcu_nocbs: CpuSet,
}

/// The machine's cores as the plan may use them.
struct Cores {
    /// Each core's usable threads and its node, by lowest thread.
    cores: BTreeMap<u32, (u32, CpuSet)>,
    /// Threads that are used.
    usable: CpuSet,
    /// Threads that are online now.
    online: CpuSet,
    /// Threads that exist.
    present: CpuSet,
    /// The CPU that boots, which keeps the time and takes the kexec.
    boot: u32,
}

impl Cores {
    fn new(draft: &Draft<'_>) -> Self {
        let cpus = &draft.topology.cpus;
        let online: CpuSet = cpus.iter().filter(|cpu| cpu.online).map(|cpu| cpu.id).collect();
        let one_thread = draft.profile().cpu.smt == Smt::Off;
        let mut cores = BTreeMap::new();
        for cpu in cpus.iter().filter(|cpu| cpu.online) {
            let threads = cpu.siblings.intersection(&online);
            let first = threads.first().unwrap_or(cpu.id);
            cores.entry(first).or_insert_with(|| {
                let used = if one_thread {
                    CpuSet::from_iter([first])
                } else {
                    threads
                };
                (cpu.node, used)
            });
        }
        Self {
            usable: cores.values().flat_map(|(_, threads)| threads.iter()).collect(),
            boot: online.first().unwrap_or_default(),
            present: cpus.iter().map(|cpu| cpu.id).collect(),
            cores,
            online,
        }
    }

    /// The set with every core whole that it has a thread of.
    fn whole(&self, cpus: &CpuSet) -> CpuSet {
        let touched = self
            .cores
            .values()
            .filter(|(_, threads)| !threads.intersection(cpus).is_empty());
        touched.flat_map(|(_, threads)| threads.iter()).collect()
    }

    /// The set without the core of the boot CPU.
    fn without_boot(&self, cpus: &CpuSet) -> CpuSet {
        cpus.difference(&self.whole(&CpuSet::from_iter([self.boot])))
    }

    /// What the host keeps when nobody says.
    fn kept(&self) -> CpuSet {
        let mut nodes: BTreeMap<u32, Vec<&CpuSet>> = BTreeMap::new();
        for (node, threads) in self.cores.values() {
            nodes.entry(*node).or_default().push(threads);
        }
        let kept = nodes.values().flat_map(|cores| {
            let has_boot = cores.iter().any(|threads| threads.contains(self.boot));
            let number = match cores.len() {
                1 if !has_boot => 0,
                number => number.div_ceil(CORES_PER_KEPT),
            };
            cores.iter().take(number)
        });
        kept.flat_map(|threads| threads.iter()).collect()
    }
}

/// Divides the CPUs, and asks for the arguments that fence them.
pub(super) fn divide(draft: &mut Draft<'_>) -> Division {
    let cores = Cores::new(draft);
    smt(draft);
    let wish = &draft.profile().cpu;
    let kept = listed(draft, &cores, "profile.cpu.housekeeping", &wish.housekeeping);
    let given = listed(draft, &cores, "profile.cpu.isolated", &wish.isolated);
    let (housekeeping, isolated) = match (kept, given) {
        (Some(kept), Some(given)) => {
            let both = kept.intersection(&given);
            if !both.is_empty() {
                let nearest = nearest("profile.cpu.isolated", &given.difference(&kept));
                let reason = format!(
                    "{both} {} kept for the host by `profile.cpu.housekeeping`",
                    is(&both)
                );
                draft.refuse("profile.cpu.isolated", reason, nearest);
            }
            (kept, given)
        }
        (Some(kept), None) if wish.isolated == CpuChoice::None => (kept, CpuSet::default()),
        (Some(kept), None) => {
            let rest = cores.usable.difference(&kept);
            let isolated = cores.without_boot(&rest);
            if isolated != rest {
                draft.note(format!(
                    "CPU {} boots the machine and keeps its time: its core is not isolated",
                    cores.boot
                ));
            }
            (kept, isolated)
        }
        (None, Some(given)) => (cores.usable.difference(&given), given),
        (None, None) if wish.isolated == CpuChoice::None => (cores.usable.clone(), CpuSet::default()),
        (None, None) if cores.usable.len() < FEWEST => {
            draft.note(format!(
                "{} CPUs are too few to divide: nothing is isolated (`profile.cpu.isolated` would)",
                cores.usable.len()
            ));
            (cores.usable.clone(), CpuSet::default())
        }
        (None, None) => {
            let kept = cores.kept();
            let isolated = cores.usable.difference(&kept);
            if isolated.is_empty() {
                draft.note("the machine has a single core: nothing is isolated");
            }
            (kept, isolated)
        }
    };
    if isolated.contains(cores.boot) {
        let nearest = nearest("profile.cpu.isolated", &cores.without_boot(&isolated));
        let reason = if cores.usable.is_subset(&isolated) {
            "leaves the host no CPU".to_owned()
        } else {
            format!("CPU {} boots the machine and keeps its time", cores.boot)
        };
        draft.refuse("profile.cpu.isolated", reason, nearest);
    }
    let hpc = draft.mode() == ProfileMode::Hpc;
    let mut quiet = |key: &str, choice: &CpuChoice| match choice {
        CpuChoice::Auto if hpc => isolated.clone(),
        CpuChoice::Auto | CpuChoice::None => CpuSet::default(),
        CpuChoice::List(_) => {
            let cpus = listed(draft, &cores, key, choice).unwrap_or_default();
            let kept = cpus.intersection(&housekeeping);
            if !kept.is_empty() {
                let reason = format!("{kept} {} kept for the host", is(&kept));
                draft.refuse(key, reason, nearest(key, &cpus.difference(&housekeeping)));
            }
            cpus
        }
    };
    let nohz_full = quiet("profile.cpu.nohz_full", &wish.nohz_full);
    let rcu_nocbs = quiet("profile.cpu.rcu_nocbs", &wish.rcu_nocbs);
    let division = Division {
        housekeeping,
        isolated,
        usable: cores.usable,
        nohz_full,
        rcu_nocbs,
    };
    arguments(draft, &division);
    division
}

fn arguments(draft: &mut Draft<'_>, division: &Division) {
    if draft.mode() == ProfileMode::Hpc && !division.isolated.is_empty() {
        let cpus = division.isolated.clone();
        draft.argument(
            Argument::IsolatedCpus { cpus },
            "nothing runs on these CPUs that was not put there",
        );
        if draft.profile().cpu.irqs == IrqPolicy::Housekeeping {
            let cpus = division.housekeeping.clone();
            draft.argument(
                Argument::IrqAffinity { cpus },
                "drivers that are built in ask for interrupts before init could move them",
            );
        }
    }
    if !division.nohz_full.is_empty() {
        let cpus = division.nohz_full.clone();
        draft.argument(
            Argument::NohzFull { cpus },
            "a CPU that runs a single thread has no scheduler tick",
        );
    }
    if !division.rcu_nocbs.is_empty() {
        let cpus = division.rcu_nocbs.clone();
        draft.argument(
            Argument::RcuNocbs { cpus },
            "RCU callbacks run on the host's CPUs",
        );
    }
    let policy = draft.profile().cpu.mitigations;
    match policy {
        Mitigations::Kernel => {}
        Mitigations::AutoNosmt => draft.argument(
            Argument::Mitigations { policy },
            "no multithreading on CPUs that leak between threads",
        ),
        Mitigations::Off => draft.argument(
            Argument::Mitigations { policy },
            "the operator trusts every tenant: speculation faults are open",
        ),
    }
}

fn smt(draft: &mut Draft<'_>) {
    let state = draft.topology.cpu_model.smt;
    match (draft.profile().cpu.smt, state) {
        (Smt::Auto, _) => {}
        (Smt::Off, SmtState::Unsupported) => draft.note("the machine has no multithreading to switch off"),
        (Smt::Off, _) => draft.action(
            Action::Smt { on: false },
            "one thread of each core: it has the core's caches and units to itself",
        ),
        (Smt::On, SmtState::On) => draft.action(Action::Smt { on: true }, "every thread of each core"),
        (Smt::On, SmtState::Off) => {
            draft.action(Action::Smt { on: true }, "every thread of each core");
            draft.note("threads that come online with SMT are divided at the next boot");
        }
        (Smt::On, SmtState::ForcedOff) => draft.refuse(
            "profile.cpu.smt",
            "`nosmt=force` on the kernel command line, or a mitigation, forbids it until the next boot",
            Some("\"auto\"".to_owned()),
        ),
        (Smt::On, SmtState::Unsupported) => draft.refuse(
            "profile.cpu.smt",
            "the processor has no multithreading, or the firmware switched it off",
            Some("\"auto\"".to_owned()),
        ),
    }
}

/// The CPUs that a key lists, checked; `None` for a key that lists none.
fn listed(draft: &mut Draft<'_>, cores: &Cores, key: &str, choice: &CpuChoice) -> Option<CpuSet> {
    let CpuChoice::List(cpus) = choice else {
        return None;
    };
    let unknown = cpus.difference(&cores.present);
    let offline = cpus.intersection(&cores.present).difference(&cores.online);
    let unused = cpus.intersection(&cores.online).difference(&cores.usable);
    let used = cpus.intersection(&cores.usable);
    let nearest = nearest(key, &cores.whole(&used));
    if !unknown.is_empty() {
        let reason = format!("CPU {unknown} does not exist; there are {}", cores.present);
        draft.refuse(key, reason, nearest.clone());
    }
    if !offline.is_empty() {
        draft.refuse(
            key,
            format!("CPU {offline} {} offline", is(&offline)),
            nearest.clone(),
        );
    }
    if !unused.is_empty() {
        let reason = format!("CPU {unused} {} offline with `smt = \"off\"`", is(&unused));
        draft.refuse(key, reason, nearest.clone());
    }
    let missing = cores.whole(&used).difference(&used);
    if !missing.is_empty() {
        let reason = format!(
            "{missing} {} the other half of cores that are listed; a core is not divided",
            is(&missing)
        );
        draft.refuse(key, reason, nearest);
    }
    Some(used)
}

fn is(cpus: &CpuSet) -> &'static str {
    if cpus.len() == 1 { "is" } else { "are" }
}

/// A set as TOML, and what a key has for an empty one: the host always needs a CPU.
fn nearest(key: &str, cpus: &CpuSet) -> Option<String> {
    Some(match (cpus.is_empty(), key) {
        (false, _) => format!("\"{cpus}\""),
        (true, "profile.cpu.housekeeping") => "\"auto\"".to_owned(),
        (true, _) => "\"none\"".to_owned(),
    })
}

/// The longest whole number of seconds that the scheduler's fair server takes (kernel/sched/debug.c, `fair_server_period_max`);
/// its default is one second. An ordinary thread that a real-time one keeps from its CPU still gets its 50 ms in each.
const FAIR_SERVER_PERIOD_NS: u64 = 4_000_000_000;

/// Keeps everything else off the isolated CPUs, while running.
pub(super) fn fence(draft: &mut Draft<'_>, division: &Division) {
    if division.isolated.is_empty() {
        return;
    }
    let cpus = || division.housekeeping.clone();
    match draft.profile().cpu.irqs {
        IrqPolicy::Housekeeping => draft.action(
            Action::IrqAffinity { cpus: cpus() },
            "devices interrupt the host's CPUs, not the workloads'",
        ),
        IrqPolicy::Kernel => {}
    }
    draft.action(
        Action::WorkqueueCpumask { cpus: cpus() },
        "the kernel's own background work stays on the host's CPUs",
    );
    // Before init itself has to stay off these CPUs: it sets the period from each of them.
    if !division.nohz_full.is_empty() {
        draft.action(
            Action::FairServerPeriod {
                period_ns: FAIR_SERVER_PERIOD_NS,
                cpus: division.nohz_full.clone(),
            },
            "the scheduler looks after a thread that runs alone, too, with a timer in each period",
        );
    }
    draft.action(
        Action::Cpuset {
            cgroup: paths::NODE_CGROUP.to_owned(),
            cpus: cpus(),
        },
        "the node's own services run beside the kernel, not beside workloads",
    );
    let (cgroup, isolated) = (paths::VMS_CGROUP.to_owned(), division.isolated.clone());
    // isolcpus= took the CPUs out of scheduling already. A partition of them adds nothing, and Linux 6.12 makes none: it
    // compares the CPUs with the kind that the cgroup had before (kernel/cgroup/cpuset.c, partcmd_enablei).
    match draft.mode() {
        ProfileMode::Hpc => draft.action(
            Action::Cpuset {
                cgroup,
                cpus: division.housekeeping.union(&isolated),
            },
            "dedicated VMs are pinned to isolated CPUs, shared ones and device threads run beside the host",
        ),
        ProfileMode::Balanced | ProfileMode::Off => draft.action(
            Action::CpusetPartition {
                cgroup,
                cpus: isolated,
                partition: PartitionKind::Root,
            },
            "the CPUs are the VMs' alone; the kernel spreads vCPUs over them",
        ),
    }
}

//! From what is declared and what the machine is to what is done; every impossible wish is collected, none is dropped.
//!
//! ```text
//! cpu     who has which core          ─► isolcpus, nohz_full, rcu_nocbs, irqaffinity; SMT, IRQs, work queues, partition
//! memory  hugepages per node, ARC     ─► 1 GiB pages as arguments; pools, THP, module parameter
//! device  IOMMU, vfio, SR-IOV         ─► IOMMU arguments; bindings, virtual functions; what is not alone (isolation)
//! tuning  frequencies, sleep, KVM     ─► governors, idle latency, sysctls
//! ```

mod cpu;
mod device;
mod isolation;
mod memory;
mod tuning;

use std::collections::BTreeMap;

use super::restart::restart;
use super::{Action, Argument, HostUses, Plan, PlannedAction, PlannedArgument, Refusal, Refusals};
use crate::config::{Effective, MachineConfig, Network, PoolRule, Profile, ProfileMode, Source};
use crate::topology::Topology;

pub use memory::reserve;

/// What the operator declared, as far as the planner needs it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declaration {
    /// `[profile]`.
    pub profile: Profile,
    /// `[network]`: interfaces that are configured there are the node's way to its operator.
    pub network: Network,
    /// `modules`.
    pub modules: Vec<String>,
    /// `[sysctl]`.
    pub sysctl: BTreeMap<String, String>,
    /// `storage.pools`.
    pub pools: Vec<PoolRule>,
    /// Block devices that the node boots from or keeps its config on: `/dev/sda1`.
    pub boot_devices: Vec<String>,
    /// What the node itself shows; empty where the machine is not known.
    pub uses: HostUses,
}

impl Declaration {
    /// From a config, for a machine of which it is not known what it boots from and uses.
    pub fn new(config: &MachineConfig) -> Self {
        Self {
            profile: config.profile.clone(),
            network: config.network.clone(),
            modules: config.modules.clone(),
            sysctl: config.sysctl.clone(),
            pools: config.storage.pools.clone(),
            boot_devices: Vec::new(),
            uses: HostUses::default(),
        }
    }

    /// From the config in force: the config volume is on the medium that the node boots from.
    pub fn of_effective(effective: &Effective) -> Self {
        let given = effective.provenance.values().map(|value| &value.source);
        let refused = effective.rejected.iter().map(|document| &document.source);
        let mut boot_devices: Vec<String> = given
            .chain(refused)
            .filter_map(|source| match source {
                Source::Volume(device) => Some(device.clone()),
                Source::Default | Source::Installed(_) | Source::CommandLine(_) => None,
            })
            .collect();
        boot_devices.sort_unstable();
        boot_devices.dedup();
        Self {
            boot_devices,
            ..Self::new(&effective.config)
        }
    }
}

/// A plan in the making.
struct Draft<'a> {
    topology: &'a Topology,
    declaration: &'a Declaration,
    arguments: Vec<PlannedArgument>,
    actions: Vec<PlannedAction>,
    notes: Vec<String>,
    refusals: Vec<Refusal>,
}

impl<'a> Draft<'a> {
    fn argument(&mut self, argument: Argument, why: impl Into<String>) {
        self.arguments.push(PlannedArgument::new(argument, why));
    }

    fn action(&mut self, action: Action, why: impl Into<String>) {
        self.actions.push(PlannedAction::new(action, why));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn refuse(&mut self, key: impl Into<String>, reason: impl Into<String>, nearest: Option<String>) {
        self.refusals.push(Refusal {
            key: key.into(),
            reason: reason.into(),
            nearest,
        });
    }

    fn mode(&self) -> ProfileMode {
        self.declaration.profile.mode
    }

    fn profile(&self) -> &'a Profile {
        &self.declaration.profile
    }
}

/// Plans for a machine.
///
/// # Errors
/// Every wish that this machine cannot grant.
pub fn plan(topology: &Topology, declaration: &Declaration) -> Result<Plan, Refusals> {
    if declaration.profile.mode == ProfileMode::Off {
        return Ok(without_profile(topology, declaration));
    }
    let mut draft = Draft {
        topology,
        declaration,
        arguments: Vec::new(),
        actions: Vec::new(),
        notes: Vec::new(),
        refusals: Vec::new(),
    };
    let division = cpu::divide(&mut draft);
    tuning::kernel(&mut draft);
    memory::plan(&mut draft);
    cpu::fence(&mut draft, &division);
    tuning::power(&mut draft, &division);
    tuning::modules(&mut draft, &division);
    device::plan(&mut draft);
    let (restart, why) = restart(draft.profile().restart, &topology.platform);
    if !draft.arguments.is_empty() {
        draft.notes.extend(why);
    }
    if !draft.refusals.is_empty() {
        return Err(Refusals(draft.refusals));
    }
    draft.arguments.sort_by_key(|planned| rank(&planned.argument));
    Ok(Plan {
        mode: declaration.profile.mode,
        housekeeping: division.housekeeping,
        isolated: division.isolated,
        arguments: draft.arguments,
        actions: draft.actions,
        restart,
        notes: draft.notes,
    })
}

/// What the config says outside `[profile]`; arguments that an earlier plan has left are taken away as others are brought.
pub(super) fn without_profile(topology: &Topology, declaration: &Declaration) -> Plan {
    let (restart, _) = restart(declaration.profile.restart, &topology.platform);
    let mut draft = Draft {
        topology: &Topology::default(),
        declaration,
        arguments: Vec::new(),
        actions: Vec::new(),
        notes: Vec::new(),
        refusals: Vec::new(),
    };
    tuning::declared_settings(&mut draft);
    tuning::declared_modules(&mut draft);
    Plan {
        mode: ProfileMode::Off,
        actions: draft.actions,
        restart,
        ..Plan::default()
    }
}

/// Order on the command line: what concerns CPUs, then devices, then memory. No argument depends on an earlier one; a
/// fixed order keeps the text of an unchanged plan unchanged.
fn rank(argument: &Argument) -> u8 {
    match argument {
        Argument::IsolatedCpus { .. } => 0,
        Argument::NohzFull { .. } => 1,
        Argument::RcuNocbs { .. } => 2,
        Argument::IrqAffinity { .. } => 3,
        Argument::Mitigations { .. } => 4,
        Argument::PStates { .. } => 5,
        Argument::Iommu { .. } => 6,
        Argument::Hugepages { .. } => 7,
    }
}

//! The boot profile: how CPUs, memory and devices are divided between the host and the workloads.
//!
//! ```text
//! [profile] + topology ── plan ──► kernel arguments, in order ── line ──► kexec, or not
//!    (declaration)          │  └─► actions, in order ── stage 2 performs them
//!                           │          └──────────────┐
//!                           └─ refusals              attest: desired against effective, item by item
//! ```
//!
//! Everything here is pure. A wish that this machine cannot grant is never dropped: [`plan`] collects all of them and
//! refuses, each with its reason and what would be possible. What `auto` left out is in [`Plan::notes`].
//!
//! Only what the kernel reads once is an argument (isolation, RCU, 1 GiB pages, IOMMU, mitigations): an argument costs a
//! kexec when the loader did not give it. Everything else is an [`Action`], which a running node can repeat.
//!
//! A plan of a machine that is as planned is the same plan: offline threads, bound drivers and virtual functions that
//! exist do not change it.

mod action;
mod argument;
mod attest;
mod line;
mod plan;
mod refusal;
mod restart;
#[cfg(test)]
mod tests;
mod uses;

use serde::{Deserialize, Serialize};

pub use action::{Action, IdleLimit, PartitionKind, PlannedAction, sysctl_file};
pub use argument::{Argument, IommuMode, NodePages, PlannedArgument};
pub use attest::{Attestation, FunctionSettings, Item, ItemState, VirtualFunction, attest, attest_with};
pub use line::{
    Composed, KexecDecision, compose, is_restarted, is_second_start, is_switched_off, needs_kexec, stored,
    unguarded,
};
pub use plan::{Declaration, plan, reserve};
pub use refusal::{Refusal, Refusals};
pub use restart::Restart;
pub use uses::{DiskUse, Holding, HostUses, InterfaceUse, host_use};

use crate::cmdline::CommandLine;
use crate::config::ProfileMode;
use crate::topology::{CpuSet, Topology};

/// What the node is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Plan {
    /// What `auto` meant.
    pub mode: ProfileMode,
    /// CPUs that the host keeps.
    pub housekeeping: CpuSet,
    /// CPUs for workloads.
    pub isolated: CpuSet,
    /// Kernel arguments, in the order in which they are given.
    pub arguments: Vec<PlannedArgument>,
    /// What is done while running, in order.
    pub actions: Vec<PlannedAction>,
    /// How the kernel comes to arguments that it was not given.
    #[serde(default)]
    pub restart: Restart,
    /// What was left as it is although the mode would have it, and why.
    pub notes: Vec<String>,
}

/// How a profile came to be the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As declared.
    Planned,
    /// `profile.mode` or `axion.profile` on the kernel command line is `off`.
    Off,
    /// The declaration asks for what this machine cannot do: nothing of `[profile]` is put in force.
    Refused,
}

/// A plan for this boot, whatever the declaration says: a node always comes up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Resolved {
    /// How it came to be.
    pub standing: Standing,
    /// The plan; without `[profile]`, it holds the modules and kernel settings of the config alone.
    pub plan: Plan,
    /// Why the declaration was refused.
    pub refusals: Vec<Refusal>,
}

impl Resolved {
    /// Plans for `topology`. A declaration that is refused, or switched off on `current`, leaves a plan that has only what
    /// the config says outside `[profile]`.
    pub fn of(topology: &Topology, declaration: &Declaration, current: &CommandLine) -> Self {
        let off = |standing, refusals| Self {
            standing,
            plan: plan::without_profile(topology, declaration),
            refusals,
        };
        if Self::is_off(declaration, current) {
            return off(Standing::Off, Vec::new());
        }
        match plan(topology, declaration) {
            Ok(plan) => Self {
                standing: Standing::Planned,
                plan,
                refusals: Vec::new(),
            },
            Err(Refusals(refusals)) => off(Standing::Refused, refusals),
        }
    }

    /// Whether nothing of `[profile]` is wanted in this boot; of the machine, the plan then depends on the platform alone.
    pub fn is_off(declaration: &Declaration, current: &CommandLine) -> bool {
        is_switched_off(current) || declaration.profile.mode == ProfileMode::Off
    }

    /// Whether the kernel is to be started again. Never for a declaration that was refused: what an earlier one put on the
    /// loader's command line is likely what the operator still wants.
    pub fn kexec(&self, current: &CommandLine) -> KexecDecision {
        match self.standing {
            Standing::Refused => KexecDecision::NotNeeded,
            Standing::Planned | Standing::Off => needs_kexec(current, &self.plan),
        }
    }
}

//! The boot profile of a node: what is planned, what is so, what another declaration would bring.

use axion_core::cmdline::CommandLine;
use axion_core::profile::{
    Attestation, KexecDecision, Plan, Refusal, Restart, Standing, compose, needs_kexec,
};
use axion_core::proof::{Comparison, Proof};
use serde::{Deserialize, Serialize};

/// Media type of a machine config document, the body of a preview's request.
pub const CONFIG_MEDIA_TYPE: &str = "application/toml";

/// The boot profile (`GET /v1/host/profile`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostProfile {
    /// How the plan came to be the one that is meant.
    pub standing: Standing,
    /// What is planned.
    pub plan: Plan,
    /// Why the declaration was refused, where it was.
    pub refusals: Vec<Refusal>,
    /// Whether the node is so.
    pub attestation: Attestation,
}

/// What a machine config would bring on a node (`POST /v1/host/profile/plan`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProfilePreview {
    /// What would be planned.
    pub plan: Plan,
    /// The kernel command line that it takes.
    pub command_line: String,
    /// Arguments of the plan that the node's command line gives otherwise, by hand; the hand wins.
    pub overridden: Vec<String>,
    /// What the next boot does about it.
    pub next_boot: NextBoot,
    /// The node as it is now against the plan: what is not `ok` would change.
    pub attestation: Attestation,
}

/// What a boot does about the kernel arguments of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NextBoot {
    /// Nothing: the command line has them.
    InForce,
    /// The kernel starts a second time with them, unless the loader is told before.
    Kexec,
    /// The machine restarts with them, where its loader's entry can keep them: this platform is not started again by kexec, or the
    /// config says so.
    Restart,
    /// It goes on without them: the command line would be longer than the kernel keeps.
    TooLong,
    /// It leaves `[profile]` out: `axion.profile=off` is on the command line.
    SwitchedOff,
}

impl ProfilePreview {
    /// The preview of `plan` for a node with the command line `current`.
    pub fn new(plan: Plan, attestation: Attestation, current: &CommandLine) -> Self {
        let composed = compose(current, &plan);
        Self {
            next_boot: match needs_kexec(current, &plan) {
                KexecDecision::NotNeeded => NextBoot::InForce,
                // The loop guard is for this boot alone.
                KexecDecision::AlreadyTried if plan.restart == Restart::Reboot => NextBoot::Restart,
                KexecDecision::Kexec { .. } | KexecDecision::AlreadyTried => NextBoot::Kexec,
                KexecDecision::Reboot => NextBoot::Restart,
                KexecDecision::TooLong { .. } => NextBoot::TooLong,
                KexecDecision::SwitchedOff => NextBoot::SwitchedOff,
            },
            command_line: composed.line.to_string(),
            overridden: composed.overridden,
            attestation,
            plan,
        }
    }
}

/// What came of putting the boot profile in force again (`POST /v1/host/profile/apply`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppliedProfile {
    /// Keys of the items that were not as planned and were put in force again, in the plan's order.
    pub done: Vec<String>,
    /// Items that were left as they are.
    pub left: Vec<LeftItem>,
    /// Whether the node is as planned since then.
    pub attestation: Attestation,
}

/// What init did of the plan while the node runs (`ApplyProfile` of `org.axion.Init1`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// As in [`AppliedProfile`].
    pub done: Vec<String>,
    /// As in [`AppliedProfile`].
    pub left: Vec<LeftItem>,
}

/// An item of the plan that was not put in force again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LeftItem {
    /// Its key.
    pub key: String,
    /// Why: the kernel refused, it would disturb a VM, or only a boot can do it.
    pub reason: String,
}

/// Shortest isolation proof, seconds.
pub const SHORTEST_PROOF_S: u32 = 1;
/// Longest isolation proof, seconds.
pub const LONGEST_PROOF_S: u32 = 600;

/// What is asked of an isolation proof (`POST /v1/host/profile/proof`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ProofRequest {
    /// How long the CPUs are kept busy and watched, 1 to 600 seconds.
    pub seconds: u32,
}

impl Default for ProofRequest {
    fn default() -> Self {
        Self { seconds: 10 }
    }
}

/// Isolation proofs of a node (`GET /v1/host/profile/proof`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostProof {
    /// Whether one is being taken.
    pub running: bool,
    /// Why the last one that was asked for in this boot came to nothing, where it did.
    pub error: Option<String>,
    /// The last one.
    pub last: Option<Proof>,
    /// The one before it.
    pub previous: Option<Proof>,
    /// What changed between the two, CPU by CPU; absent without both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

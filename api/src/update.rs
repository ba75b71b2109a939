//! Updates of an installed node: its two slots, what is in them, and what becomes of them.
//!
//! `Update` of `org.axion.Init1` takes the JSON of a [`Call`] and gives the JSON of an [`Answer`]; `StageUpdate` takes the image
//! as a file descriptor and the JSON of a [`Staging`], and gives the JSON of an [`Answer`].

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// Header of an upload that carries its signature: the content of the `.minisig` file in Base64.
pub const SIGNATURE_HEADER: &str = "axion-signature";
/// What an image's signature is called: the image's name or URL with this behind it.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
/// Bytes of an image at most.
pub const LARGEST_IMAGE: u64 = 256 << 20;
/// Bytes of a signature at most; minisign's have some 300.
pub const LARGEST_SIGNATURE: usize = 4096;

/// What an installed node starts from (`GET /v1/update`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpdateStatus {
    /// The slot that runs: `a` or `b`.
    pub running: String,
    /// The slot that the next start takes; none: nothing on the disk starts.
    pub next: Option<String>,
    /// The slots that hold an image.
    pub slots: Vec<SlotStatus>,
    /// Keys that may sign updates, by minisign's number. Empty: no update is taken.
    pub trusted_keys: Vec<String>,
    /// The other system disk; none: the node is installed on one disk.
    #[serde(default)]
    pub mirror: Option<MirrorStatus>,
}

/// Two system disks that hold the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MirrorStatus {
    /// The disk that the node was started from.
    pub started: String,
    /// The other one.
    pub other: String,
    /// Whether it holds the same.
    pub state: MirrorState,
    /// Why it does not.
    pub why: Option<String>,
}

/// Whether the other system disk holds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MirrorState {
    /// It does.
    InSync,
    /// It is not there, fails, or must not be overwritten: the node would not survive the loss of the disk that it was started from.
    Degraded,
}

impl std::fmt::Display for MirrorState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InSync => "in sync",
            Self::Degraded => "degraded",
        })
    }
}

/// A disk that is to become the other system disk (JSON body of `POST /v1/update/mirror` and `POST /v1/update/mirror/plan`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MirrorRequest {
    /// The disk by what stays: `serial:…`, `wwid:…` or `pci:…`.
    pub disk: String,
    /// Give up a ZFS pool on it. One in `AXION-POOL` of an earlier installation stays without this; any other one is in the way.
    #[serde(default)]
    pub destroy_pool: bool,
    /// The word of the plan, which is not looked at by `plan`.
    #[serde(default)]
    pub token: Option<String>,
}

/// What becomes of the disk (`POST /v1/update/mirror/plan`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MirrorPlan {
    /// Lines for people: the disk, what is lost, what it gets.
    pub text: String,
    /// The word that confirms it: it changes with everything that the plan says.
    pub token: String,
}

impl UpdateStatus {
    /// A slot by its name.
    pub fn slot(&self, name: &str) -> Option<&SlotStatus> {
        self.slots.iter().find(|slot| slot.slot == name)
    }

    /// The slot that a rollback makes the next one: confirmed, and another one than the next.
    pub fn way_back(&self) -> Option<&SlotStatus> {
        let others = |slot: &&SlotStatus| Some(&slot.slot) != self.next.as_ref();
        let mut others = self.slots.iter().filter(others);
        others.find(|slot| slot.state == SlotState::Confirmed)
    }
}

/// A slot and its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SlotStatus {
    /// `a` or `b`.
    pub slot: String,
    /// Version of the image.
    pub version: String,
    /// What is known of it.
    pub state: SlotState,
    /// Starts that the loader still gives it, while it is not confirmed.
    pub tries_left: Option<u32>,
    /// Bytes of the image.
    pub size: u64,
    /// Digest of the image: `sha256:` and 64 hex digits.
    pub digest: String,
    /// Its kernel command line.
    pub arguments: String,
    /// Why it was not confirmed, where it was started and was not.
    pub failure: Option<SlotFailure>,
}

/// What is known of a slot's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// It has started well.
    Confirmed,
    /// It was written and not started yet.
    Staged,
    /// It was started and is not confirmed yet.
    Trying,
    /// It has no try left: the other slot is started.
    Failed,
}

impl std::fmt::Display for SlotState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Confirmed => "confirmed",
            Self::Staged => "staged",
            Self::Trying => "trying",
            Self::Failed => "failed",
        })
    }
}

/// Why a slot was not confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SlotFailure {
    /// Why.
    pub why: String,
    /// The end of the log of a start that was not confirmed, at most 64 KiB, the oldest line first. Empty: there is none.
    pub log: String,
}

/// An image that the node is to fetch by itself (JSON body of `POST /v1/update/stage`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// Where the image is, `http://` or `https://`; its signature is at the same place with `.minisig` behind the path. The
    /// signature says who made it, so a server needs no certificate.
    pub url: String,
    /// Take a version that is older than the running one.
    #[serde(default)]
    pub allow_downgrade: bool,
}

/// How an upload is taken (query of `POST /v1/update/stage`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "schema", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct StageOptions {
    /// Take a version that is older than the running one.
    pub allow_downgrade: bool,
}

/// What is asked of init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// The slots.
    Status,
    /// Makes the other confirmed slot the one that is started.
    RollBack,
    /// What would become of a disk that is to be the other system disk.
    PlanMirror(MirrorRequest),
    /// Makes a disk the other system disk.
    AddMirror(MirrorRequest),
    /// The node goes on with the disk that it was started from, and misses no other one.
    ForgetMirror,
}

/// How init takes an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// Its signature, the content of the `.minisig` file.
    pub signature: String,
    /// Take a version that is older than the running one.
    #[serde(default)]
    pub allow_downgrade: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// The slots as they are now.
    Status(Box<UpdateStatus>),
    /// To [`Call::PlanMirror`].
    Plan(MirrorPlan),
    /// It was refused, or it failed.
    Problem(Problem),
}

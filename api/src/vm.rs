//! Virtual machines.

use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

/// What a VM is to be (body of `PUT /v1/vms/{name}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// vCPUs, 1 to the host's KVM limit.
    #[serde(default = "one")]
    pub cpus: u32,
    /// Guest memory, a multiple of 2 MiB (or of `hugepages`), at least 32 MiB.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// What backs the guest's memory.
    #[serde(default)]
    pub hugepages: HugepageSize,
    /// What it boots.
    #[serde(default)]
    pub boot: BootSource,
    /// What follows when the guest ends.
    #[serde(default)]
    pub restart: RestartPolicy,
}

const fn one() -> u32 {
    1
}

const fn default_memory() -> ByteSize {
    ByteSize(128 << 20)
}

impl Default for VmSpec {
    fn default() -> Self {
        Self {
            cpus: one(),
            memory: default_memory(),
            hugepages: HugepageSize::default(),
            boot: BootSource::default(),
            restart: RestartPolicy::default(),
        }
    }
}

/// What backs a guest's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum HugepageSize {
    /// Ordinary 4 KiB pages.
    #[default]
    #[serde(rename = "none")]
    None,
    /// 2 MiB hugetlb pages.
    #[serde(rename = "2MiB")]
    TwoMiB,
    /// 1 GiB hugetlb pages.
    #[serde(rename = "1GiB")]
    OneGiB,
}

/// Direct Linux boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct BootSource {
    /// Guest kernel.
    pub kernel: ImageRef,
    /// Guest initial RAM disk.
    pub initrd: ImageRef,
    /// Appended to the arguments that Axion gives (`console=ttyS0` …).
    pub cmdline: String,
}

/// A file that a guest boots from: `builtin` (what the node's image carries), `none` (initrd only), or `sha256:` and the
/// digest of an uploaded image (`PUT /v1/images/{digest}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ImageRef(pub String);

impl Default for ImageRef {
    fn default() -> Self {
        Self("builtin".to_owned())
    }
}

/// What follows when a guest ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays stopped.
    #[default]
    Never,
    /// It is started again when its VMM failed, not when the guest powered off.
    OnFailure,
}

/// A VM as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Vm {
    /// Name: 1 to 40 of a-z, 0-9 and `-`, starting with a letter.
    pub name: String,
    /// Changes with every write; for `If-Match`.
    pub revision: u64,
    /// What was asked for.
    pub spec: VmSpec,
    /// Whether it is meant to run.
    pub desired: DesiredState,
    /// What it is doing.
    pub status: VmStatus,
}

/// What the operator wants of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DesiredState {
    /// It is to run.
    Running,
    /// It is to be off.
    Stopped,
}

/// State of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VmState {
    /// Off.
    Stopped,
    /// Its VMM is being started.
    Starting,
    /// The guest runs.
    Running,
    /// The guest was asked to power off.
    Stopping,
    /// Its VMM ended with an error; see `exit`.
    Failed,
}

impl std::fmt::Display for VmState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        })
    }
}

/// What a VM is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmStatus {
    /// State.
    pub state: VmState,
    /// Process of its VMM.
    pub pid: Option<u32>,
    /// When it entered the state, microseconds since 1970 by the node's clock.
    pub since_unix_us: u64,
    /// Why it last ended: `guest powered off`, `killed by SIGKILL`, or the VMM's error.
    pub exit: Option<String>,
}

/// Body of `POST /v1/vms/{name}/stop`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StopRequest {
    /// Cut the power instead of pressing the power button.
    pub force: bool,
}

/// An uploaded guest kernel or initrd (`GET /v1/images`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Image {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

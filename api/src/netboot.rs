//! Booting other machines over the network from a node (`/v1/netboot`).
//!
//! Init puts the image into memory ([`HeldImage`]); the boot server, a process without rights, serves it and tells the agent what
//! it does ([`Told`], a line of JSON each, on `axion_core::paths::NETBOOT_SOCKET`); the agent shows it ([`Netboot`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The boot server of the node (`GET /v1/netboot`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Netboot {
    /// How it is.
    #[serde(flatten)]
    pub server: NetbootServer,
    /// Names of the machine configs that it has for machines.
    pub configs: Vec<String>,
    /// What the machines did last, the oldest first; of many, the last 200.
    pub steps: Vec<NetbootStep>,
}

/// How a boot server is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NetbootServer {
    /// Whether it serves.
    pub state: NetbootState,
    /// Why it does not, or what it waits for.
    pub detail: Option<String>,
    /// Interface, as the machine config has it.
    pub interface: Option<String>,
    /// The node's address there.
    pub address: Option<String>,
    /// Addresses that it lends; none: another server gives them.
    pub dhcp_range: Option<String>,
    /// URL of the script that iPXE loads first.
    pub url: Option<String>,
    /// UEFI machines load the image as one program.
    pub uki: bool,
    /// Where the image is from: the slot of the disk that runs, or the start of this node.
    pub image: Option<String>,
    /// What is served.
    pub files: Vec<NetbootFile>,
}

/// Whether a node serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NetbootState {
    /// The machine config has no `netboot.interface`.
    #[default]
    Off,
    /// The image is put together and checked.
    Starting,
    /// Something is missing that may come: an address.
    Waiting,
    /// It serves.
    Serving,
    /// It cannot.
    Failed,
}

impl fmt::Display for NetbootState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Serving => "serving",
            Self::Failed => "failed",
        })
    }
}

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NetbootFile {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, 64 hex digits, found when the server started.
    pub sha256: String,
}

/// Something that a machine did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NetbootStep {
    /// Microseconds since 1970 by the node's clock.
    pub unix_us: u64,
    /// MAC address of the machine.
    pub mac: Option<String>,
    /// Its IP address.
    pub address: Option<String>,
    /// Its firmware: `BIOS`, `UEFI`, `UEFI-HTTP`, `type-11`.
    pub firmware: Option<String>,
    /// What it did.
    pub step: NetbootStepKind,
    /// The same for people.
    pub text: String,
}

/// What a machine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NetbootStepKind {
    /// It was told what to boot.
    Boots,
    /// It was given an address and nothing to boot.
    Address,
    /// A file is on its way.
    Transfer,
    /// It got its script.
    Script,
    /// It got its config.
    Config,
    /// It did not get what it wants.
    Refused,
}

/// A machine config that is kept for machines (`GET /v1/netboot/configs`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NetbootConfig {
    /// UUID, serial number or MAC address (`52-54-00-12-34-56`) of the machine, or `default`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the document, 64 hex digits.
    pub sha256: String,
}

/// What init has put into memory to be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldImage {
    /// Where it is from, for people.
    pub origin: String,
    /// SHA-256 of the image, 64 hex digits.
    pub sha256: String,
    /// First byte and bytes of the kernel in it.
    pub kernel: (u64, u64),
    /// First byte and bytes of the initramfs in it.
    pub initramfs: (u64, u64),
    /// What it tells the kernel.
    pub cmdline: String,
}

/// A line from the boot server to the agent. The first one is [`Told::All`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// How it is, and what it remembers.
    All {
        /// How it is.
        server: Box<NetbootServer>,
        /// What machines did, the oldest first.
        steps: Vec<NetbootStep>,
    },
    /// How it is from now on.
    Server(Box<NetbootServer>),
    /// What a machine did.
    Step(NetbootStep),
}

/// Steps that are remembered.
pub const STEPS: usize = 200;

//! The wire contract of an Axion node.
//!
//! | module      | spoken between                                                             |
//! |-------------|----------------------------------------------------------------------------|
//! | [`host`]    | any client and the agent: what the node is, how it booted, what runs        |
//! | [`vm`]      | any client and the agent: virtual machines                                  |
//! | [`capacity`] | any client and the agent: what the node has for VMs, and who has it        |
//! | [`volume`]  | any client and the agent: disks that the node keeps                         |
//! | [`network`] | any client and the agent: what connects VMs                                 |
//! | [`storage`] | any client and the agent, the agent and init: pools, datasets, snapshots     |
//! | [`keys`]    | any client and the agent, the agent or the console and init: the TPM, keys of datasets |
//! | [`netboot`] | any client and the agent, the boot server and the agent: booting other machines |
//! | [`event`]   | the agent and any client: what changed, as server-sent events               |
//! | [`profile`] | any client and the agent: the boot profile                                  |
//! | [`config`]  | any client and the agent, the agent and init: the machine config that is kept |
//! | [`recovery`] | any client, the agent and init: crashes, missing firmware       |
//! | [`update`]  | any client and the agent, the agent and init: the slots of an installed node |
//! | [`problem`] | every error of the REST API (RFC 9457)                                      |
//! | [`vmm`]     | the agent and one VMM process: its config file and its control socket       |
//! | [`init`]    | the agent or the console and PID 1: units, phases, logs, power              |
//! | `client`    | the typed client of the REST API (feature `client`)                         |

pub mod capacity;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod event;
pub mod host;
pub mod init;
pub mod install;
pub mod keys;
pub mod netboot;
pub mod network;
pub mod problem;
pub mod profile;
pub mod recovery;
pub mod storage;
pub mod update;
pub mod vm;
pub mod vmm;
pub mod volume;

/// Port of the agent's HTTPS listener.
pub const DEFAULT_PORT: u16 = 8443;

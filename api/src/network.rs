//! Networks: what connects the VMs of a node with each other, with the host and with the outside.

use serde::{Deserialize, Serialize};

/// What a network is to be (body of `PUT /v1/networks/{name}`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// The interface of the host that leads outside, by its name (`eth1`) or MAC address. Without it the network stays on
    /// the node.
    pub uplink: Option<String>,
    /// MTU in bytes, 576 to 9216. Without it 1500.
    pub mtu: Option<u16>,
    /// Address of the host on the network, with its prefix length: `10.1.0.1/24`. Without it guests do not reach the host.
    pub address: Option<String>,
    /// Take the uplink even if the node is reached by it: it loses its addresses.
    pub force: bool,
}

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Network {
    /// Name: 1 to 12 of a-z, 0-9 and `-`, starting with a letter.
    pub name: String,
    /// Changes with every write; for `If-Match`.
    pub revision: u64,
    /// What was asked for.
    pub spec: NetworkSpec,
    /// The Linux bridge that it is on the host: `ax-` and its name.
    pub bridge: String,
    /// Interfaces that are connected: the uplink, and the taps of VMs that run.
    pub ports: Vec<String>,
    /// VMs that have an interface in it.
    pub used_by: Vec<String>,
    /// Why it is not as it should be, where it is not.
    pub error: Option<String>,
}

//! Networks.

use axion_api::network::Network;

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, fields, or_dash};

fn joined(names: &[String]) -> String {
    or_dash(Some(names.join(", ")).filter(|names| !names.is_empty()))
}

/// All networks, one a line.
pub fn list(networks: &[Network], style: &Style) -> String {
    if networks.is_empty() {
        return "No networks. `axctl network create NAME` makes one.\n".to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("STATE"),
        left("UPLINK"),
        left("ADDRESS"),
        right("MTU"),
        shrinking("VMS"),
    ]);
    for network in networks {
        let state = match network.error {
            Some(_) => Cell::new("failed", Tone::Bad),
            None => Cell::new("up", Tone::Good),
        };
        table.row([
            (&network.name).into(),
            state,
            or_dash(network.spec.uplink.as_ref()).into(),
            or_dash(network.spec.address.as_ref()).into(),
            network.spec.mtu.unwrap_or(1500).to_string().into(),
            joined(&network.used_by).into(),
        ]);
    }
    table.render(style)
}

/// One network, a field a line.
pub fn show(network: &Network, style: &Style) -> String {
    fields(
        &[
            ("Name", network.name.clone()),
            ("Bridge", network.bridge.clone()),
            ("Uplink", or_dash(network.spec.uplink.as_ref())),
            ("Address", or_dash(network.spec.address.as_ref())),
            ("MTU", network.spec.mtu.unwrap_or(1500).to_string()),
            ("Ports", joined(&network.ports)),
            ("VMs", joined(&network.used_by)),
            ("Error", or_dash(network.error.as_ref())),
            ("Revision", network.revision.to_string()),
        ],
        style,
    )
}

//! What virtual functions are given, against what their physical function has for them. sysfs does not show it: whoever may ask
//! rtnetlink hands it in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Finding;

/// A virtual function as its physical one has it (`IFLA_VFINFO_LIST`); what a driver does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualFunction {
    /// MAC address, `02:00:00:00:10:00`.
    pub mac: Option<String>,
    /// VLAN that it is in; 0: none.
    pub vlan: Option<u32>,
    /// Whether its guest may change its MAC address and listen to everything.
    pub trusted: Option<bool>,
}

/// Virtual functions by number, of physical ones by interface.
pub type FunctionSettings = BTreeMap<String, BTreeMap<u32, VirtualFunction>>;

/// What a rule says of each function.
pub(super) struct Wanted<'a> {
    pub(super) interface: &'a str,
    pub(super) vfs: u32,
    pub(super) macs: &'a [String],
    pub(super) vlan: Option<u16>,
    pub(super) trust: bool,
}

/// What the functions have otherwise; nothing is said of interfaces that `settings` does not know.
pub(super) fn compare(settings: &FunctionSettings, wanted: &Wanted<'_>) -> Option<Finding> {
    let found = settings.get(wanted.interface)?;
    let drifts: Vec<String> = (0..wanted.vfs)
        .filter_map(|vf| drift(vf, found.get(&vf)?, wanted))
        .collect();
    let fix = format!(
        "put the profile in force again, or set it by hand (`ip link set {} vf N …`)",
        wanted.interface
    );
    (!drifts.is_empty()).then(|| Finding::drifted(drifts.join("; "), fix))
}

fn drift(vf: u32, is: &VirtualFunction, wanted: &Wanted<'_>) -> Option<String> {
    let mut said = Vec::new();
    let mac = usize::try_from(vf).ok().and_then(|vf| wanted.macs.get(vf));
    // A guest that is trusted may have changed its own.
    if let (Some(mac), Some(is), false) = (mac, &is.mac, wanted.trust)
        && !mac.eq_ignore_ascii_case(is)
    {
        said.push(format!("MAC {is} and not {mac}"));
    }
    let vlan = u32::from(wanted.vlan.unwrap_or_default());
    if let Some(is) = is.vlan.filter(|is| *is != vlan) {
        let name = |vlan: u32| match vlan {
            0 => "no VLAN".to_owned(),
            id => format!("VLAN {id}"),
        };
        said.push(format!("{} and not {}", name(is), name(vlan)));
    }
    if is.trusted.is_some_and(|is| is != wanted.trust) {
        said.push(if wanted.trust { "not trusted" } else { "trusted" }.to_owned());
    }
    (!said.is_empty()).then(|| format!("VF {vf}: {}", said.join(", ")))
}

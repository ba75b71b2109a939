//! What a boot server may be told.

use super::{Findings, is_interface_name};
use crate::cmdline::loader;
use crate::config::place::Place;
use crate::config::{AddressRange, Netboot};

pub(super) fn rules(found: &mut Findings, netboot: &Netboot) {
    if let Some(name) = &netboot.interface
        && !is_interface_name(name)
    {
        let message = format!("`{name}` is not an interface name, as in `eth0`");
        found.refuse(Place::of("netboot.interface"), message);
    }
    if let Some(range) = &netboot.dhcp_range {
        let range = range.parse::<AddressRange>().map(drop);
        found.check(Place::of("netboot.dhcp_range"), range);
    }
    if netboot.http_port == 0 {
        let message = "port 0 is not allowed; 8069 is the usual one".to_owned();
        found.refuse(Place::of("netboot.http_port"), message);
    }
    let arguments = &netboot.kernel_args;
    if let Err(error) = loader::check(arguments) {
        found.refuse(Place::of("netboot.kernel_args"), error.to_string());
    } else if netboot.uki && !arguments.is_empty() {
        let message = "with `netboot.uki` machines are told nothing; leave one of the two out".to_owned();
        found.refuse(Place::of("netboot.kernel_args"), message);
    }
}

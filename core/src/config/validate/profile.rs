//! What can be said of `[profile]` without the machine; the rest is the planner's.

use super::{Findings, Place, interface_match, is_mac};
use crate::config::{CpuChoice, HugepageRule, Profile, SriovRule};

pub(super) fn rules(found: &mut Findings, profile: &Profile) {
    if profile.cpu.housekeeping == CpuChoice::None {
        let message = "the host needs a CPU; allowed are `auto` and a CPU list, as in `0-1`".to_owned();
        found.refuse(Place::of("profile.cpu.housekeeping"), message);
    }
    if let Some(us) = profile.kvm.halt_poll_us.filter(|us| *us > 1000) {
        let message = format!("{us} is not allowed; allowed are 0 to 1000 (microseconds)");
        found.refuse(Place::of("profile.kvm.halt_poll_us"), message);
    }
    for (index, rule) in profile.hugepages.iter().flatten().enumerate() {
        hugepages(found, &Place::of("profile.hugepages").index(index), rule);
    }
    for (index, rule) in profile.sriov.iter().enumerate() {
        sriov(found, &Place::of("profile.sriov").index(index), rule);
    }
}

fn hugepages(found: &mut Findings, place: &Place, rule: &HugepageRule) {
    let given = [rule.count.is_some(), rule.bytes.is_some(), rule.percent.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        let message = "give exactly one of `count`, `bytes`, `percent`".to_owned();
        found.refuse(place.clone(), message);
    }
    if rule.count == Some(0) {
        found.refuse(
            place.key("count"),
            "0 is not allowed; `hugepages = []` reserves none".to_owned(),
        );
    }
    if let Some(bytes) = rule.bytes
        && (bytes.0 == 0 || !bytes.0.is_multiple_of(rule.size.bytes()))
    {
        let message = format!(
            "`{bytes}` is not allowed; allowed are multiples of the page size, {}",
            rule.size
        );
        found.refuse(place.key("bytes"), message);
    }
    if let Some(percent) = rule.percent.filter(|percent| !(1..=100).contains(percent)) {
        let message = format!("{percent} is not allowed; allowed are 1 to 100");
        found.refuse(place.key("percent"), message);
    }
}

fn sriov(found: &mut Findings, place: &Place, rule: &SriovRule) {
    interface_match(found, &place.key("match"), &rule.r#match);
    if rule.vfs == 0 {
        let message = "0 is not allowed; an interface without an entry has none".to_owned();
        found.refuse(place.key("vfs"), message);
    }
    // The lowest bit of the first byte marks a group address, which no interface can have.
    let unicast = |mac: &str| {
        let first = mac.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
        is_mac(mac) && first.is_some_and(|byte| byte & 1 == 0)
    };
    if let Some(mac) = rule.mac.as_deref().filter(|mac| !unicast(mac)) {
        let message = format!("`{mac}` is not a MAC address of an interface, as in `02:00:00:00:10:00`");
        found.refuse(place.key("mac"), message);
    }
    if let Some(vlan) = rule.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
        let message = format!("{vlan} is not allowed; allowed are 1 to 4094");
        found.refuse(place.key("vlan"), message);
    }
}

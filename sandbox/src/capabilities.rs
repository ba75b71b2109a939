//! Capabilities.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

/// Drops all capabilities of the calling thread, those of a user namespace of its own too: effective, permitted, inheritable and
/// ambient ones, and where it has the right to, the bounding set.
///
/// # Errors
/// What the kernel says of capset(2).
pub fn drop_all() -> io::Result<()> {
    for number in 0..u64::BITS {
        // Without CAP_SETPCAP it stays, and matters to nobody who gains no privileges; not every number is a capability.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

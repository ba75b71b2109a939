//! Taps: a guest's interface on the host's side.
//!
//! A tap stays when nobody has it open, belongs to the one user of its unit, and is a port of its bridge before that user
//! can open it: what a VMM never gets is the right to make one, or to move one elsewhere.

use axion_api::init::Tap;
use rtnetlink::packet_route::link::InfoKind;
use rtnetlink::{Handle, LinkUnspec};

use super::{Link, SwitchError, delete, failed, links, set_conf};
use crate::sys;

/// Makes taps for the user `uid`; all of them or none.
pub async fn connect(handle: &Handle, taps: &[Tap], uid: u32) -> Result<(), SwitchError> {
    // What a removal that failed has left is in the way, and may be another user's.
    disconnect(handle, taps).await?;
    for tap in taps {
        if let Err(error) = make(handle, tap, uid).await {
            // Why it failed is what counts.
            let _ = disconnect(handle, taps).await;
            return Err(error);
        }
    }
    Ok(())
}

/// Removes taps, as many as there are.
pub async fn disconnect(handle: &Handle, taps: &[Tap]) -> Result<(), SwitchError> {
    let wanted =
        |link: &&Link| link.kind == Some(InfoKind::Tun) && taps.iter().any(|tap| tap.name == link.name);
    let mut result = Ok(());
    for link in links(handle).await?.iter().filter(wanted) {
        if let Err(error) = delete(handle, link).await {
            result = Err(error);
        }
    }
    result
}

async fn make(handle: &Handle, tap: &Tap, uid: u32) -> Result<(), SwitchError> {
    let present = links(handle).await?;
    let bridge = present
        .iter()
        .find(|link| link.name == tap.bridge && link.is_bridge())
        .ok_or_else(|| SwitchError::NoBridge(tap.bridge.clone()))?;
    sys::make_tap(&tap.name, tap.multi_queue, uid).map_err(|source| SwitchError::Tap {
        name: tap.name.clone(),
        source,
    })?;
    // The host has no business of its own with a guest's interface.
    set_conf("ipv6", &tap.name, &[("disable_ipv6", "1")]);
    let message = LinkUnspec::new_with_name(&tap.name)
        .mtu(tap.mtu)
        .controller(bridge.index)
        .up();
    let action = format!(
        "connect {} to {} with an MTU of {}",
        tap.name, tap.bridge, tap.mtu
    );
    handle
        .link()
        .set(message.build())
        .execute()
        .await
        .map_err(failed(action))
}

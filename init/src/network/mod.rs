//! Network of the host: links, addresses, DHCP, resolvers.
//!
//! Everything runs on a thread of its own: a driver may take a second to bring a link up, inside the netlink call, and
//! PID 1 must not stand still meanwhile. What the rest of init sees is [`State`], which grows as leases come.
//!
//! [`plan`] decides what a link gets; [`links`] does it through rtnetlink; [`dhcp`] keeps leases. [`switch`] is about the
//! networks of guests, and has a thread of its own for the same reason.

mod dhcp;
mod links;
mod plan;
mod state;
mod switch;
#[cfg(test)]
pub mod testing;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use self::plan::has_static_addresses;
pub use self::state::State;
pub use self::switch::{Switch, SwitchError, is_bridge_name, is_mtu, is_tap_name};
use crate::failure::chain;
use crate::log::Log;

/// What the network is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Machine config.
    pub config: axion_core::config::Network,
    /// Name told to DHCP servers; empty: none.
    pub hostname: String,
    /// Where `resolv.conf` goes.
    pub resolv_conf: PathBuf,
}

/// A network that cannot be set up at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the network thread")]
pub struct NetworkError(#[source] std::io::Error);

/// Starts setting the network up, in the background; `state` follows it. What comes back resolves when every link that
/// exists has its static configuration.
///
/// # Errors
/// No thread can be had.
pub fn start(
    settings: Settings,
    state: watch::Sender<State>,
    log: Log,
) -> Result<oneshot::Receiver<()>, NetworkError> {
    let (sender, configured) = oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(links::run(settings, state, sender, log.clone())),
            Err(e) => Err(links::LinkError::Runtime(e)),
        };
        if let Err(e) = result {
            log.error(&format!("network: {}", chain(&e)));
        }
    };
    std::thread::Builder::new()
        .name("network".to_owned())
        .stack_size(512 * 1024)
        .spawn(work)
        .map_err(NetworkError)?;
    Ok(configured)
}

/// Waits up to `limit` for an address that others can reach.
pub async fn wait_until_up(state: &mut watch::Receiver<State>, limit: Duration) -> bool {
    matches!(
        tokio::time::timeout(limit, state.wait_for(State::is_up)).await,
        Ok(Ok(_))
    )
}

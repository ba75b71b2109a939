//! Names to addresses. The program is static and has no libc resolver, so DNS is asked directly, with the resolvers in
//! force at that moment.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::sync::watch;

use crate::network::State;

/// A name without an address.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Nobody to ask.
    #[error("cannot look up {0}: no DNS resolver is known yet")]
    NoResolver(String),
    /// The resolvers had no answer.
    #[error("cannot look up {name}")]
    Lookup {
        /// Name.
        name: String,
        /// Why.
        source: hickory_resolver::net::NetError,
    },
    /// There is no such address record.
    #[error("{0} has no address")]
    NoAddress(String),
}

/// The resolvers in force.
#[derive(Debug)]
pub struct Names {
    network: watch::Receiver<State>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(watch::channel(State::default()).1)
    }
}

impl Names {
    /// Uses the resolvers that `network` has at each look-up.
    pub fn new(network: watch::Receiver<State>) -> Self {
        Self { network }
    }

    /// Every address of `host`, which may be an address itself.
    ///
    /// # Errors
    /// There is no resolver, or none of them knows an address.
    pub async fn all(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let servers = self.network.borrow().dns();
        if servers.is_empty() {
            return Err(NameError::NoResolver(host.to_owned()));
        }
        let failed = |source| NameError::Lookup {
            name: host.to_owned(),
            source,
        };
        let servers = servers.into_iter().map(NameServerConfig::udp_and_tcp).collect();
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().timeout = Duration::from_secs(3);
        let resolver = builder.build().map_err(failed)?;
        // A trailing dot keeps search domains out: config names whole names.
        let answer = resolver
            .lookup_ip(format!("{}.", host.trim_end_matches('.')))
            .await
            .map_err(failed)?;
        Ok(answer.iter().collect())
    }

    /// The first address of `host`.
    ///
    /// # Errors
    /// As [`Names::all`], or the list is empty.
    pub async fn first(&self, host: &str) -> Result<IpAddr, NameError> {
        self.all(host)
            .await?
            .first()
            .copied()
            .ok_or_else(|| NameError::NoAddress(host.to_owned()))
    }
}

//! The host's side of an interface: a tap device that exists, opened once and kept over resets.

use std::io;
use std::sync::Arc;

use axion_api::vmm::metrics::PairLatencies;
use axion_api::vmm::{NetConfig, NetPath, NetStatus};
use nix::libc;
use nix::net::if_::if_nametoindex;

use super::super::pair_times::PairTimes;
use super::tap::Tap;
use super::vhost::Vhost;

/// A tap device cannot be had. `net` is the place in the config.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// It is not there.
    #[error("nets[{net}].tap: there is no network device {tap}")]
    Missing {
        /// Place in the config.
        net: usize,
        /// The device.
        tap: String,
    },
    /// Another process has it.
    #[error("nets[{net}].tap: {tap} is in use by another process")]
    InUse {
        /// Place in the config.
        net: usize,
        /// The device.
        tap: String,
    },
    /// No tap device, or of another number of queues.
    #[error(
        "nets[{net}].tap: {tap} is not allowed; a tap device of {} (nets[{net}].queues)",
        if *multi { "several queues" } else { "one queue" }
    )]
    Kind {
        /// Place in the config.
        net: usize,
        /// The device.
        tap: String,
        /// It should have several queues.
        multi: bool,
    },
    /// It cannot be opened.
    #[error("nets[{net}].tap: cannot open {tap}")]
    Open {
        /// Place in the config.
        net: usize,
        /// The device.
        tap: String,
        /// Cause.
        source: io::Error,
    },
}

/// The host's side.
pub struct Interface {
    /// Name of the tap device, for messages.
    pub name: String,
    /// MAC address of the guest.
    pub mac: [u8; 6],
    /// MTU that the guest is told.
    pub mtu: Option<u16>,
    /// A queue of the tap for each queue pair.
    pub taps: Vec<Arc<Tap>>,
    /// The kernel's own device for each queue pair, where this process may use it.
    pub vhost: Option<Vec<Arc<Vhost>>>,
    /// How long frames of each pair took, where we move them.
    pub times: Vec<PairTimes>,
}

impl Interface {
    /// Opens the interface `config`, which is at place `net`.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn open(net: usize, config: &NetConfig) -> Result<Self, NetError> {
        let pairs = config.queues.unwrap_or(1);
        let multi = pairs > 1;
        let tap = config.tap.clone();
        // Whoever may make devices would else make one.
        if if_nametoindex(config.tap.as_str()).is_err() {
            return Err(NetError::Missing { net, tap });
        }
        let open = |_| Tap::open(&config.tap, multi).map(Arc::new);
        let taps = (0..pairs)
            .map(open)
            .collect::<io::Result<_>>()
            .map_err(|source| match source.raw_os_error() {
                Some(libc::EBUSY) => NetError::InUse { net, tap },
                Some(libc::EINVAL) => NetError::Kind { net, tap, multi },
                _ => NetError::Open { net, tap, source },
            })?;
        // Only as fast as without it, or faster: nobody has to have it.
        let vhost = (0..pairs).map(|_| Vhost::open().map(Arc::new));
        Ok(Self {
            name: config.tap.clone(),
            mac: parse_mac(&config.mac).unwrap_or_default(),
            mtu: config.mtu,
            taps,
            vhost: vhost.collect::<io::Result<_>>().ok(),
            times: (0..pairs).map(|_| PairTimes::default()).collect(),
        })
    }

    /// Who moves its frames.
    pub const fn path(&self) -> NetPath {
        match self.vhost {
            Some(_) => NetPath::Vhost,
            None => NetPath::Own,
        }
    }

    /// What the API tells of it.
    pub fn status(&self) -> NetStatus {
        NetStatus {
            tap: self.name.clone(),
            path: self.path(),
        }
    }

    /// How long frames of each pair took; nothing where the kernel moves them.
    pub fn latencies(&self) -> Vec<PairLatencies> {
        match self.path() {
            NetPath::Vhost => Vec::new(),
            NetPath::Own => self.times.iter().map(PairTimes::read).collect(),
        }
    }

    /// Queue pairs.
    pub fn pairs(&self) -> u16 {
        u16::try_from(self.taps.len()).unwrap_or(u16::MAX)
    }

    /// Lets the tap spread its frames over the first `pairs` of its queues.
    pub fn use_pairs(&self, pairs: u16) -> io::Result<()> {
        if self.taps.len() < 2 {
            return Ok(());
        }
        // One at least is attached at any moment.
        for (tap, place) in self.taps.iter().zip(0..) {
            tap.attach(place < pairs)?;
        }
        Ok(())
    }
}

/// A MAC address of one station, as `02:00:00:00:00:01`.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        let hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| hex)?;
    }
    let group = mac.first().is_some_and(|byte| byte & 1 != 0);
    (parts.next().is_none() && !group && mac != [0; 6]).then_some(mac)
}

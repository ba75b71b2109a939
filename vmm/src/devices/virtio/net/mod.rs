//! Network device (virtio 1.3 §5.1) on a tap device that others have made and connected.
//!
//! | module      | what it holds                                                         |
//! |-------------|-----------------------------------------------------------------------|
//! | [`backing`] | the tap device: opening, its queues                                   |
//! | [`vhost`]   | the kernel's own device, which moves frames where it can be had       |
//! | [`pair`]    | else the thread of a queue pair                                       |
//! | [`control`] | commands of the driver; decides                                       |
//! | [`tap`]     | a queue of the tap device: the system calls                           |
//! | `edges`     | waiting                                                               |
//!
//! Checksums and the cutting of long frames are left to whoever sees the wire: frames of up to 64 KiB go through as they
//! are, in both directions, with a header that says what is still to be done.
//!
//! Queues: receive 0, send 0, receive 1, … and, with more pairs than one, the control queue. The driver begins with the first
//! pair and asks for more.

pub mod backing;
pub mod control;
mod edges;
pub mod pair;
pub mod tap;
pub mod vhost;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use nix::libc;

use super::worker::{Orders, Restrict, Team, WorkerError};
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::log;
use backing::Interface;
use control::Control;
use pair::Pair;
use vhost::{Ring, Session};

/// Entries of each queue: a burst of a millisecond at a million frames a second.
pub const QUEUE_SIZE: u16 = 1024;

/// Feature bits (§5.1.3).
mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const CTRL_VQ: u64 = 1 << 17;
    pub const MQ: u64 = 1 << 22;
}

/// Status in the configuration space: there is a carrier.
const LINK_UP: u16 = 1;

/// The device.
pub struct Net {
    interface: Arc<Interface>,
    config: Vec<u8>,
    /// By pair; with vhost only one that serves the control queue, if there is one.
    team: Team,
}

impl Net {
    /// `interface` as the machine's network device `number`, with its threads.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(interface: Arc<Interface>, number: usize, restrict: &Restrict) -> Result<Self, WorkerError> {
        let pairs = interface.pairs();
        let threads = match &interface.vhost {
            None => pairs,
            Some(devices) => {
                let owned = devices.iter().try_for_each(|device| device.own());
                owned.map_err(|source| WorkerError::Start {
                    name: format!("vhost of net{number}"),
                    source,
                })?;
                u16::from(pairs > 1)
            }
        };
        let names = (0..threads).map(|pair| format!("net{number}.{pair}"));
        Ok(Self {
            config: config(&interface),
            team: Team::new(names, restrict)?,
            interface,
        })
    }

    /// The control queue, where the driver wants one; it is removed from `queues`.
    fn control(&self, features: u64, queues: &mut BTreeMap<u16, ActiveQueue>) -> Option<Control> {
        // Without MQ there is one pair before it (§5.1.2).
        let pairs = if features & feature::MQ == 0 {
            1
        } else {
            self.interface.pairs()
        };
        let wanted = (features & feature::CTRL_VQ != 0).then_some(pairs * 2)?;
        let queue = queues.remove(&wanted)?;
        Some(Control::new(self.interface.clone(), queue))
    }

    /// Has threads of this process do the work.
    fn begin(
        &self,
        features: u64,
        queues: &mut BTreeMap<u16, ActiveQueue>,
        mut control: Option<Control>,
    ) -> io::Result<()> {
        let mergeable = features & feature::MRG_RXBUF != 0;
        for (place, tap) in (0..).zip(&self.interface.taps) {
            let Some(rings) = pair(queues, place) else {
                continue;
            };
            let (interface, tap, control) = (self.interface.clone(), tap.clone(), control.take());
            let job = move |orders: &Orders| Pair::new(interface, tap, rings, control, mergeable).run(orders);
            self.team.begin(place.into(), job)?;
        }
        Ok(())
    }

    /// Has the kernel do the work.
    fn hand_over(
        &self,
        features: u64,
        queues: &mut BTreeMap<u16, ActiveQueue>,
        control: Option<Control>,
    ) -> io::Result<Vec<Session>> {
        let mut sessions = Vec::new();
        let devices = self.interface.vhost.iter().flatten();
        for ((place, tap), device) in (0..).zip(&self.interface.taps).zip(devices) {
            let Some(rings) = pair(queues, place) else {
                continue;
            };
            let memory = rings[0].ring.memory().clone();
            let [receive, send] = rings.map(ring);
            let rings = [receive?, send?];
            let session = Session::begin(device.clone(), tap.clone(), &memory, features, rings);
            sessions.push(session?);
        }
        if let Some(control) = control {
            self.team.begin(0, move |orders| control.run(orders))?;
        }
        Ok(sessions)
    }
}

/// The queues of a pair, if the driver has enabled both.
fn pair(queues: &mut BTreeMap<u16, ActiveQueue>, place: u16) -> Option<[ActiveQueue; 2]> {
    Some([queues.remove(&(place * 2))?, queues.remove(&(place * 2 + 1))?])
}

/// A queue as the kernel takes it.
fn ring(queue: ActiveQueue) -> io::Result<Ring> {
    Ok(Ring {
        setup: *queue.ring.setup(),
        kick: queue
            .doorbell
            .ok_or_else(|| io::Error::other("a queue has no doorbell"))?,
        call: queue.notifier.give(queue.index),
    })
}

/// Configuration space (§5.1.4).
fn config(interface: &Interface) -> Vec<u8> {
    let mut config = interface.mac.to_vec();
    config.extend(LINK_UP.to_le_bytes());
    config.extend(interface.pairs().to_le_bytes());
    config.extend(interface.mtu.unwrap_or(0).to_le_bytes());
    config
}

/// What the tap may leave to a driver that took `features` (`TUN_F_*`).
fn offload(features: u64) -> u32 {
    if features & feature::GUEST_CSUM == 0 {
        return 0;
    }
    let wanted = [
        (feature::GUEST_TSO4, libc::TUN_F_TSO4),
        (feature::GUEST_TSO6, libc::TUN_F_TSO6),
    ];
    let wanted = wanted.iter().filter(|(bit, _)| features & bit != 0);
    wanted.fold(libc::TUN_F_CSUM, |flags, (_, flag)| flags | flag)
}

impl VirtioDevice for Net {
    fn kind(&self) -> Kind {
        Kind::Network
    }

    fn features(&self) -> u64 {
        let always = feature::CSUM
            | feature::GUEST_CSUM
            | feature::MAC
            | feature::GUEST_TSO4
            | feature::GUEST_TSO6
            | feature::HOST_TSO4
            | feature::HOST_TSO6
            | feature::MRG_RXBUF
            | feature::STATUS;
        let mtu = self.interface.mtu.map_or(0, |_| feature::MTU);
        let several = feature::CTRL_VQ | feature::MQ;
        always | mtu | if self.interface.pairs() > 1 { several } else { 0 }
    }

    fn queues(&self) -> Vec<u16> {
        let pairs = usize::from(self.interface.pairs());
        let control = usize::from(pairs > 1);
        vec![QUEUE_SIZE; pairs * 2 + control]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Events
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn activate(&mut self, features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let [first, ..] = self.interface.taps.as_slice() else {
            return Err(io::Error::other("it has no tap device"));
        };
        first.set_offload(offload(features))?;
        self.interface.use_pairs(1)?;
        // What came before may be more than this driver can take.
        self.interface.taps.iter().for_each(|tap| tap.discard());
        let mut queues = queues.into_iter().map(|queue| (queue.index, queue)).collect();
        let control = self.control(features, &mut queues);
        // Its drop stops what has begun where something cannot.
        let mut running = Box::new(Work {
            name: self.interface.name.clone(),
            team: self.team.clone(),
            sessions: Vec::new(),
        });
        if self.interface.vhost.is_some() {
            running.sessions = self.hand_over(features, &mut queues, control)?;
        } else {
            self.begin(features, &mut queues, control)?;
        }
        Ok(running)
    }
}

/// The device at work.
struct Work {
    name: String,
    team: Team,
    sessions: Vec<Session>,
}

impl Running for Work {
    fn notify(&mut self, _queue: u16) {}

    fn pause(&mut self) {
        self.team.pause();
        for session in &mut self.sessions {
            if let Err(error) = session.pause() {
                log::line(format_args!(
                    "network device {}: cannot pause: {error}",
                    self.name
                ));
            }
        }
    }

    fn resume(&mut self) {
        for session in &mut self.sessions {
            if let Err(error) = session.resume() {
                log::line(format_args!(
                    "network device {}: cannot go on: {error}",
                    self.name
                ));
            }
        }
        self.team.resume();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.team.stop();
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

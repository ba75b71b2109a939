//! Socket device (virtio 1.3 §5.10): byte streams between programs of the guest and Unix sockets of the host.
//!
//! | module         | what it holds                                                              |
//! |----------------|----------------------------------------------------------------------------|
//! | [`backing`]    | the host's side: the socket for clients, connecting to services            |
//! | [`packet`]     | packets of the rings                                                       |
//! | [`credit`]     | flow control; decides, does nothing                                        |
//! | [`connection`] | one connection: data, half-close                                           |
//! | [`worker`]     | the thread: rings, all connections                                         |
//! | [`counters`]   | what was done                                                              |
//!
//! ```text
//! guest connects to port P of the host (CID 2)     the service that listens at `vsock.sock_P` in the run directory
//! client connects to `vsock.sock`, `CONNECT P\n`   the guest's program that listens at port P; `OK H\n` tells the client
//!                                                  that it is connected, from port H
//! ```
//!
//! There is one thread. It alone of all of the process's may make and connect Unix sockets; see `sandbox`. It is there
//! before the machine thread gives that up, and lives as long as the process.

pub mod backing;
pub mod connection;
pub mod counters;
pub mod credit;
pub mod packet;
pub mod worker;

use std::io;
use std::sync::Arc;

use super::worker::{Restrict, Team, WorkerError};
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::log;
use backing::Host;
use worker::Streams;

/// Entries of the receive and the send queue.
const QUEUE_SIZE: u16 = 256;
/// Entries of the event queue, on which only a migration would tell something (§5.10.6.8).
const EVENT_QUEUE_SIZE: u16 = 8;

/// Feature bits (§5.10.3).
mod feature {
    pub const STREAM: u64 = 1 << 0;
}

/// The host's side with its thread, from which each life of the machine gets its device.
#[derive(Clone)]
pub struct Vsock {
    host: Arc<Host>,
    team: Team,
    config: [u8; 8],
}

impl Vsock {
    /// Starts the thread, which restricts itself by `restrict`.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(host: Arc<Host>, restrict: &Restrict) -> Result<Self, WorkerError> {
        Ok(Self {
            team: Team::new(["vsock".to_owned()].into_iter(), restrict)?,
            config: u64::from(host.cid).to_le_bytes(),
            host,
        })
    }
}

impl VirtioDevice for Vsock {
    fn kind(&self) -> Kind {
        Kind::Socket
    }

    fn features(&self) -> u64 {
        feature::STREAM
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE, QUEUE_SIZE, EVENT_QUEUE_SIZE]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Events
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn activate(&mut self, _features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let mut queues = queues.into_iter();
        let (Some(receive), Some(send)) = (queues.next(), queues.next()) else {
            return Err(io::Error::other("the driver has enabled too few queues"));
        };
        if (receive.index, send.index) != (0, 1) {
            return Err(io::Error::other("the driver has enabled the wrong queues"));
        }
        let host = self.host.clone();
        self.team.begin(0, move |orders| {
            let notifier = receive.notifier.clone();
            match Streams::new(host, receive, send, orders) {
                Ok(streams) => streams.run(orders),
                Err(errno) => {
                    log::line(format_args!("vsock: no epoll: {errno}"));
                    notifier.needs_reset();
                }
            }
        })?;
        Ok(Box::new(Work(self.team.clone())))
    }
}

/// The device at work.
struct Work(Team);

impl Running for Work {
    fn notify(&mut self, _queue: u16) {}

    fn pause(&mut self) {
        self.0.pause();
    }

    fn resume(&mut self) {
        self.0.resume();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests;

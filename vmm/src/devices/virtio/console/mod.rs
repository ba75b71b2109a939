//! Console device (virtio 1.3 §5.3) with one port, which is the machine's console where its config says so.
//!
//! | module   | what it holds                                                       |
//! |----------|---------------------------------------------------------------------|
//! | [`port`] | the port's two queues: printing, and typing in                      |
//!
//! ```text
//! guest -> transmit queue -> [`Console`]     on the thread of the vCPU that notifies: the driver waits for it anyway
//!          -> control thread -> [`Console`]  what it goes on offering meanwhile, without notifying
//! [`Console`] -> receive queue -> guest      on the thread of whoever types, or of the vCPU that offers buffers
//! ```
//!
//! A byte costs an exit on the UART; here a line does. There is no thread. What is typed has the time from then on until the
//! guest can see it, what is printed that from the driver's notification on.

pub mod port;

use std::io;
use std::sync::Arc;

use super::pair_times::PairTimes;
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::devices::serial::Console;
use port::{Port, Queues};

/// Entries of each queue.
const QUEUE_SIZE: u16 = 64;

/// The device.
pub struct VirtioConsole {
    port: Arc<Port>,
}

impl VirtioConsole {
    /// A device that prints to `console` and takes its input from there; `times` says how long that took.
    pub fn new(console: &Arc<Console>, times: &Arc<PairTimes>) -> Self {
        let port = Arc::new(Port::new(console.clone(), times.clone()));
        let weak = Arc::downgrade(&port);
        console.attach(weak);
        Self { port }
    }
}

impl VirtioDevice for VirtioConsole {
    fn kind(&self) -> Kind {
        Kind::Console
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE, QUEUE_SIZE]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Inline
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn activate(&mut self, _features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let queues = <[ActiveQueue; 2]>::try_from(queues);
        let [receive, transmit] =
            queues.map_err(|_| io::Error::other("the driver has not enabled both queues"))?;
        self.port.begin(Queues { receive, transmit });
        Ok(Box::new(Work(self.port.clone())))
    }
}

/// The device at work.
struct Work(Arc<Port>);

impl Running for Work {
    fn notify(&mut self, queue: u16) {
        self.0.notify(queue);
    }

    fn pause(&mut self) {
        self.0.set_paused(true);
    }

    fn resume(&mut self) {
        self.0.set_paused(false);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests;

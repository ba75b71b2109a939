//! Starting threads of devices.
//!
//! A device starts its threads when the guest's driver switches it on, which happens on the vCPU thread that wrote the
//! register. A thread started there would have that vCPU's CPU and filter. The spawner, a thread `devices` that the machine
//! thread starts once, starts them instead: they keep house where the machine does, and may do what devices do.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::{Role, Sandbox, SandboxError};

/// A thread to be started, and who waits for it.
struct Order {
    builder: Builder,
    body: Box<dyn FnOnce() + Send>,
    reply: SyncSender<io::Result<JoinHandle<()>>>,
}

/// Starts threads of devices; see the module. Dropping it ends the spawner, not what it started.
pub struct Spawner {
    orders: Mutex<Sender<Order>>,
}

impl Spawner {
    /// Starts the spawner, restricted by `sandbox`.
    ///
    /// # Errors
    /// Where the kernel has no thread left, or refuses the filter.
    pub fn start(sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Call {
            what: "start the thread that starts device threads",
            source,
        };
        let (orders, receiver) = mpsc::channel();
        let (ready, result) = mpsc::sync_channel(1);
        let sandbox = sandbox.clone();
        let body = move || {
            let restricted = sandbox.restrict(Role::Device);
            let good = restricted.is_ok();
            // `start` waits for it.
            let _ = ready.send(restricted);
            if good {
                serve(&receiver);
            }
        };
        Builder::new()
            .name("devices".to_owned())
            .spawn(body)
            .map_err(failed)?;
        result.recv().map_err(|error| failed(io::Error::other(error)))??;
        Ok(Self {
            orders: Mutex::new(orders),
        })
    }

    /// Starts a thread that runs `body`.
    ///
    /// # Errors
    /// Where the kernel has no thread left.
    pub fn spawn(
        &self,
        builder: Builder,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (reply, started) = mpsc::sync_channel(1);
        let order = Order {
            builder,
            body: Box::new(body),
            reply,
        };
        let gone = || io::Error::other("the thread that starts device threads is gone");
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(order)
            .map_err(|_| gone())?;
        started.recv().map_err(|_| gone())?
    }
}

fn serve(orders: &Receiver<Order>) {
    while let Ok(Order { builder, body, reply }) = orders.recv() {
        // Whoever asked waits for it.
        let _ = reply.send(builder.spawn(body));
    }
}

//! Requests on their way to the machine thread, from a thread that has others to serve.
//!
//! The machine thread is done at once with most of them. But to pause, to reset and to end it waits for what the devices have in
//! flight, and storage that does not answer keeps it for as long as it likes. Whoever asks then hears so after [`PATIENCE`], and
//! while the machine thread is kept, nothing more is asked of it but to stop.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axion_api::vmm::MachineState;

use super::Event;
use super::lifecycle::{Refusal, Request, verb};

/// How long an answer is waited for: less than the agent waits for one of this process.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request that is not fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The machine's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It will be, once the machine goes on.
    #[error(
        "the machine has not answered within {} s: a device waits for the host, perhaps for a disk's storage; {} is done once it \
         goes on", PATIENCE.as_secs(), verb(*.0)
    )]
    Late(Request),
    /// It will not be.
    #[error(
        "the machine is kept by an earlier request: a device waits for the host, perhaps for a disk's storage; {} is not done",
        verb(*.0)
    )]
    Busy(Request),
}

/// What the machine thread answers.
type Answer = Result<(), Refusal>;

/// The way to the machine thread.
pub struct Requests {
    events: Sender<Event>,
    /// Where the answer will come from that nobody waited for.
    late: Mutex<Option<Receiver<Answer>>>,
}

impl Requests {
    /// By `events`.
    pub fn new(events: Sender<Event>) -> Self {
        Self {
            events,
            late: Mutex::new(None),
        }
    }

    /// Has `request` fulfilled, if the machine thread can before long.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn ask(&self, request: Request) -> Result<(), RequestError> {
        self.ask_within(PATIENCE, request)
    }

    fn ask_within(&self, patience: Duration, request: Request) -> Result<(), RequestError> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = late
            .as_ref()
            .is_some_and(|answer| answer.try_recv() == Err(TryRecvError::Empty));
        if kept && request != Request::Stop {
            return Err(RequestError::Busy(request));
        }
        let answer = self.send(request)?;
        // It stops once it goes on.
        let patience = if kept { Duration::ZERO } else { patience };
        match answer.recv_timeout(patience) {
            Ok(answer) => Ok(answer?),
            Err(RecvTimeoutError::Disconnected) if request == Request::Stop => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(gone(request).into()),
            Err(RecvTimeoutError::Timeout) => {
                if !kept {
                    *late = Some(answer);
                }
                Err(RequestError::Late(request))
            }
        }
    }

    /// Sends `request`; the answer comes from what is returned.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn send(&self, request: Request) -> Result<Receiver<Answer>, Refusal> {
        let (reply, answer) = mpsc::sync_channel(1);
        let sent = self.events.send(Event::Request(request, reply));
        sent.map(|()| answer).map_err(|_| gone(request))
    }
}

const fn gone(request: Request) -> Refusal {
    Refusal {
        state: MachineState::Stopped,
        request,
    }
}

#[cfg(test)]
mod tests;

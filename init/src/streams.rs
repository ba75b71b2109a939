//! Datasets that are sent and received for the agent.
//!
//! ```text
//!   agent ── BeginStream ──►  pipe: one end to the agent, the other to `zfs send` or `zfs receive` on a thread of its own
//!         ◄── number, end
//!         ══ bytes ══════     closing the end, by intent or by death, ends the stream
//!         ── EndStream ───►   waits for the program; what it says
//! ```
//! The agent has no right to ZFS, and init does not touch the bytes. A stream has no deadline: it lasts as long as whoever is at
//! the other end wants.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer, Stream};
use axion_storage::StorageError;
use tokio::sync::{Semaphore, oneshot};

use crate::node::Node;
use crate::stage2;
use crate::storage::on_thread;
use crate::sync::lock;

/// Streams at the same time.
static STREAMS: Semaphore = Semaphore::const_new(4);
/// Ends that nobody asked for, before those that are over are forgotten.
const REMEMBERED: usize = 64;

/// Streams whose end nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Streams {
    last: u64,
    by_number: HashMap<u64, oneshot::Receiver<Answer>>,
}

impl Streams {
    fn add(&mut self, end: oneshot::Receiver<Answer>) -> u64 {
        if self.by_number.len() >= REMEMBERED {
            let goes_on = |end: &mut oneshot::Receiver<Answer>| {
                end.try_recv() == Err(oneshot::error::TryRecvError::Empty)
            };
            self.by_number.retain(|_, end| goes_on(end));
        }
        self.last += 1;
        self.by_number.insert(self.last, end);
        self.last
    }
}

/// Begins a stream, given as JSON: its number, and the agent's end of the pipe. Whatever is wrong with it is told at its end.
///
/// # Errors
/// It is no stream, or no file descriptor is free.
pub fn begin(node: &Arc<Node>, stream: &str) -> io::Result<(u64, OwnedFd)> {
    let stream: Stream = serde_json::from_str(stream)?;
    let (reader, writer) = io::pipe()?;
    let (ours, theirs): (OwnedFd, OwnedFd) = match stream {
        Stream::Send { .. } => (writer.into(), reader.into()),
        Stream::Receive { .. } => (reader.into(), writer.into()),
    };
    let (sender, receiver) = oneshot::channel();
    let number = lock(&node.streams).add(receiver);
    let node = node.clone();
    tokio::spawn(async move {
        let answer = run(&node, stream, ours).await;
        // Whoever began it may be gone.
        let _ = sender.send(answer);
    });
    Ok((number, theirs))
}

async fn run(node: &Arc<Node>, stream: Stream, end: OwnedFd) -> Answer {
    let problem = |kind, detail: String| Answer::Problem(Problem::new(kind, detail));
    let Some(storage) = node.storage.get().cloned() else {
        return Answer::Problem(StorageError::Absent.into());
    };
    let Ok(_turn) = STREAMS.try_acquire() else {
        let detail = "4 datasets are being sent or received; wait until one is done".to_owned();
        return problem(Kind::Unavailable, detail);
    };
    let work = {
        let node = node.clone();
        move || {
            let answer = storage.stream(stream, end);
            stage2::fence_threads(&node);
            answer
        }
    };
    let served = on_thread(work).await;
    served.unwrap_or_else(|error| problem(Kind::Internal, format!("the stream was not finished: {error}")))
}

/// Waits for the end of a stream; an answer as JSON.
pub async fn end(node: &Node, number: u64) -> String {
    let found = lock(&node.streams).by_number.remove(&number);
    let answer = match found {
        Some(end) => end.await.ok(),
        None => None,
    };
    let answer = answer.unwrap_or_else(|| {
        let detail = format!("there is no stream {number}, or its end was told before");
        Answer::Problem(Problem::new(Kind::NotFound, detail))
    });
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests;

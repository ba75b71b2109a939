//! Datasets on their way through the agent: from a pipe of init's into an answer's body, from a request's body into a pipe.
//!
//! The agent only carries the bytes, a pipe's worth at a time, so a slow client slows `zfs` and nothing is kept. Whichever side
//! goes away, the pipe is closed, and `zfs` ends. A stream that was sent is complete only if `zfs send` says so: where it does
//! not, the body breaks off, so that nobody takes a part for the whole.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer, Dataset, ReceiveOptions, SendOptions, Stream as Wanted};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use nix::fcntl::{FcntlArg, fcntl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::init::{Init, InitError, answer};
use crate::storage::{told, unexpected};

/// What a pipe holds, where the kernel gives so much, and what is read of it at a time; bytes.
const PIECE: usize = 1 << 20;
/// What is still read of a request that was refused, so that its sender gets to the answer: bytes, and how long.
const REST: usize = 64 << 20;
const REST_TIME: Duration = Duration::from_secs(10);

/// A stream that init has begun.
struct Begun {
    end: OwnedFd,
    outcome: JoinHandle<Result<Answer, Problem>>,
}

fn internal(what: &str, error: &dyn Display) -> Problem {
    Problem::new(Kind::Internal, format!("{what}: {error}"))
}

async fn begin(init: &Arc<Init>, wanted: &Wanted) -> Result<Begun, Problem> {
    let text = serde_json::to_string(wanted).map_err(|e| internal("cannot ask for a stream", &e))?;
    let (number, end) = answer(init.proxy()?.begin_stream(&text)).await?;
    let end: OwnedFd = end.into();
    // A smaller pipe is slower, and nothing else.
    let _ = i32::try_from(PIECE).map(|size| fcntl(&end, FcntlArg::F_SETPIPE_SZ(size)));
    let proxy = init.proxy()?;
    let outcome = tokio::spawn(async move {
        let ended = proxy.end_stream(number).await.map_err(InitError::from)?;
        told(&ended)
    });
    Ok(Begun { end, outcome })
}

/// What became of it.
async fn outcome(handle: JoinHandle<Result<Answer, Problem>>) -> Result<Answer, Problem> {
    let ended = handle.await;
    ended.unwrap_or_else(|error| Err(internal("the stream's end is not known", &error)))
}

/// What is in a snapshot. A refusal is known before the first byte.
pub async fn send(
    init: &Arc<Init>,
    name: String,
    options: SendOptions,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, Problem> {
    let wanted = Wanted::Send {
        name: name.clone(),
        options,
    };
    let begun = begin(init, &wanted).await?;
    let no_pipe = |error: io::Error| internal("init's pipe cannot be read", &error);
    let mut pipe = pipe::Receiver::from_owned_fd(begun.end).map_err(no_pipe)?;
    let first = read(&mut pipe).await.map_err(no_pipe)?;
    if first.is_empty() {
        outcome(begun.outcome).await?;
        return Err(Problem::new(Kind::Internal, "`zfs send` wrote nothing"));
    }
    let state = Sending {
        name,
        first: Some(first),
        pipe,
        outcome: Some(begun.outcome),
    };
    Ok(futures_util::stream::unfold(state, |mut state| async {
        let part = state.next().await?;
        Some((part, state))
    }))
}

struct Sending {
    name: String,
    first: Option<Bytes>,
    pipe: pipe::Receiver,
    outcome: Option<JoinHandle<Result<Answer, Problem>>>,
}

impl Sending {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        match read(&mut self.pipe).await {
            Ok(part) if part.is_empty() => {}
            read => return Some(read),
        }
        let problem = outcome(self.outcome.take()?).await.err()?;
        tracing::warn!("the stream of {} broke off: {}", self.name, problem.detail);
        Some(Err(io::Error::other(problem.detail)))
    }
}

async fn read(pipe: &mut pipe::Receiver) -> io::Result<Bytes> {
    let mut part = BytesMut::with_capacity(PIECE);
    pipe.read_buf(&mut part).await?;
    Ok(part.freeze())
}

/// Makes a dataset of a request's body.
pub async fn receive<E: Display>(
    init: &Arc<Init>,
    name: String,
    options: ReceiveOptions,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Dataset, Problem> {
    let begun = begin(init, &Wanted::Receive { name, options }).await?;
    let mut pipe = pipe::Sender::from_owned_fd(begun.end)
        .map_err(|error| internal("init's pipe cannot be written to", &error))?;
    let mut broken = None;
    while let Some(part) = body.next().await {
        match part {
            // It has ended, and says itself why.
            Ok(part) if pipe.write_all(&part).await.is_err() => break,
            Ok(_) => {}
            Err(error) => {
                broken = Some(format!("the body ended early: {error}"));
                break;
            }
        }
    }
    drop(pipe);
    match outcome(begun.outcome).await {
        Ok(Answer::Dataset(dataset, _)) => Ok(*dataset),
        Ok(_) => Err(unexpected()),
        Err(_) if broken.is_some() => Err(Problem::new(Kind::Malformed, broken.unwrap_or_default())),
        Err(problem) => {
            read_on(&mut body).await;
            Err(problem)
        }
    }
}

/// Reads what is left of a body that was refused: a sender that does not get to its end finds the connection closed, and no
/// answer.
pub async fn read_on<E>(body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let mut rest = REST;
    let read_on = async {
        while let Some(Ok(part)) = body.next().await {
            match rest.checked_sub(part.len()) {
                Some(left) => rest = left,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(REST_TIME, read_on).await;
}

#[cfg(test)]
mod tests;

//! Connections: an HTTP client of the API socket, a watcher of the console socket. Neither ever blocks, nor keeps the thread for
//! longer than a turn: what a guest prints, or a client types, without end goes on in the next one.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::epoll::EpollFlags;

use super::http::{self, Answer, Parsed};
use super::routes::{self, Subject};
use crate::devices::serial::Console;

/// Pieces of what is printed, or typed, in a turn.
const PIECES: usize = 2;

/// A connection, and what it waits for.
pub struct Peer {
    stream: UnixStream,
    pub(super) kind: Kind,
    /// What epoll watches for.
    pub(super) interest: EpollFlags,
}

/// What a connection speaks.
pub enum Kind {
    /// HTTP.
    Api {
        /// Received and not yet answered.
        input: Vec<u8>,
        /// Answered and not yet sent.
        output: Vec<u8>,
        /// Ends once `output` is sent.
        closing: bool,
    },
    /// The guest's serial line.
    Console {
        /// Position in the stream of output up to which it was sent.
        position: u64,
        /// The client types no more; it may still watch.
        mute: bool,
    },
}

/// The connection has ended.
pub struct Gone;

impl Peer {
    /// A client of the API socket.
    pub fn api(stream: UnixStream) -> Self {
        let kind = Kind::Api {
            input: Vec::new(),
            output: Vec::new(),
            closing: false,
        };
        Self {
            stream,
            kind,
            interest: EpollFlags::EPOLLIN,
        }
    }

    /// A client of the console socket.
    pub fn console(stream: UnixStream) -> Self {
        Self {
            stream,
            kind: Kind::Console {
                position: 0,
                mute: false,
            },
            interest: EpollFlags::EPOLLIN,
        }
    }

    /// Receives, answers and sends what can be without waiting; returns what to wait for.
    pub fn serve(&mut self, subject: &impl Subject, console: &Console) -> Result<EpollFlags, Gone> {
        let Self { stream, kind, .. } = self;
        match kind {
            Kind::Api {
                input,
                output,
                closing,
            } => {
                if !*closing {
                    receive(stream, input, subject, output, closing)?;
                }
                if send(stream, output)? {
                    return Ok(EpollFlags::EPOLLOUT);
                }
                if *closing {
                    Err(Gone)
                } else {
                    Ok(EpollFlags::EPOLLIN)
                }
            }
            Kind::Console { position, mute } => {
                let mut interest = EpollFlags::empty();
                if !*mute {
                    interest |= type_in(stream, console, mute)?;
                }
                if show(stream, console, position)? {
                    interest |= EpollFlags::EPOLLOUT;
                }
                Ok(interest)
            }
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Reads once; `None` where there is nothing now.
fn read(stream: &mut UnixStream, buffer: &mut [u8]) -> Result<Option<usize>, Gone> {
    match stream.read(buffer) {
        Ok(count) => Ok(Some(count)),
        Err(error) => not_now(&error).map(|()| None),
    }
}

/// Writes once; `None` where there is no room now.
fn write(stream: &mut UnixStream, bytes: &[u8]) -> Result<Option<usize>, Gone> {
    match stream.write(bytes) {
        Ok(count) => Ok(Some(count)),
        Err(error) => not_now(&error).map(|()| None),
    }
}

fn not_now(error: &io::Error) -> Result<(), Gone> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(Gone),
    }
}

fn receive(
    stream: &mut UnixStream,
    input: &mut Vec<u8>,
    subject: &impl Subject,
    output: &mut Vec<u8>,
    closing: &mut bool,
) -> Result<(), Gone> {
    let mut buffer = [0; http::MAX_HEAD];
    match read(stream, &mut buffer)? {
        None => return Ok(()),
        Some(0) => return Err(Gone),
        Some(count) => input.extend(buffer.get(..count).unwrap_or_default()),
    }
    // A client that sends faster than it reads its answers waits for the next turn with what it sent.
    while !*closing && output.is_empty() {
        match http::parse(input) {
            Parsed::Partial => break,
            Parsed::Malformed(problem) => {
                output.extend(Answer::problem(&problem).bytes(true));
                *closing = true;
            }
            Parsed::Request(request, used) => {
                output.extend(routes::answer(subject, &request).bytes(request.close));
                *closing = request.close;
                input.drain(..used);
            }
        }
        send(stream, output)?;
    }
    Ok(())
}

/// Sends; returns whether something is left.
fn send(stream: &mut UnixStream, output: &mut Vec<u8>) -> Result<bool, Gone> {
    while !output.is_empty() {
        match write(stream, output)? {
            Some(count) => drop(output.drain(..count)),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Passes on what the client types as far as the console takes it.
fn type_in(stream: &mut UnixStream, console: &Console, mute: &mut bool) -> Result<EpollFlags, Gone> {
    let mut buffer = [0; 4096];
    for _ in 0..PIECES {
        let room = console.room().min(buffer.len());
        let Some(space) = buffer.get_mut(..room).filter(|space| !space.is_empty()) else {
            return Ok(EpollFlags::empty());
        };
        match read(stream, space)? {
            None => return Ok(EpollFlags::EPOLLIN),
            Some(0) => {
                *mute = true;
                return Ok(EpollFlags::empty());
            }
            // This thread alone types: there is still room for all of it.
            Some(count) => drop(console.type_in(buffer.get(..count).unwrap_or_default())),
        }
    }
    Ok(EpollFlags::EPOLLIN)
}

/// Sends what the guest printed; returns whether something may be left.
fn show(stream: &mut UnixStream, console: &Console, position: &mut u64) -> Result<bool, Gone> {
    let mut buffer = [0; 16 << 10];
    for _ in 0..PIECES {
        let (start, count) = console.output(*position, &mut buffer);
        *position = start;
        if count == 0 {
            return Ok(false);
        }
        match write(stream, buffer.get(..count).unwrap_or_default())? {
            Some(sent) => *position += sent as u64,
            None => return Ok(true),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;

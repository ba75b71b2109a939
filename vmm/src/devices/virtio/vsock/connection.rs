//! A connection between a port of the guest and a Unix socket of the host.
//!
//! ```text
//! opened by the guest:   open ────────────┐
//! opened by a client:    asked ──granted──┴──> open ──both ends told of the end──> closing ──reset──> gone
//!                                               '── ended by the guest, reset ──> lingering ──all passed on──^
//! ```
//!
//! Data goes between socket and guest memory without a copy. What a client does not take at once is kept, [`ROOM`]
//! (credit.rs) bytes at most, which is all the room that the guest is told of. Each direction ends by itself (half-close):
//! what has been sent before still arrives.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use vm_memory::{
    GuestAddress, GuestMemoryBackend, ReadVolatile, VolatileMemoryError, VolatileSlice, WriteVolatile,
};

use super::credit::Credit;
use super::packet::{Header, Op, shutdown};
use crate::devices::virtio::queue::Segment;
use crate::memory::GuestMemory;

/// What names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The host's.
    pub host: u32,
    /// The guest's.
    pub guest: u32,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The guest was, or is to be, asked for it.
    Asked,
    /// Data may go.
    Open,
    /// Both directions have ended. The guest is to say that it knows.
    Closing,
    /// The guest knows nothing of it any more; what it sent before its end still goes to the client.
    Lingering,
}

/// What is to go to the guest next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A packet without data, with these flags.
    Tell(Op, u32),
    /// Data, if there still is some.
    Data,
}

/// A connection.
pub struct Connection {
    /// Its name.
    pub ports: Ports,
    /// How far it is.
    pub phase: Phase,
    /// Since when it has been waiting for its turn at the receive ring, if it does.
    pub queued: Option<Instant>,
    /// None when it is closing.
    stream: Option<UnixStream>,
    credit: Credit,
    /// What the client has not taken yet.
    backlog: VecDeque<u8>,
    /// The socket may have something to read.
    readable: bool,
    /// What opens it on this side, while it is to be sent.
    opening: Option<Op>,
    /// The guest is to be told of its room.
    update: bool,
    /// It has failed, which the guest is to be told.
    failed: bool,
    /// Directions that the guest has ended.
    guest_ended: u32,
    /// Directions that the client has ended, as flags of the host's.
    host_ended: u32,
    /// Of them, those that the guest knows.
    told: u32,
}

impl Connection {
    /// One that the guest asked for by `header`, with the service at the other end of `stream`.
    pub fn granted(ports: Ports, stream: UnixStream, header: &Header) -> Self {
        let mut connection = Self::new(ports, stream, Phase::Open, Op::Response);
        connection.credit.hear(header);
        connection
    }

    /// One that the client at the other end of `stream` asks for.
    pub fn asked(ports: Ports, stream: UnixStream) -> Self {
        Self::new(ports, stream, Phase::Asked, Op::Request)
    }

    fn new(ports: Ports, stream: UnixStream, phase: Phase, opening: Op) -> Self {
        Self {
            ports,
            phase,
            queued: None,
            stream: Some(stream),
            credit: Credit::default(),
            backlog: VecDeque::new(),
            // Nothing is lost by a look too many.
            readable: true,
            opening: Some(opening),
            update: false,
            failed: false,
            guest_ended: 0,
            host_ended: 0,
            told: 0,
        }
    }

    /// What is to go to the guest next, if anything.
    pub fn wish(&self) -> Option<Wish> {
        if self.failed {
            return Some(Wish::Tell(Op::Reset, 0));
        }
        if let Some(op) = self.opening {
            return Some(Wish::Tell(op, 0));
        }
        if self.phase != Phase::Open {
            return None;
        }
        let ended = self.host_ended & shutdown::SEND != 0 || self.guest_ended & shutdown::RECEIVE != 0;
        if self.readable && !ended {
            if self.credit.available() > 0 {
                return Some(Wish::Data);
            }
            if self.credit.is_question_due() {
                return Some(Wish::Tell(Op::CreditRequest, 0));
            }
        }
        if self.update || self.credit.is_update_due() {
            return Some(Wish::Tell(Op::CreditUpdate, 0));
        }
        (self.host_ended & !self.told != 0).then_some(Wish::Tell(Op::Shutdown, self.host_ended))
    }

    /// Whether it is over once the guest has been told so.
    pub fn is_over(&self) -> bool {
        self.failed
    }

    /// The guest has reset it. Linux does that 8 seconds after its programs have closed a socket, whatever the other end has taken by
    /// then: what was sent before an orderly end is not lost. Says whether there is something to wait for.
    pub fn linger(&mut self) -> bool {
        let ended = self.guest_ended & shutdown::SEND != 0;
        if let (true, false, Some(stream)) = (ended, self.backlog.is_empty(), &self.stream) {
            (self.phase, self.opening) = (Phase::Lingering, None);
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.phase == Phase::Lingering
    }

    /// Whether it was lingering, and has nothing to wait for any more.
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Lingering && self.backlog.is_empty()
    }

    /// Fills in what `header` says of room, and takes note that the packet goes to the guest.
    pub fn tell(&mut self, header: &mut Header, op: Op, flags: u32) {
        self.credit.tell(header);
        self.update = false;
        match op {
            Op::Request | Op::Response => self.opening = None,
            Op::CreditRequest => self.credit.ask(),
            Op::Data => self.credit.send(header.len),
            Op::Shutdown => {
                self.told |= flags;
                if self.told == shutdown::BOTH {
                    self.phase = Phase::Closing;
                    self.stream = None;
                    self.backlog = VecDeque::new();
                }
            }
            Op::Reset | Op::CreditUpdate => {}
        }
    }

    /// Reads from the client into `segments`, no more than the guest has room for; returns the number of bytes.
    pub fn fetch(&mut self, memory: &GuestMemory, segments: &[Segment], most: u32) -> u32 {
        let mut left = self.credit.available().min(most);
        let mut fetched = 0;
        for segment in segments {
            let len = segment.len.min(left);
            let (Some(stream), true) = (self.stream.as_mut(), len > 0) else {
                break;
            };
            let address = GuestAddress(segment.address);
            let Ok(mut place) = memory.get_slice(address, usize::try_from(len).unwrap_or(0)) else {
                break;
            };
            match outcome(stream.read_volatile(&mut place)) {
                Ok(0) => {
                    self.host_ended |= shutdown::SEND;
                    break;
                }
                Ok(count) => {
                    fetched += count;
                    left -= count;
                    if count < len {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                // What a client does that goes away with data unread.
                Err(_) => {
                    self.host_ended |= shutdown::SEND;
                    break;
                }
            }
        }
        fetched
    }

    /// Takes note of what a packet from the guest says of room.
    pub fn hear(&mut self, header: &Header) {
        self.credit.hear(header);
    }

    /// The guest asks for its room.
    pub fn owe_update(&mut self) {
        self.update = true;
    }

    /// The guest has granted it: tells the client, whose socket is empty.
    pub fn open(&mut self) {
        self.phase = Phase::Open;
        let line = format!("OK {}\n", self.ports.host);
        let told = self
            .stream
            .as_mut()
            .is_some_and(|stream| stream.write_all(line.as_bytes()).is_ok());
        if !told {
            self.fail();
        }
    }

    /// Passes `len` bytes of `segments` to the client, or keeps them. More than the guest was told that there is room for
    /// is a failure, and so is data after its end.
    pub fn pass(&mut self, memory: &GuestMemory, segments: &[Segment], len: u32) {
        let may = self.phase == Phase::Open && self.guest_ended & shutdown::SEND == 0;
        if !may || !self.credit.receive(len) {
            return self.fail();
        }
        let mut left = len;
        for segment in segments {
            let count = segment.len.min(left);
            left -= count;
            let (address, size) = (GuestAddress(segment.address), usize::try_from(count).unwrap_or(0));
            if let Ok(slice) = memory.get_slice(address, size) {
                self.pass_slice(&slice);
            }
        }
    }

    fn pass_slice<B: vm_memory::bitmap::BitmapSlice>(&mut self, slice: &VolatileSlice<'_, B>) {
        let mut rest = 0;
        while rest < slice.len() && self.backlog.is_empty() {
            let (Ok(piece), Some(stream)) = (slice.offset(rest), self.stream.as_mut()) else {
                break;
            };
            if self.host_ended & shutdown::RECEIVE != 0 {
                self.credit.forward(u32::try_from(piece.len()).unwrap_or(0));
                return;
            }
            match outcome(stream.write_volatile(&piece)) {
                Ok(count) if count > 0 => {
                    self.credit.forward(count);
                    rest += usize::try_from(count).unwrap_or(0);
                }
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.host_ended |= shutdown::RECEIVE,
            }
        }
        if let Ok(piece) = slice.offset(rest) {
            let mut copy = vec![0; piece.len()];
            piece.copy_to(&mut copy);
            self.backlog.extend(copy);
        }
    }

    /// The socket has changed: there is something to read, or room, or it has hung up.
    pub fn wake(&mut self, hung_up: bool) {
        self.readable = true;
        if hung_up && self.phase == Phase::Asked {
            return self.fail();
        }
        if hung_up {
            self.host_ended |= shutdown::RECEIVE;
        }
        self.flush();
    }

    /// Passes on what was kept, as far as the client takes it.
    fn flush(&mut self) {
        while !self.backlog.is_empty() && self.host_ended & shutdown::RECEIVE == 0 {
            let (front, _) = self.backlog.as_slices();
            let Some(stream) = self.stream.as_mut() else { break };
            match stream.write(front) {
                Ok(0) => break,
                Ok(count) => {
                    self.backlog.drain(..count);
                    self.credit.forward(u32::try_from(count).unwrap_or(0));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.host_ended |= shutdown::RECEIVE,
            }
        }
        if self.host_ended & shutdown::RECEIVE != 0 {
            self.credit
                .forward(u32::try_from(self.backlog.len()).unwrap_or(0));
            self.backlog.clear();
        }
        if self.backlog.is_empty() {
            // A busy moment is not to cost its memory for ever.
            self.backlog = VecDeque::new();
            self.end();
        }
    }

    /// The guest ends directions by `flags`.
    pub fn shut(&mut self, flags: u32) {
        self.guest_ended |= flags & shutdown::BOTH;
        if self.guest_ended & shutdown::RECEIVE != 0
            && let Some(stream) = &self.stream
        {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.flush();
    }

    /// Does what was to wait until all that the guest sent had been passed on.
    fn end(&mut self) {
        if self.guest_ended & shutdown::SEND != 0
            && let Some(stream) = &self.stream
        {
            let _ = stream.shutdown(Shutdown::Write);
        }
        if self.guest_ended == shutdown::BOTH {
            self.fail();
        }
    }

    /// It is over, and the guest is to be told.
    pub fn fail(&mut self) {
        self.failed = true;
        self.stream = None;
        self.backlog = VecDeque::new();
    }
}

/// A count of bytes, or what the system call said.
fn outcome(result: Result<usize, VolatileMemoryError>) -> io::Result<u32> {
    match result {
        Ok(count) => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
        Err(VolatileMemoryError::IOError(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}

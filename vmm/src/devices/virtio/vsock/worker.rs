//! The thread of the socket device.
//!
//! ```text
//! send ring ──packet──> connection ──> its Unix socket
//! receive ring <──packet── connections with a wish, in turn <── edges of epoll
//! ```
//!
//! What a hostile guest can have of this process is bounded: [`MOST_PEERS`] connections with [`ROOM`] bytes each at
//! most, and [`MOST_RESETS`] answers to packets of no connection, beyond which nothing more is taken from the send ring
//! until the guest takes them.
//!
//! How long packets are with us is counted when a round's results are seen: one of the guest's has the time of its round, one to
//! the guest the time since its connection had something to tell.
//!
//! Connections that want to tell the guest something stand in a queue and get one packet at a time. A connection whose
//! ends have both been told waits for the guest's reset; where there are too many, the oldest of these goes first, then
//! the oldest client that has not said yet what it wants, then the oldest that lingers: one that the guest has ended and reset, and
//! whose client has not taken yet what was sent before. It has [`LINGER`] for that.
//!
//! [`ROOM`]: super::credit::ROOM

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backing::{self, Host, LONGEST_LINE};
use super::connection::{Connection, Phase, Ports, Wish};
use super::packet::{HEADER, HEADER_LEN, HOST_CID, Header, MOST_DATA, Op, STREAM};
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::net::tap::borrow;
use crate::devices::virtio::queue::segments::{self, advance, take_first, total};
use crate::devices::virtio::queue::{Chain, RingError};
use crate::devices::virtio::worker::{Order, Orders};
use crate::log;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Most connections, and clients that have not said yet what they want.
pub const MOST_PEERS: usize = 512;
/// Most answers that wait to tell the guest that there is no such connection.
pub const MOST_RESETS: usize = 256;
/// How long a client may take for what the guest sent before it ended a connection.
const LINGER: Duration = Duration::from_secs(60);
/// Ports of this side that clients' connections come from: the first, and behind the last.
const CLIENT_PORTS: (u32, u32) = (1 << 30, 1 << 31);

/// What epoll reports; peers follow from [`FIRST_PEER`] on.
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const LISTENER: u64 = 2;
const ORDERS: u64 = 3;
const FIRST_PEER: u64 = 4;

/// The other end of a Unix socket.
enum Peer {
    /// A client that has not said yet what it wants.
    Greeting(UnixStream, Vec<u8>),
    /// A connection.
    Connection(Box<Connection>),
}

/// The device at work.
pub struct Streams {
    host: Arc<Host>,
    receive: ActiveQueue,
    send: ActiveQueue,
    epoll: Epoll,
    peers: BTreeMap<u64, Peer>,
    by_ports: BTreeMap<Ports, u64>,
    next_token: u64,
    next_port: u32,
    /// Connections with something to tell, in turn.
    ready: VecDeque<u64>,
    /// Connections that linger, and until when.
    lingering: VecDeque<(Instant, u64)>,
    /// Ports of packets that belong to no connection.
    /// Since when each has been there.
    resets: VecDeque<(Ports, Instant)>,
    /// A chain of the receive ring that nothing was put into yet.
    held: Option<Chain>,
    /// To be filled from the send ring.
    chain: Chain,
    /// The send ring may have something.
    offered: bool,
    /// The receive ring has nothing until the driver tells.
    starved: bool,
    /// When the round began: something had happened by then.
    now: Instant,
    /// Packets that were taken in this round.
    taken: u64,
    /// Since when those that were given in it had been there.
    given: Vec<Instant>,
    /// The driver broke a ring.
    broken: bool,
}

fn watch() -> EpollFlags {
    EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
}

impl Streams {
    /// Work on the rings of `host`'s guest.
    ///
    /// # Errors
    /// `errno` of epoll(7).
    pub fn new(
        host: Arc<Host>,
        receive: ActiveQueue,
        send: ActiveQueue,
        orders: &Orders,
    ) -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        for (queue, token) in [(&receive, RECEIVE), (&send, SEND)] {
            if let Some(doorbell) = &queue.doorbell {
                epoll.add(borrow(doorbell), EpollEvent::new(edge, token))?;
            }
        }
        epoll.add(borrow(orders.wake()), EpollEvent::new(edge, ORDERS))?;
        epoll.add(&host.listener, EpollEvent::new(edge, LISTENER))?;
        Ok(Self {
            host,
            receive,
            send,
            epoll,
            peers: BTreeMap::new(),
            by_ports: BTreeMap::new(),
            next_token: FIRST_PEER,
            next_port: CLIENT_PORTS.0,
            ready: VecDeque::new(),
            lingering: VecDeque::new(),
            resets: VecDeque::new(),
            held: None,
            chain: Chain::default(),
            offered: true,
            starved: false,
            now: Instant::now(),
            taken: 0,
            given: Vec::new(),
            broken: false,
        })
    }

    /// Works until the order to stop, which ends all connections.
    pub fn run(mut self, orders: &Orders) {
        loop {
            match orders.current() {
                Order::Run => {
                    let more = self.round();
                    if let Err(errno) = self.wait(more) {
                        self.fail(&std::io::Error::from(errno));
                        break;
                    }
                }
                // Nothing is in flight between rounds.
                Order::Pause => {
                    orders.rest();
                    self.now = Instant::now();
                }
                Order::Stop => break,
            }
        }
        self.host.counters.connections.set(0);
    }

    /// A round of each ring; says whether there is more.
    fn round(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let worked = self.take_packets().and_then(|()| self.give_packets());
        self.send.publish();
        self.receive.publish();
        self.count();
        if let Err(error) = worked {
            self.fail(&error);
            return false;
        }
        let may_take = self.offered && self.resets.len() < MOST_RESETS;
        may_take || (self.has_packets() && !self.starved)
    }

    /// Counts what the driver can see now.
    fn count(&mut self) {
        let counters = &self.host.counters;
        counters.connections.set(self.by_ports.len() as u64);
        let taken = std::mem::take(&mut self.taken);
        if taken == 0 && self.given.is_empty() {
            return;
        }
        let end = Instant::now();
        let sent = end.saturating_duration_since(self.now);
        counters.times.send.add_all(sent, taken);
        for since in self.given.drain(..) {
            counters.times.receive.add(end.saturating_duration_since(since));
        }
    }

    fn has_packets(&self) -> bool {
        !self.resets.is_empty() || !self.ready.is_empty()
    }

    fn wait(&mut self, more: bool) -> Result<(), Errno> {
        let mut events = [EpollEvent::empty(); 32];
        let timeout = match self.lingering.front() {
            _ if more => EpollTimeout::ZERO,
            // Rounded up: to wake too early is to wake twice.
            Some((end, _)) => {
                let left = end.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
            }
            None => EpollTimeout::NONE,
        };
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        self.now = Instant::now();
        while let Some((_, token)) = self.lingering.front().filter(|(end, _)| *end <= self.now) {
            self.remove(*token);
        }
        for event in events.iter().take(count) {
            match event.data() {
                RECEIVE => self.starved = false,
                SEND => self.offered = true,
                LISTENER => self.accept(),
                ORDERS => {}
                token => self.wake(token, event.events()),
            }
        }
        Ok(())
    }

    // From the guest.

    fn take_packets(&mut self) -> Result<(), RingError> {
        if !self.offered {
            return Ok(());
        }
        self.send.ring.silence();
        for _ in 0..self.send.ring.size() {
            if self.resets.len() >= MOST_RESETS {
                return Ok(());
            }
            while !self.send.ring.pop(&mut self.chain)? {
                if !self.send.ring.listen()? {
                    self.offered = false;
                    return Ok(());
                }
            }
            let memory = self.send.ring.memory();
            let header = take_first(memory, &mut self.chain.readable).ok_or(RingError::Buffer)?;
            self.take(&Header::read(header));
            self.send.ring.complete(self.chain.head, 0);
            self.taken += 1;
        }
        Ok(())
    }

    /// Takes a packet, whose data is in `self.chain`.
    fn take(&mut self, header: &Header) {
        // Packets in others' names, or for others, are nobody's (§5.10.6.4).
        if header.src_cid != u64::from(self.host.cid) || header.dst_cid != HOST_CID {
            return;
        }
        let ports = Ports {
            host: header.dst_port,
            guest: header.src_port,
        };
        let op = Op::of(header.op).filter(|_| header.kind == STREAM);
        let Some(token) = self.by_ports.get(&ports).copied() else {
            match op {
                Some(Op::Request) => self.open(ports, header),
                Some(Op::Reset) => {}
                _ => self.refuse(ports),
            }
            return;
        };
        let Some(Peer::Connection(connection)) = self.peers.get_mut(&token) else {
            return;
        };
        connection.hear(header);
        match op {
            Some(Op::Response) if connection.phase == Phase::Asked => connection.open(),
            Some(Op::Data) => {
                let here = total(&self.chain.readable);
                if header.len <= MOST_DATA && usize::try_from(header.len).is_ok_and(|len| len <= here) {
                    let memory = self.send.ring.memory();
                    connection.pass(memory, &self.chain.readable, header.len);
                    self.host.counters.sent_bytes.add(header.len.into());
                } else {
                    connection.fail();
                }
            }
            Some(Op::Shutdown) if connection.phase != Phase::Asked => connection.shut(header.flags),
            Some(Op::CreditRequest) => connection.owe_update(),
            Some(Op::CreditUpdate) => {}
            Some(Op::Reset) => {
                self.host.counters.resets.add(1);
                if connection.linger() {
                    return self.keep(token, ports);
                }
                return self.remove(token);
            }
            Some(Op::Request | Op::Response | Op::Shutdown) | None => connection.fail(),
        }
        self.queue(token);
    }

    /// The guest asks for a connection.
    fn open(&mut self, ports: Ports, header: &Header) {
        let connected = self
            .make_room()
            .then(|| self.host.connect(ports.host).ok())
            .flatten();
        let admitted = connected.is_some_and(|stream| {
            self.admit(ports, stream, |stream| Connection::granted(ports, stream, header))
        });
        if admitted {
            self.host.counters.from_guest.add(1);
        } else {
            self.refuse(ports);
        }
    }

    /// The guest is to be told that there is no such connection.
    fn refuse(&mut self, ports: Ports) {
        self.host.counters.resets.add(1);
        self.resets.push_back((ports, self.now));
    }

    // To the guest.

    fn give_packets(&mut self) -> Result<(), RingError> {
        if self.starved {
            return Ok(());
        }
        self.receive.ring.silence();
        for _ in 0..self.receive.ring.size() {
            if !self.has_packets() {
                return Ok(());
            }
            let Some(chain) = self.hold()? else {
                self.starved = true;
                return Ok(());
            };
            match self.give(&chain)? {
                Some(written) => self.receive.ring.complete(chain.head, written),
                None => self.held = Some(chain),
            }
        }
        Ok(())
    }

    /// A chain of the receive ring, if there is one.
    fn hold(&mut self) -> Result<Option<Chain>, RingError> {
        if let Some(chain) = self.held.take() {
            return Ok(Some(chain));
        }
        let mut chain = Chain::default();
        while !self.receive.ring.pop(&mut chain)? {
            if !self.receive.ring.listen()? {
                return Ok(None);
            }
        }
        if total(&chain.writable) <= HEADER {
            return Err(RingError::Buffer);
        }
        Ok(Some(chain))
    }

    /// Puts the next packet into `chain`; returns its bytes, if there is one.
    fn give(&mut self, chain: &Chain) -> Result<Option<u32>, RingError> {
        if let Some((ports, since)) = self.resets.pop_front() {
            self.given.push(since);
            let header = self.header(ports, Op::Reset, 0);
            return Ok(Some(self.put(chain, &header)));
        }
        let Some(token) = self.ready.pop_front() else {
            return Ok(None);
        };
        let Some(Peer::Connection(connection)) = self.peers.get_mut(&token) else {
            return Ok(None);
        };
        let since = connection.queued.take().unwrap_or(self.now);
        let (op, flags, len) = match connection.wish() {
            Some(Wish::Tell(op, flags)) => (op, flags, 0),
            Some(Wish::Data) => {
                let mut place = chain.writable.clone();
                advance(&mut place, HEADER as u64);
                let len = connection.fetch(self.receive.ring.memory(), &place, MOST_DATA);
                (Op::Data, 0, len)
            }
            None => return Ok(None),
        };
        let ports = connection.ports;
        let given = (op != Op::Data || len > 0).then(|| {
            let mut header = self.header(ports, op, flags);
            header.len = len;
            if let Some(Peer::Connection(connection)) = self.peers.get_mut(&token) {
                connection.tell(&mut header, op, flags);
            }
            self.host.counters.received_bytes.add(len.into());
            self.put(chain, &header)
        });
        if given.is_some() {
            self.given.push(since);
        }
        if op == Op::Reset {
            self.host.counters.resets.add(1);
            self.remove(token);
        }
        self.queue(token);
        Ok(given)
    }

    fn header(&self, ports: Ports, op: Op, flags: u32) -> Header {
        Header {
            src_cid: HOST_CID,
            dst_cid: self.host.cid.into(),
            src_port: ports.host,
            dst_port: ports.guest,
            kind: STREAM,
            op: op as u16,
            flags,
            ..Header::default()
        }
    }

    /// Writes `header` to the beginning of `chain`; returns the bytes of the packet.
    fn put(&self, chain: &Chain, header: &Header) -> u32 {
        segments::write(self.receive.ring.memory(), &chain.writable, 0, &header.bytes());
        header.len.saturating_add(HEADER_LEN)
    }

    // Peers.

    /// Puts a connection that has something to tell in the queue.
    fn queue(&mut self, token: u64) {
        if let Some(Peer::Connection(connection)) = self.peers.get_mut(&token)
            && connection.queued.is_none()
            && connection.wish().is_some()
        {
            connection.queued = Some(self.now);
            self.ready.push_back(token);
        }
    }

    /// Takes the clients that have come.
    fn accept(&mut self) {
        // No more than there could be; the others have been told of by then.
        for _ in 0..MOST_PEERS {
            let Ok(stream) = self.host.accept() else { return };
            if !self.make_room() {
                continue;
            }
            let token = self.next_token;
            self.next_token += 1;
            if self.epoll.add(&stream, EpollEvent::new(watch(), token)).is_ok() {
                self.peers.insert(token, Peer::Greeting(stream, Vec::new()));
            }
        }
    }

    /// Whether there is room for one more peer, which is made where that costs nothing that works.
    fn make_room(&mut self) -> bool {
        if self.peers.len() < MOST_PEERS {
            return true;
        }
        let over =
            |peer: &Peer| matches!(peer, Peer::Connection(connection) if connection.phase == Phase::Closing);
        let silent = |peer: &Peer| matches!(peer, Peer::Greeting(..));
        let lingers = |peer: &Peer| matches!(peer, Peer::Connection(connection) if connection.phase == Phase::Lingering);
        let find = |which: &dyn Fn(&Peer) -> bool| {
            let mut peers = self.peers.iter();
            peers.find(|(_, peer)| which(peer)).map(|(token, _)| *token)
        };
        match find(&over).or_else(|| find(&silent)).or_else(|| find(&lingers)) {
            Some(token) => {
                self.remove(token);
                true
            }
            None => false,
        }
    }

    /// Adds a connection by `stream`; says whether it could be watched.
    fn admit(
        &mut self,
        ports: Ports,
        stream: UnixStream,
        make: impl FnOnce(UnixStream) -> Connection,
    ) -> bool {
        let token = self.next_token;
        self.next_token += 1;
        if self.epoll.add(&stream, EpollEvent::new(watch(), token)).is_err() {
            return false;
        }
        self.peers.insert(token, Peer::Connection(Box::new(make(stream))));
        self.by_ports.insert(ports, token);
        self.queue(token);
        true
    }

    /// Keeps a connection of which the guest knows nothing any more: its `ports` are free.
    fn keep(&mut self, token: u64, ports: Ports) {
        self.by_ports.remove(&ports);
        self.lingering.push_back((self.now + LINGER, token));
    }

    /// Removes a peer; its socket closes.
    fn remove(&mut self, token: u64) {
        if let Some(Peer::Connection(connection)) = self.peers.remove(&token) {
            if self.by_ports.get(&connection.ports) == Some(&token) {
                self.by_ports.remove(&connection.ports);
            }
            if connection.queued.is_some() {
                self.ready.retain(|queued| *queued != token);
            }
            if connection.phase == Phase::Lingering {
                self.lingering.retain(|(_, lingering)| *lingering != token);
            }
        }
    }

    /// The socket of a peer has changed.
    fn wake(&mut self, token: u64, events: EpollFlags) {
        match self.peers.get_mut(&token) {
            Some(Peer::Connection(connection)) => {
                connection.wake(events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR));
                if connection.is_drained() {
                    return self.remove(token);
                }
                self.queue(token);
            }
            Some(Peer::Greeting(..)) => self.greet(token),
            None => {}
        }
    }

    /// Reads what a client wants, to the end of its line and no further.
    fn greet(&mut self, token: u64) {
        let Some(Peer::Greeting(stream, line)) = self.peers.get_mut(&token) else {
            return;
        };
        let mut byte = [0];
        loop {
            match stream.read(&mut byte) {
                Ok(1) if byte == *b"\n" => break,
                Ok(1) if line.len() < LONGEST_LINE => line.extend(byte),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => return self.remove(token),
            }
        }
        let wanted = backing::parse_line(line);
        let (Some(guest), Some(Peer::Greeting(stream, _))) = (wanted, self.peers.remove(&token)) else {
            return self.remove(token);
        };
        let Some(host) = self.free_port(guest) else { return };
        let ports = Ports { host, guest };
        // It is watched already, under the number that it has.
        self.peers.insert(
            token,
            Peer::Connection(Box::new(Connection::asked(ports, stream))),
        );
        self.by_ports.insert(ports, token);
        self.host.counters.to_guest.add(1);
        self.queue(token);
    }

    /// A port of this side for a connection to `guest`.
    fn free_port(&mut self, guest: u32) -> Option<u32> {
        for _ in 0..=MOST_PEERS {
            let host = self.next_port;
            let (first, end) = CLIENT_PORTS;
            self.next_port = if host + 1 < end { host + 1 } else { first };
            if !self.by_ports.contains_key(&Ports { host, guest }) {
                return Some(host);
            }
        }
        None
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.broken, true) {
            log::line(format_args!("vsock: {}", crate::chain(error)));
            self.send.notifier.needs_reset();
        }
    }
}

mod hostile;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use super::backing::parse_line;
use super::credit::{Credit, ROOM};
use super::packet::{HEADER, Header, Op, shutdown};
use super::worker::{MOST_PEERS, MOST_RESETS};
use super::*;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::transport::testing::Rig;
use crate::devices::virtio::worker::testing::unrestricted;

const CID: u32 = 42;
/// Where packets to the device are made.
const OUT: u64 = 0x8_0000;
/// Buffers for packets from it.
const IN: u64 = 0x4_0000;
const IN_SIZE: u32 = 4096;
const BUFFERS: u16 = 32;

struct Bench {
    rig: Rig,
    host: Arc<Host>,
    dir: tempfile::TempDir,
    receive: Driver,
    send: Driver,
    /// What the guest says of its own room.
    room: u32,
    taken: u32,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self::without_buffers();
        for head in 0..BUFFERS {
            bench.offer(head);
        }
        bench.rig.notify(0);
        bench
    }

    fn without_buffers() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vsock.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = Arc::new(Host::new(listener, path, CID));
        let device = Vsock::new(host.clone(), &unrestricted()).unwrap();
        let rig = Rig::new(Box::new(device), &memory());
        let mut queues = rig.start(u64::MAX, &[0x1_0000, 0x1_a000, 0x2_4000]);
        let send = queues.remove(1);
        Self {
            receive: queues.remove(0),
            send,
            rig,
            host,
            dir,
            room: 1 << 20,
            taken: 0,
        }
    }

    fn path(&self, port: Option<u32>) -> PathBuf {
        let name = port.map_or("vsock.sock".to_owned(), |port| format!("vsock.sock_{port}"));
        self.dir.path().join(name)
    }

    /// A service at `port` of the host.
    fn service(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.path(Some(port))).unwrap()
    }

    fn client(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path(None)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn offer(&mut self, head: u16) {
        let at = IN + u64::from(head) * u64::from(IN_SIZE);
        self.receive.submit(head, &[(at, IN_SIZE, true)]);
    }

    /// A header from port `guest` to port `host`.
    fn header(&self, op: Op, guest: u32, host: u32) -> Header {
        Header {
            src_cid: CID.into(),
            dst_cid: 2,
            src_port: guest,
            dst_port: host,
            len: 0,
            kind: 1,
            op: op as u16,
            flags: 0,
            buf_alloc: self.room,
            fwd_cnt: self.taken,
        }
    }

    /// Sends a packet and waits until it is taken.
    fn send(&mut self, header: Header, data: &[u8]) {
        self.rig
            .memory
            .write_slice(&header.bytes(), GuestAddress(OUT))
            .unwrap();
        self.rig
            .memory
            .write_slice(data, GuestAddress(OUT + 0x100))
            .unwrap();
        let len = u32::try_from(data.len()).unwrap();
        let segments = [(OUT, 44, false), (OUT + 0x100, len, false)];
        self.send.submit(
            0,
            if data.is_empty() {
                &segments[..1]
            } else {
                &segments
            },
        );
        self.rig.notify(1);
        assert_eq!(self.rig.wait(&mut self.send), (0, 0));
    }

    fn tell(&mut self, op: Op, guest: u32, host: u32, flags: u32) {
        let header = Header {
            flags,
            ..self.header(op, guest, host)
        };
        self.send(header, &[]);
    }

    fn data(&mut self, guest: u32, host: u32, data: &[u8]) {
        let header = Header {
            len: u32::try_from(data.len()).unwrap(),
            ..self.header(Op::Data, guest, host)
        };
        self.send(header, data);
    }

    /// The next packet from the device, whose buffer is offered again.
    fn next(&mut self) -> (Header, Vec<u8>) {
        let (head, len) = self.rig.wait(&mut self.receive);
        let at = IN + u64::from(head) * u64::from(IN_SIZE);
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        self.rig.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        let data = bytes.split_off(HEADER);
        let header = Header::read(bytes.try_into().unwrap());
        assert_eq!((header.src_cid, header.dst_cid, header.kind), (2, CID.into(), 1));
        assert_eq!(header.len as usize, data.len());
        assert_eq!(
            header.buf_alloc,
            if header.op == 3 && header.buf_alloc == 0 {
                0
            } else {
                ROOM
            }
        );
        self.taken = self.taken.wrapping_add(header.len);
        self.offer(u16::try_from(head).unwrap());
        self.rig.notify(0);
        (header, data)
    }

    /// The next packet has to be this one.
    fn expect(&mut self, op: Op, guest: u32, host: u32) -> (Header, Vec<u8>) {
        let (header, data) = self.next();
        assert_eq!(
            (header.op, header.dst_port, header.src_port),
            (op as u16, guest, host),
            "{header:?}"
        );
        (header, data)
    }

    fn is_silent(&mut self) -> bool {
        std::thread::park_timeout(Duration::from_millis(50));
        self.receive.used().is_none()
    }

    /// A connection from port 1000 of the guest to port 77 of the host.
    fn connect(&mut self) -> UnixStream {
        let service = self.service(77);
        self.tell(Op::Request, 1000, 77, 0);
        self.expect(Op::Response, 1000, 77);
        let (stream, _) = service.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

fn read(stream: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn is_at_end(stream: &mut UnixStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn configuration_tells_the_context_id() {
    let bench = Bench::new();
    assert_eq!(bench.rig.config(2, 2), 0x1040 + 19);
    assert_eq!(bench.rig.device(0, 8), u64::from(CID));
    assert_eq!(bench.rig.offered() & 0xff_ffff, 1);
}

#[test]
fn the_guest_reaches_a_service() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    bench.data(1000, 77, b"question");
    assert_eq!(read(&mut service, 8), b"question");
    service.write_all(b"answer").unwrap();
    let (header, data) = bench.expect(Op::Data, 1000, 77);
    assert_eq!((header.fwd_cnt, &*data), (8, &b"answer"[..]));
    bench.tell(Op::Shutdown, 1000, 77, shutdown::BOTH);
    bench.expect(Op::Reset, 1000, 77);
    assert!(is_at_end(&mut service));
    let status = bench.host.status();
    assert_eq!((status.from_guest, status.to_guest, status.resets), (1, 0, 1));
    assert_eq!((status.sent_bytes, status.received_bytes), (8, 6));
    bench.tell(Op::CreditRequest, 1000, 77, 0);
    bench.expect(Op::Reset, 1000, 77);
}

#[test]
fn packets_are_timed_until_the_guest_sees_them() {
    let mut bench = Bench::without_buffers();
    let asked = Instant::now();
    bench.tell(Op::Request, 1000, 77, 0);
    let told = Instant::now();
    while told.elapsed() < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    bench.offer(0);
    bench.rig.notify(0);
    bench.expect(Op::Reset, 1000, 77);
    // They are counted once they have been shown.
    let mut times = bench.host.latencies();
    while times.receive.count() == 0 {
        assert!(asked.elapsed().as_secs() < 20);
        std::thread::yield_now();
        times = bench.host.latencies();
    }
    let most = u64::try_from(asked.elapsed().as_nanos()).unwrap();
    assert_eq!((times.receive.count(), times.send.count()), (1, 1));
    let waited = times.receive.longest_ns;
    assert!((4_000_000..=most).contains(&waited), "{waited}");
    assert!((1..=most).contains(&times.send.longest_ns));
}

#[test]
fn where_nobody_listens_it_is_refused() {
    let mut bench = Bench::new();
    bench.tell(Op::Request, 1000, 78, 0);
    bench.expect(Op::Reset, 1000, 78);
    assert_eq!(bench.host.status().from_guest, 0);
}

#[test]
fn a_client_reaches_the_guest() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.write_all(b"CONNECT 5\nearly").unwrap();
    bench.expect(Op::Request, 5, 1 << 30);
    bench.tell(Op::Response, 5, 1 << 30, 0);
    assert_eq!(read(&mut client, 14), b"OK 1073741824\n");
    assert_eq!(bench.expect(Op::Data, 5, 1 << 30).1, b"early");
    bench.data(5, 1 << 30, b"back");
    assert_eq!(read(&mut client, 4), b"back");
    // Another one comes from another port.
    let mut other = bench.client();
    other.write_all(b"CONNECT 5\n").unwrap();
    bench.expect(Op::Request, 5, (1 << 30) + 1);
    bench.tell(Op::Reset, 5, (1 << 30) + 1, 0);
    assert!(is_at_end(&mut other), "refused");
    // It goes away before the guest has answered.
    let mut hasty = bench.client();
    hasty.write_all(b"CONNECT 6\n").unwrap();
    bench.expect(Op::Request, 6, (1 << 30) + 2);
    drop(hasty);
    bench.expect(Op::Reset, 6, (1 << 30) + 2);
}

#[test]
fn clients_have_to_say_what_they_want() {
    let mut bench = Bench::new();
    for line in [
        &b"GET /\n"[..],
        b"CONNECT\n",
        b"CONNECT -1\n",
        b"CONNECT 4294967296\n",
        &[b'x'; 64],
    ] {
        let mut client = bench.client();
        client.write_all(line).unwrap();
        assert!(is_at_end(&mut client));
    }
    assert!(bench.is_silent());
    assert_eq!(parse_line(b"CONNECT 4294967295"), Some(u32::MAX));
    for line in [
        &b"CONNECT +5"[..],
        b"connect 5",
        b"CONNECT  5",
        b"CONNECT 5 ",
        b"CONNECT \xff",
    ] {
        assert_eq!(parse_line(line), None);
    }
}

#[test]
fn either_side_may_end_its_half() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    // The guest sends no more, and still receives.
    bench.data(1000, 77, b"all");
    bench.tell(Op::Shutdown, 1000, 77, shutdown::SEND);
    assert_eq!(read(&mut service, 3), b"all");
    assert!(is_at_end(&mut service));
    service.write_all(b"rest").unwrap();
    assert_eq!(bench.expect(Op::Data, 1000, 77).1, b"rest");
    // So does the host, and then both are done.
    service.shutdown(Shutdown::Write).unwrap();
    let (header, _) = bench.expect(Op::Shutdown, 1000, 77);
    assert_ne!(header.flags & shutdown::SEND, 0);
    drop(service);
    bench.tell(Op::Shutdown, 1000, 77, shutdown::BOTH);
    // The device may have told of the other half in between.
    while bench.next().0.op != Op::Reset as u16 {}
}

#[test]
fn a_service_that_goes_away_is_told_of_and_its_last_words_arrive() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    service.write_all(&[7; 10_000]).unwrap();
    drop(service);
    let mut bytes = Vec::new();
    let header = loop {
        let (header, data) = bench.next();
        bytes.extend(data);
        // One half may be seen to end before the other.
        if header.op != Op::Data as u16 && header.flags != shutdown::SEND {
            break header;
        }
    };
    assert_eq!(bytes, [7; 10_000]);
    assert_eq!((header.op, header.flags), (Op::Shutdown as u16, shutdown::BOTH));
    bench.tell(Op::CreditUpdate, 1000, 77, 0);
    assert!(bench.is_silent(), "it waits for the guest's reset");
    bench.tell(Op::Reset, 1000, 77, 0);
    bench.data(1000, 77, b"late");
    bench.expect(Op::Reset, 1000, 77);
}

#[test]
fn the_guest_gets_no_more_than_it_has_room_for() {
    let mut bench = Bench::new();
    bench.room = 10;
    let mut service = bench.connect();
    service.write_all(&[1; 25]).unwrap();
    assert_eq!(bench.expect(Op::Data, 1000, 77).1.len(), 10);
    bench.taken = 0;
    bench.expect(Op::CreditRequest, 1000, 77);
    assert!(bench.is_silent(), "it asks once");
    bench.tell(Op::CreditUpdate, 1000, 77, 0);
    assert!(
        bench.is_silent(),
        "and an answer without news is no reason to ask again"
    );
    bench.taken = 4;
    bench.tell(Op::CreditUpdate, 1000, 77, 0);
    assert_eq!(bench.expect(Op::Data, 1000, 77).1.len(), 4);
    bench.expect(Op::CreditRequest, 1000, 77);
    // Nonsense is no room.
    bench.taken = 1000;
    bench.tell(Op::CreditUpdate, 1000, 77, 0);
    bench.expect(Op::CreditRequest, 1000, 77);
    (bench.taken, bench.room) = (14, 1 << 20);
    bench.tell(Op::CreditUpdate, 1000, 77, 0);
    assert_eq!(bench.expect(Op::Data, 1000, 77).1.len(), 11);
}

#[test]
fn the_guest_is_told_when_there_is_room_again() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    let piece = vec![3; ROOM as usize / 2];
    bench.data(1000, 77, &piece);
    let (header, _) = bench.expect(Op::CreditUpdate, 1000, 77);
    assert_eq!(header.fwd_cnt, ROOM / 2);
    assert_eq!(read(&mut service, piece.len()), piece);
    bench.tell(Op::CreditRequest, 1000, 77, 0);
    bench.expect(Op::CreditUpdate, 1000, 77);
}

#[test]
fn a_guest_that_sends_more_than_there_is_room_for_is_cut_off() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    let piece = vec![9; 0x8000];
    let mut sent = 0;
    while bench.host.status().connections > 0 {
        bench.data(1000, 77, &piece);
        sent += piece.len();
        assert!(sent < 4 << 20, "it is bounded");
    }
    let mut got = Vec::new();
    let _ = service.read_to_end(&mut got);
    assert!(!got.is_empty() && got.iter().all(|byte| *byte == 9));
}

#[test]
fn what_waits_for_a_slow_client_arrives_in_order() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    let bytes: Vec<u8> = (0..600_000u32)
        .map(|number| (number / 7).to_le_bytes()[0])
        .collect();
    let reader = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(100));
        let mut got = Vec::new();
        service.read_to_end(&mut got).unwrap();
        got
    });
    let (mut sent, mut forwarded) = (0usize, 0u32);
    for piece in bytes.chunks(20_000) {
        while ROOM - (u32::try_from(sent).unwrap() - forwarded) < 20_000 {
            let (header, _) = bench.next();
            forwarded = header.fwd_cnt;
        }
        bench.data(1000, 77, piece);
        sent += piece.len();
    }
    bench.tell(Op::Shutdown, 1000, 77, shutdown::SEND);
    assert_eq!(reader.join().unwrap(), bytes);
}

/// What Linux does when a program closes a socket whose other end reads slowly.
#[test]
fn what_was_sent_before_the_end_arrives_after_the_guests_reset() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    let (mut sent, mut forwarded) = (Vec::new(), 0);
    let piece: Vec<u8> = (0..0x8000u32)
        .map(|number| (number / 7).to_le_bytes()[0])
        .collect();
    // Until the socket is full, and something waits in the device.
    while u32::try_from(sent.len()).unwrap() - forwarded < ROOM / 2 {
        bench.data(1000, 77, &piece);
        sent.extend_from_slice(&piece);
        bench.tell(Op::CreditRequest, 1000, 77, 0);
        forwarded = bench.expect(Op::CreditUpdate, 1000, 77).0.fwd_cnt;
        while let Some((head, _)) = bench.receive.used() {
            bench.offer(u16::try_from(head).unwrap());
        }
    }
    bench.tell(Op::Shutdown, 1000, 77, shutdown::BOTH);
    bench.tell(Op::Reset, 1000, 77, 0);
    assert_eq!(bench.host.status().connections, 0);
    // The guest uses the port again, and neither connection disturbs the other.
    let again = UnixListener::bind(bench.path(Some(78))).unwrap();
    bench.tell(Op::Request, 1000, 78, 0);
    bench.expect(Op::Response, 1000, 78);
    let (mut other, _) = again.accept().unwrap();
    let mut got = Vec::new();
    service.read_to_end(&mut got).unwrap();
    assert_eq!(got, sent);
    bench.data(1000, 78, b"new");
    assert_eq!(read(&mut other, 3), b"new");
}

#[test]
fn a_reset_without_an_end_drops_what_waits() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    for _ in 0..4 {
        bench.data(1000, 77, &[5; 0x8000]);
    }
    bench.tell(Op::Reset, 1000, 77, 0);
    let mut got = Vec::new();
    let _ = service.read_to_end(&mut got);
    assert!(got.iter().all(|byte| *byte == 5));
    assert!(service.write_all(b"x").is_err(), "it is closed");
}

//! The targets of devices that work by rings: hostile requests in chains of any shape, at any time, and rings that their
//! driver breaks.
//!
//! Threads of devices rest while an input changes memory, and run for a moment after each request: what is seen depends on the
//! input, and hardly on the machine that runs it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_api::vmm::BalloonConfig;
use vm_memory::{Bytes, GuestAddress};

use super::{Behaviour, Values};
use crate::devices::serial::Console;
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::balloon::BalloonDevice;
use crate::devices::virtio::balloon::backing::Balloon;
use crate::devices::virtio::console::VirtioConsole;
use crate::devices::virtio::net::backing::Interface;
use crate::devices::virtio::net::pair::Pair;
use crate::devices::virtio::net::tap::Tap;
use crate::devices::virtio::notifier::status::NEEDS_RESET;
use crate::devices::virtio::pair_times::PairTimes;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::transport::testing::{Probe, Rig};
use crate::devices::virtio::vsock::Vsock;
use crate::devices::virtio::vsock::backing::Host;
use crate::devices::virtio::vsock::packet::{HEADER, Header, Op};
use crate::devices::virtio::vsock::worker::MOST_PEERS;
use crate::devices::virtio::worker::testing::unrestricted;

/// Requests of an input at most.
const STEPS: usize = 32;
/// How long a device that has nothing to say is waited for.
const MOMENT: Duration = Duration::from_millis(2);
/// Rings; they take less than 64 KiB in all.
const RINGS: [u64; 4] = [0x1_0000, 0x1_a000, 0x2_4000, 0x2_e000];
/// Where requests are made, and where devices are to write.
const REQUEST: u64 = 0x8_0000;
const ANSWER: u64 = 0xa_0000;

/// A device and its driver, at rest between [`Bench::step`]s.
struct Bench {
    rig: Rig,
    queues: Vec<Driver>,
    /// Nobody but the device has written to what it answers.
    trusted: bool,
}

impl Bench {
    fn new(device: Box<dyn VirtioDevice>, queues: usize) -> Self {
        let rig = Rig::new(device, &memory());
        let queues = rig.start(u64::MAX, &RINGS[..queues]);
        rig.function.pause();
        Self {
            rig,
            queues,
            trusted: true,
        }
    }

    /// Offers a chain in `queue`: `request` cut into pieces, then what the input makes of the rest.
    fn offer(&mut self, queue: usize, values: &mut Values<'_>, request: &[u8]) {
        let memory = &self.rig.memory;
        memory.write_slice(request, GuestAddress(REQUEST)).unwrap();
        let driver = &mut self.queues[queue];
        let head = values.u16() % driver.setup.size;
        let len = u32::try_from(request.len()).unwrap();
        let cut = match values.u8() {
            0..=200 => len,
            cut => u32::from(cut) % (len + 1),
        };
        let writable = match values.u8() {
            0..=99 => Some((ANSWER, 4096)),
            100..=127 => Some(anywhere(values)),
            _ => None,
        };
        self.trusted &= writable.is_none();
        let pieces = [
            (REQUEST, cut, false),
            (REQUEST + u64::from(cut), len - cut, false),
        ];
        let pieces = pieces.into_iter().filter(|(_, len, _)| *len > 0);
        let segments: Vec<_> = pieces.chain(writable.map(|(to, len)| (to, len, true))).collect();
        if head + 3 <= driver.setup.size {
            driver.submit(head, &segments);
        } else {
            driver.offer(head);
        }
    }

    /// Writes a value anywhere; the ring of `queue` more often than not.
    fn poke(&mut self, queue: usize, values: &mut Values<'_>) {
        self.trusted = false;
        let at = match values.u8() {
            0..=149 => RINGS[queue] + u64::from(values.u16() % 0xa000),
            _ => super::targets::address(values),
        };
        let _ = self.rig.memory.write_obj(values.u64(), GuestAddress(at));
    }

    /// Lets the device work on `queue` for a moment; says what it has used.
    fn step(&mut self, queue: usize) -> Option<(u32, u32)> {
        self.rig.notify(queue as u64);
        self.rig.function.resume();
        let started = Instant::now();
        let mut used = None;
        while used.is_none() && !self.is_broken() && started.elapsed() < MOMENT {
            used = self.queues[queue].used();
            std::thread::yield_now();
        }
        self.rig.function.pause();
        used
    }

    fn is_broken(&self) -> bool {
        self.rig.status() & u64::from(NEEDS_RESET) != 0
    }
}

/// A place and a length of any kind.
fn anywhere(values: &mut Values<'_>) -> (u64, u32) {
    (super::targets::address(values), super::targets::length(values))
}

/// A packet that a connection may take for its own.
fn packet(values: &mut Values<'_>, cid: u32) -> Vec<u8> {
    let near = |values: &mut Values<'_>, near: u64| match values.u8() {
        0..=239 => near,
        _ => values.u64(),
    };
    let port = |values: &mut Values<'_>| match values.u8() {
        few @ 0..=199 => u32::from(few % 3),
        200..=239 => (1 << 30) + u32::from(values.u8() % 3),
        _ => values.u32(),
    };
    let room = |values: &mut Values<'_>| match values.u8() {
        few @ 0..=99 => u32::from(few) * 64,
        100..=199 => 1 << 20,
        _ => values.u32(),
    };
    let data = usize::from(values.u8()) % 64;
    let header = Header {
        src_cid: near(values, cid.into()),
        dst_cid: near(values, 2),
        src_port: port(values),
        dst_port: port(values),
        len: match values.u8() {
            0..=219 => u32::try_from(data).unwrap(),
            _ => values.u32(),
        },
        kind: match values.u8() {
            0..=229 => 1,
            kind => kind.into(),
        },
        op: u16::from(values.u8() % 9),
        flags: u32::from(values.u8() % 8),
        buf_alloc: room(values),
        fwd_cnt: room(values),
    };
    let mut bytes = header.bytes();
    bytes.resize(HEADER + data, 0x5a);
    bytes
}

/// The socket device between a guest that sends packets of any kind, a service and clients that come and go.
pub(super) fn vsock(input: &[u8]) -> Behaviour {
    const CID: u32 = 42;
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vsock.sock");
    let listen = |name: &str| {
        let listener = UnixListener::bind(dir.path().join(name)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let service = listen("vsock.sock_1");
    let host = Arc::new(Host::new(listen("vsock.sock"), path.clone(), CID));
    let device = Vsock::new(host.clone(), &unrestricted()).unwrap();
    let mut bench = Bench::new(Box::new(device), 3);
    let mut streams: Vec<UnixStream> = Vec::new();
    let mut taken = BTreeSet::new();
    let answer = |head: u32| ANSWER + u64::from(head) * 4096;
    for _ in 0..STEPS {
        if values.is_empty() || bench.is_broken() {
            break;
        }
        match values.u8() % 16 {
            0..=7 => {
                let packet = packet(&mut values, CID);
                bench.offer(1, &mut values, &packet);
                seen.saw(bench.step(1).is_some());
            }
            8..=10 => {
                let head = values.u16() % 64;
                let size = match values.u8() {
                    0..=200 => 4096,
                    size => u32::from(size) - 200,
                };
                if taken.insert(u32::from(head)) {
                    bench.queues[0].submit(head, &[(answer(head.into()), size, true)]);
                }
                if let Some((head, len)) = bench.step(0).filter(|_| bench.trusted) {
                    assert!(taken.remove(&head), "{head} is used twice");
                    let mut header = [0; HEADER];
                    bench
                        .rig
                        .memory
                        .read_slice(&mut header, GuestAddress(answer(head)))
                        .unwrap();
                    let header = Header::read(header);
                    assert_eq!((header.src_cid, header.dst_cid, header.kind), (2, CID.into(), 1));
                    assert_eq!(header.len + u32::try_from(HEADER).unwrap(), len);
                    assert!(Op::of(header.op).is_some());
                    seen.saw((header.op, header.flags));
                }
            }
            11 => bench.poke(usize::from(values.u8() % 2), &mut values),
            12 => {
                if let Ok(mut stream) = UnixStream::connect(&path) {
                    stream.set_nonblocking(true).unwrap();
                    let line = format!("CONNECT {}\n", values.u8() % 3);
                    let _ = stream.write(&line.as_bytes()[..usize::from(values.u8() % 11).min(line.len())]);
                    streams.push(stream);
                }
            }
            13 => streams.extend(service.accept().map(|(stream, _)| {
                stream.set_nonblocking(true).unwrap();
                stream
            })),
            _ if streams.is_empty() => {}
            what => {
                let place = usize::from(values.u8()) % streams.len();
                let mut data = [0; 512];
                match (what, values.u8() % 4) {
                    (14, _) => drop(streams[place].write(&data)),
                    (_, 0) => drop(streams.remove(place)),
                    (_, 1) => drop(streams[place].shutdown(Shutdown::Write)),
                    _ => drop(streams[place].read(&mut data)),
                }
            }
        }
        let status = host.status();
        assert!(status.connections <= MOST_PEERS as u64);
        seen.saw(status.connections.min(3));
    }
    seen.saw(bench.is_broken());
    seen
}

/// The balloon: numbers of pages, statistics and reports of any kind, while what is asked for changes.
pub(super) fn balloon(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let config = BalloonConfig {
        size: 4 << 12,
        deflate_on_oom: true,
        free_page_reporting: true,
    };
    let balloon = Arc::new(Balloon::new(config).unwrap());
    let device = BalloonDevice::new(balloon.clone(), &unrestricted()).unwrap();
    let mut bench = Bench::new(Box::new(device), 4);
    for _ in 0..STEPS {
        if values.is_empty() || bench.is_broken() {
            break;
        }
        let queue = usize::from(values.u8() % 4);
        match values.u8() % 12 {
            0 => balloon.set_target(u64::from(values.u8()) << 12),
            1 => bench.poke(queue, &mut values),
            // What the driver says that it has given (§5.5.4).
            2 => bench.rig.write(
                bench.rig.bar + 0x4000 + u64::from(values.u8() & 7),
                4,
                values.u64(),
            ),
            3 => drop(balloon.status()),
            _ => {
                let count = usize::from(values.u8() % 24);
                let mut request = Vec::new();
                for _ in 0..count {
                    match (queue, values.u8()) {
                        // Pages that are no ring, so that one device does not end every input.
                        (0 | 1, near @ 0..=199) => {
                            request.extend((0xb0 + u32::from(near % 0x50)).to_le_bytes())
                        }
                        (0 | 1, _) => request.extend(values.u32().to_le_bytes()),
                        (_, tag) => {
                            request.extend(u16::from(tag % 16).to_le_bytes());
                            request.extend(values.u64().to_le_bytes());
                        }
                    }
                }
                bench.offer(queue, &mut values, &request);
                seen.saw((queue, bench.step(queue).map(|(_, len)| len)));
            }
        }
        let status = balloon.status();
        seen.saw((
            status.errors.min(2),
            status.inflated_bytes > 0,
            status.deflated_bytes > 0,
            status.reported_bytes > 0,
            status.guest.is_some(),
        ));
    }
    seen.saw(bench.is_broken());
    seen
}

/// The console: buffers of any kind to be printed and to be typed into.
pub(super) fn console(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let console = Console::new().unwrap();
    let mut bench = Bench::new(Box::new(VirtioConsole::new(&console, &Arc::default())), 2);
    // Its work is done by whoever rings.
    bench.rig.function.resume();
    let mut typed = 0u64;
    for _ in 0..STEPS {
        if values.is_empty() || bench.is_broken() {
            break;
        }
        let queue = usize::from(values.u8() % 2);
        match values.u8() % 8 {
            0 => {
                let text = vec![b'x'; values.u16().into()];
                typed += console.type_in(&text) as u64;
            }
            1 => bench.poke(queue, &mut values),
            2 => bench.rig.function.pause(),
            3 => bench.rig.function.resume(),
            4 => {
                let (to, len) = anywhere(&mut values);
                let write = values.u8() < 128;
                bench.trusted &= !write;
                bench.queues[queue].submit(values.u16() % 32, &[(to, len, write)]);
                bench.rig.notify(queue as u64);
            }
            _ => {
                let text = vec![b'y'; values.u16() as usize % 3000];
                bench.offer(queue, &mut values, &text);
                bench.rig.notify(queue as u64);
            }
        }
        while let Some((_, len)) = bench.queues[queue].used() {
            // What is printed is only read.
            assert!(queue == 0 || len == 0 || !bench.trusted);
            seen.saw((queue, len.min(2)));
        }
        let status = console.status(Default::default());
        assert_eq!(status.typed_bytes, typed);
        seen.saw(status.printed_bytes > 0);
    }
    seen.saw(bench.is_broken());
    seen
}

/// Our own path of the network device: frames in both directions between a tap, for which a socket stands here, and rings whose
/// driver writes what it likes.
pub(super) fn net(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let probe = Probe {
        events: true,
        ..Probe::default()
    };
    let mut bench = Bench::new(Box::new(probe.clone()), 2);
    let rings = std::mem::take(&mut *probe.queues.lock().unwrap());
    let [receive, send] = <[_; 2]>::try_from(rings).ok().unwrap();
    let (ours, wire) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    wire.set_nonblocking(true).unwrap();
    let tap = Arc::new(Tap::of(File::from(OwnedFd::from(ours))));
    let interface = Arc::new(Interface {
        name: "fuzz".to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: None,
        taps: vec![tap.clone()],
        vhost: None,
        times: vec![PairTimes::default()],
    });
    let mergeable = values.u8() & 1 == 0;
    let (mut received, mut sent) = (0, 0);
    let mut pair = Pair::new(interface.clone(), tap, [receive, send], None, mergeable);
    let mut frame = vec![0; 80 << 10];
    for _ in 0..STEPS * 2 {
        if values.is_empty() || bench.is_broken() {
            break;
        }
        let queue = usize::from(values.u8() % 2);
        match values.u8() % 8 {
            0 => bench.poke(queue, &mut values),
            1 | 2 => {
                let len = match values.u8() {
                    0..=199 => usize::from(values.u16()) % 2000,
                    _ => usize::from(values.u16()),
                };
                // As the kernel gives them: with a header before the frame.
                let _ = wire.send(&vec![0x11; len + 12]);
            }
            3 => {
                let header: Vec<u8> = (0..12).map(|_| values.u8()).collect();
                bench.offer(1, &mut values, &header);
            }
            4 => {
                let len = usize::from(values.u16()) % 3000;
                bench.offer(1, &mut values, &vec![0x22; len]);
            }
            5 => {
                let (to, len) = anywhere(&mut values);
                let write = values.u8() < 200;
                bench.trusted &= !write;
                bench.queues[queue].submit(values.u16() % 4, &[(to, len, write)]);
            }
            _ => {
                let head = values.u16() % 128;
                let at = ANSWER + u64::from(head % 32) * 0x800;
                let len = match values.u8() {
                    0..=199 => 2048,
                    len => u32::from(len),
                };
                bench.queues[0].submit(head, &[(at, len, true)]);
            }
        }
        pair.look_again();
        for _ in 0..4 {
            if !pair.work() {
                break;
            }
        }
        while let Some((_, len)) = bench.queues[0].used() {
            assert!(!bench.trusted || len <= 12 + 18 + 65535);
            // A guest that writes where the device answers reads what it likes.
            seen.saw(("received", len.checked_next_power_of_two()));
            received += 1;
        }
        while let Some((_, len)) = bench.queues[1].used() {
            assert!(!bench.trusted || len == 0);
            seen.saw("sent");
            sent += 1;
        }
        while let Ok(len) = wire.recv(&mut frame) {
            seen.saw(("wire", len.next_power_of_two()));
        }
    }
    let times = interface.latencies().remove(0);
    assert!(!bench.trusted || times.send.count() == sent);
    assert!(!bench.trusted || times.receive.count() <= received);
    seen.saw(bench.is_broken());
    seen
}

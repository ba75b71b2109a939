use axion_api::vmm::NetConfig;
use vm_memory::{Bytes, GuestAddress};

use super::backing::{NetError, parse_mac};
use super::tap::HEADER;
use super::testing::{Wire, with_tap};
use super::*;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::transport::testing::Rig;
use crate::devices::virtio::worker::testing::unrestricted;

/// An ethertype for experiments (IEEE 802).
const KIND: u16 = 0x88b5;
const DATA: u64 = 0x5_0000;

fn net_config(queues: u16) -> NetConfig {
    NetConfig {
        tap: "t0".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: Some(9000),
        queues: Some(queues),
    }
}

/// A device with its driver.
struct Bench {
    rig: Rig,
    queues: Vec<Driver>,
}

impl Bench {
    /// One that moves frames by threads of its own.
    fn new(pairs: u16, features: u64) -> Self {
        let mut interface = Interface::open(0, &net_config(pairs)).unwrap();
        interface.vhost = None;
        Self::on(interface, pairs, features)
    }

    fn on(interface: Interface, pairs: u16, features: u64) -> Self {
        let net = Net::new(Arc::new(interface), 0, &unrestricted()).unwrap();
        let rig = Rig::new(Box::new(net), &memory());
        let mut bench = Self {
            rig,
            queues: Vec::new(),
        };
        bench.start(pairs, features);
        bench
    }

    fn start(&mut self, pairs: u16, features: u64) {
        let count = u64::from(pairs) * 2 + u64::from(pairs > 1);
        let bases: Vec<u64> = (0..count).map(|queue| 0x4000 + queue * 0xb000).collect();
        for base in &bases {
            let zeros = [0; 0xb000];
            self.rig.memory.write_slice(&zeros, GuestAddress(*base)).unwrap();
        }
        self.queues = self.rig.start(features, &bases);
    }

    /// Sends a frame behind `header`, in two segments; waits until it is gone.
    fn send(&mut self, queue: u16, header: [u8; HEADER], frame: &[u8]) {
        let memory = &self.rig.memory;
        memory.write_slice(&header, GuestAddress(DATA)).unwrap();
        memory.write_slice(frame, GuestAddress(DATA + 0x100)).unwrap();
        let len = u32::try_from(frame.len()).unwrap();
        let driver = &mut self.queues[usize::from(queue)];
        driver.submit(0, &[(DATA, 12, false), (DATA + 0x100, len, false)]);
        self.rig.notify(queue.into());
        assert_eq!(self.rig.wait(driver), (0, 0));
    }

    /// Gives the device `count` buffers of `len` bytes for frames, from head `first` on.
    fn offer(&mut self, first: u16, count: u16, len: u32) {
        for head in first..first + count {
            let at = DATA + 0x2_0000 + u64::from(head) * 0x800;
            self.queues[0].submit(head, &[(at, len, true)]);
        }
        self.rig.notify(0);
    }

    /// The next used buffer: head and contents.
    fn used(&mut self) -> (u32, Vec<u8>) {
        let (head, len) = self.rig.wait(&mut self.queues[0]);
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        let at = DATA + 0x2_0000 + u64::from(head) * 0x800;
        self.rig.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        (head, bytes)
    }

    /// The next frame of [`KIND`] that the driver gets, in how many buffers; buffers come back for others.
    fn receive(&mut self) -> (usize, Vec<u8>) {
        loop {
            let (_, mut frame) = self.used();
            let count = usize::from(u16::from_le_bytes([frame[10], frame[11]]));
            for _ in 1..count {
                frame.extend(self.used().1);
            }
            if frame[HEADER + 12..HEADER + 14] == KIND.to_be_bytes() {
                return (count, frame.split_off(HEADER));
            }
        }
    }
}

/// A frame of `len` bytes.
fn frame(len: usize, salt: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
    frame.extend(KIND.to_be_bytes());
    frame.extend((14..len).map(|at| at.to_le_bytes()[0] ^ salt));
    frame
}

fn echo(bench: &mut Bench, wire: &Wire, salt: u8) {
    let out = frame(200, salt);
    bench.send(1, [0; HEADER], &out);
    assert_eq!(wire.receive(KIND), out);
    bench.offer(0, 16, 2048);
    let back = frame(1400, salt);
    wire.send(&back);
    assert_eq!(bench.receive(), (1, back));
}

#[test]
fn configuration_tells_the_interface() {
    with_tap(true, |_| {
        let bench = Bench::new(3, u64::MAX);
        let rig = &bench.rig;
        assert_eq!(rig.config(0, 4), 0x1041_1af4);
        assert_eq!((rig.device(0, 4), rig.device(4, 2)), (2, 0x0100), "MAC");
        assert_eq!(
            (rig.device(6, 2), rig.device(8, 2), rig.device(10, 2)),
            (1, 3, 9000)
        );
        assert_eq!(rig.offered() & 0xff_ffff, 0x43_99ab);
        assert_eq!(rig.vectors, 8);
    });
    with_tap(false, |_| {
        let bench = Bench::new(1, u64::MAX);
        assert_eq!(bench.rig.offered() & 0xff_ffff, 0x01_99ab, "no control queue");
        assert_eq!(bench.rig.vectors, 3);
    });
}

#[test]
fn frames_go_both_ways_through_pauses_and_resets() {
    with_tap(false, |wire| pauses_and_resets(Bench::new(1, u64::MAX), &wire));
}

#[test]
fn the_kernel_does_the_same() {
    with_tap(false, |wire| {
        let interface = Interface::open(0, &net_config(1)).unwrap();
        if interface.vhost.is_some() {
            pauses_and_resets(Bench::on(interface, 1, u64::MAX), &wire);
        } else {
            eprintln!("not run: no /dev/vhost-net");
        }
    });
    with_tap(true, |wire| {
        let interface = Interface::open(0, &net_config(2)).unwrap();
        if interface.vhost.is_some() {
            pairs(Bench::on(interface, 2, u64::MAX), &wire);
        }
    });
}

fn pauses_and_resets(mut bench: Bench, wire: &Wire) {
    echo(&mut bench, wire, 1);
    bench.rig.function.pause();
    let late = frame(300, 7);
    wire.send(&late);
    std::thread::park_timeout(std::time::Duration::from_millis(20));
    bench.rig.function.resume();
    assert_eq!(bench.receive(), (1, late));
    bench.rig.function.pause();
    bench.rig.function.resume();
    for salt in 2..5 {
        bench.rig.set_common(20, 1, 0);
        wire.send(&frame(100, 0xee));
        bench.start(1, u64::MAX);
        echo(&mut bench, wire, salt);
    }
}

#[test]
fn a_frame_takes_as_many_buffers_as_it_needs() {
    with_tap(false, |wire| {
        let mut bench = Bench::new(1, u64::MAX);
        bench.offer(0, 32, 128);
        let long = frame(1000, 3);
        wire.send(&long);
        assert_eq!(bench.receive(), (8, long));
    });
    with_tap(false, |wire| {
        let mut bench = Bench::new(1, u64::MAX);
        // Too few: the rest of it waits in the spill.
        bench.offer(0, 3, 600);
        let frames = [frame(900, 4), frame(1500, 5), frame(100, 6)];
        frames.iter().for_each(|frame| wire.send(frame));
        assert_eq!(bench.receive(), (2, frames[0].clone()));
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        assert_eq!(bench.queues[0].used(), None);
        bench.offer(3, 3, 600);
        assert_eq!(bench.receive(), (3, frames[1].clone()));
        assert_eq!(bench.receive(), (1, frames[2].clone()));
    });
}

#[test]
fn who_sends_without_end_still_receives() {
    with_tap(false, |wire| {
        let mut bench = Bench::new(1, u64::MAX);
        let incoming = frame(300, 1);
        wire.send(&incoming);
        let outgoing = frame(100, 2);
        let memory = &bench.rig.memory;
        memory.write_slice(&[0; HEADER], GuestAddress(DATA)).unwrap();
        memory.write_slice(&outgoing, GuestAddress(DATA + 0x100)).unwrap();
        bench.queues[1].submit(0, &[(DATA, 12, false), (DATA + 0x100, 100, false)]);
        bench.rig.notify(1);
        let send = bench.queues[1].clone();
        let received = send.endless(|| {
            bench.offer(0, 1, 2048);
            assert_eq!(bench.receive(), (1, incoming));
        });
        assert!(received);
    });
}

#[test]
fn a_driver_that_merges_nothing_gets_what_fits() {
    with_tap(false, |wire| {
        let mut bench = Bench::new(1, !feature::MRG_RXBUF);
        bench.offer(0, 8, 700);
        wire.send(&frame(1400, 1));
        let short = frame(600, 2);
        wire.send(&short);
        assert_eq!(bench.receive(), (1, short));
    });
}

#[test]
fn long_segments_go_through_whole() {
    with_tap(false, |wire| {
        let mut bench = Bench::new(1, u64::MAX);
        let payload = 6000u16;
        let mut packet = vec![0xff; 12];
        packet.extend([8, 0, 0x45, 0]);
        packet.extend((40 + payload).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([
            0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
        ]);
        packet.resize(54 + usize::from(payload), 0x5a);
        // NEEDS_CSUM; TCPV4, 54 bytes of headers, 1400 a segment; checksum from 34 on, at 16.
        let header = [1, 1, 54, 0, 0x78, 5, 34, 0, 16, 0, 0, 0];
        bench.send(1, header, &packet);
        assert_eq!(wire.receive(0x0800).len(), packet.len());
        // No header, and one that lies: lost, and the device goes on.
        bench.queues[1].submit(4, &[(DATA, 8, false)]);
        bench.rig.notify(1);
        assert_eq!(bench.rig.wait(&mut bench.queues[1]), (4, 0));
        bench.send(1, [1, 1, 54, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], &packet);
        echo(&mut bench, &wire, 9);
    });
}

#[test]
fn a_buffer_without_room_for_a_header_needs_a_reset() {
    with_tap(false, |wire| {
        let mut bench = Bench::new(1, u64::MAX);
        bench.offer(0, 1, 11);
        let start = std::time::Instant::now();
        while bench.rig.status() & 64 == 0 {
            assert!(start.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
        bench.rig.function.pause();
        bench.rig.function.resume();
        bench.start(1, u64::MAX);
        echo(&mut bench, &wire, 1);
    });
}

#[test]
fn the_driver_says_how_many_pairs_it_uses() {
    with_tap(true, |wire| pairs(Bench::new(2, u64::MAX), &wire));
}

fn pairs(mut bench: Bench, wire: &Wire) {
    let mut head = 0;
    let mut ask = |bench: &mut Bench, command: &[u8]| {
        bench.rig.memory.write_slice(command, GuestAddress(DATA)).unwrap();
        bench
            .rig
            .memory
            .write_obj(0xffu8, GuestAddress(DATA + 0x80))
            .unwrap();
        let len = u32::try_from(command.len()).unwrap();
        bench.queues[4].submit(head, &[(DATA, len, false), (DATA + 0x80, 1, true)]);
        bench.rig.notify(4);
        assert_eq!(bench.rig.wait(&mut bench.queues[4]), (head.into(), 1));
        head += 2;
        bench
            .rig
            .memory
            .read_obj::<u8>(GuestAddress(DATA + 0x80))
            .unwrap()
    };
    assert_eq!(ask(&mut bench, &[4, 0, 2, 0]), 0);
    for wrong in [
        &[4, 0, 0, 0][..],
        &[4, 0, 3, 0],
        &[4, 1, 1, 0],
        &[0, 0, 1, 0],
        &[4, 0, 1, 0, 0],
        &[4],
    ] {
        assert_eq!(ask(&mut bench, wrong), 1, "{wrong:?}");
    }
    let second = frame(500, 2);
    bench.send(3, [0; HEADER], &second);
    assert_eq!(wire.receive(KIND), second);
    assert_eq!(ask(&mut bench, &[4, 0, 1, 0]), 0);
    assert_eq!(ask(&mut bench, &[4, 0, 1, 0]), 0);
    echo(&mut bench, wire, 3);
}

#[test]
fn a_tap_that_cannot_be_had_is_named() {
    with_tap(false, |_| {
        let missing = NetConfig {
            tap: "t7".to_owned(),
            ..net_config(1)
        };
        let error = Interface::open(2, &missing).err().unwrap();
        assert_eq!(error.to_string(), "nets[2].tap: there is no network device t7");
        let error = Interface::open(0, &net_config(2)).err().unwrap();
        let text = "nets[0].tap: t0 is not allowed; a tap device of several queues (nets[0].queues)";
        assert_eq!(error.to_string(), text);
        let _holder = Interface::open(0, &net_config(1)).unwrap();
        let error = Interface::open(0, &net_config(1)).err().unwrap();
        assert!(matches!(error, NetError::InUse { .. }), "{error}");
    });
}

#[test]
fn addresses_of_one_station() {
    let mac = [2, 0, 0, 0xab, 0xcd, 0xef];
    assert_eq!(parse_mac("02:00:00:aB:cD:ef"), Some(mac));
    for wrong in [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:01:02",
        "01:00:00:00:00:01",
        "00:00:00:00:00:00",
        "2:0:0:0:0:1",
        "02:00:00:00:00:+1",
    ] {
        assert_eq!(parse_mac(wrong), None, "{wrong}");
    }
}

#[test]
fn the_tap_leaves_what_the_driver_takes() {
    assert_eq!(offload(0), 0);
    assert_eq!(
        offload(feature::GUEST_TSO4 | feature::GUEST_TSO6),
        0,
        "not without checksums"
    );
    assert_eq!(offload(feature::GUEST_CSUM), 1);
    assert_eq!(offload(u64::MAX), 7);
}

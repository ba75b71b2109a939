//! Guests and clients that do not keep to the rules, and bounds.

use super::*;

#[test]
fn hostile_packets_end_their_connection_only() {
    let cases: [fn(&mut Header); 5] = [
        |header| header.op = 99,
        |header| header.kind = 2,
        |header| header.len = 5,
        |header| (header.op, header.len) = (5, u32::MAX),
        |header| header.op = Op::Request as u16,
    ];
    let mut bench = Bench::new();
    let service = bench.service(77);
    for (change, guest) in cases.into_iter().zip(2000..) {
        bench.tell(Op::Request, guest, 77, 0);
        bench.expect(Op::Response, guest, 77);
        let mut stream = service.accept().unwrap().0;
        let mut header = Header {
            len: 4,
            ..bench.header(Op::Data, guest, 77)
        };
        change(&mut header);
        bench.send(header, b"data");
        bench.expect(Op::Reset, guest, 77);
        assert!(is_at_end(&mut stream));
    }
    // In another's name, or for another.
    let other = Header {
        src_cid: 43,
        ..bench.header(Op::Request, 1, 77)
    };
    bench.send(other, &[]);
    let other = Header {
        dst_cid: 1,
        ..bench.header(Op::Request, 1, 77)
    };
    bench.send(other, &[]);
    assert!(bench.is_silent());
    assert_eq!(bench.rig.status() & 64, 0);
}

#[test]
fn a_packet_without_a_header_needs_a_reset() {
    for queue in [0, 1] {
        let mut bench = Bench::new();
        if queue == 1 {
            bench.send.submit(0, &[(OUT, 43, false)]);
        } else {
            bench = Bench::without_buffers();
            bench.receive.submit(0, &[(IN, 44, true)]);
            bench.tell(Op::Data, 1, 1, 0);
        }
        bench.rig.notify(queue);
        let start = Instant::now();
        while bench.rig.status() & 64 == 0 {
            assert!(start.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
    }
}

#[test]
fn answers_to_nonsense_are_bounded() {
    let mut bench = Bench::without_buffers();
    let header = bench.header(Op::Data, 5, 5);
    bench
        .rig
        .memory
        .write_slice(&header.bytes(), GuestAddress(OUT))
        .unwrap();
    let mut taken = 0;
    for _ in 0..2 {
        for head in 0..200 {
            bench.send.submit(head, &[(OUT, 44, false)]);
        }
        bench.rig.notify(1);
        std::thread::park_timeout(Duration::from_millis(100));
        taken += std::iter::from_fn(|| bench.send.used()).count();
    }
    assert_eq!(taken, MOST_RESETS, "then it waits for the guest to take them");
    for head in 0..BUFFERS {
        bench.offer(head);
    }
    bench.rig.notify(0);
    for _ in 0..400 {
        bench.expect(Op::Reset, 5, 5);
    }
    taken += std::iter::from_fn(|| bench.send.used()).count();
    assert_eq!(taken, 400);
}

#[test]
fn connections_are_bounded() {
    let mut bench = Bench::new();
    let _service = bench.service(77);
    let count = u32::try_from(MOST_PEERS).unwrap();
    for guest in 0..count {
        bench.tell(Op::Request, guest, 77, 0);
        bench.expect(Op::Response, guest, 77);
    }
    bench.tell(Op::Request, count, 77, 0);
    bench.expect(Op::Reset, count, 77);
    bench.tell(Op::Reset, 3, 77, 0);
    bench.tell(Op::Request, count, 77, 0);
    bench.expect(Op::Response, count, 77);
    // Neither opening nor cutting leaves anything behind.
    assert_eq!(bench.host.status().connections, MOST_PEERS as u64);
}

#[test]
fn a_paused_machine_hears_nothing_and_a_reset_ends_all() {
    let mut bench = Bench::new();
    let mut service = bench.connect();
    bench.rig.function.pause();
    service.write_all(b"later").unwrap();
    let mut client = bench.client();
    client.write_all(b"CONNECT 9\n").unwrap();
    assert!(bench.is_silent());
    bench.rig.function.resume();
    let mut seen = [bench.next().0.op, bench.next().0.op];
    seen.sort_unstable();
    assert_eq!(seen, [Op::Request as u16, Op::Data as u16]);
    bench.rig.set_common(20, 1, 0);
    assert!(is_at_end(&mut service) && is_at_end(&mut client));
    assert_eq!(bench.host.status().connections, 0);
    // The next driver begins anew, with clients that come.
    bench
        .rig
        .memory
        .write_slice(&[0; 0x1_e000], GuestAddress(0x1_0000))
        .unwrap();
    let mut queues = bench.rig.start(u64::MAX, &[0x1_0000, 0x1_a000, 0x2_4000]);
    bench.send = queues.remove(1);
    bench.receive = queues.remove(0);
    bench.offer(0);
    bench.rig.notify(0);
    let mut client = bench.client();
    client.write_all(b"CONNECT 9\n").unwrap();
    bench.expect(Op::Request, 9, 1 << 30);
}

#[test]
fn credit_counts_modulo_2_32() {
    let mut credit = Credit::default();
    for _ in 0..0x1_0010 {
        assert!(credit.receive(0x1_0000));
        credit.forward(0x1_0000);
        let mut header = Header::default();
        assert!(credit.is_update_due());
        credit.tell(&mut header);
        assert!(!credit.is_update_due());
    }
    assert!(credit.receive(ROOM));
    assert!(!credit.receive(1));
    credit.hear(&Header {
        buf_alloc: u32::MAX,
        fwd_cnt: u32::MAX,
        ..Header::default()
    });
    assert_eq!(credit.available(), u32::MAX - 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever comes in whichever order: the device lives, and what it keeps is bounded.
    #[test]
    fn any_packets_are_survived(packets in proptest::collection::vec(packet(), 1..60)) {
        let mut bench = Bench::new();
        let service = bench.service(77);
        service.set_nonblocking(true).unwrap();
        let mut clients = Vec::new();
        for (op, guest, host, len, flags, room, taken) in packets {
            if op == 0 {
                let mut client = bench.client();
                client.write_all(format!("CONNECT {guest}\n").as_bytes()).unwrap();
                clients.push(client);
            }
            let header = Header {
                op,
                len,
                flags,
                buf_alloc: room,
                fwd_cnt: taken,
                ..bench.header(Op::Data, guest, host)
            };
            bench.send(header, &vec![1; usize::try_from(len % 0x4000).unwrap()]);
            while let Some((head, written)) = bench.receive.used() {
                prop_assert!((44..=IN_SIZE).contains(&written));
                bench.offer(u16::try_from(head).unwrap());
            }
            bench.rig.notify(0);
            clients.extend(service.accept().map(|(stream, _)| stream));
        }
        prop_assert_eq!(bench.rig.status() & 64, 0);
        prop_assert!(bench.host.status().connections <= MOST_PEERS as u64);
    }
}

/// A packet that is not all nonsense: operation, ports, length, flags, room, bytes taken.
fn packet() -> impl Strategy<Value = (u16, u32, u32, u32, u32, u32, u32)> {
    let host = prop_oneof![Just(77u32), Just(78), (1u32 << 30)..(1 << 30) + 3, any::<u32>()];
    let len = prop_oneof![Just(0u32), 0u32..0x4000, any::<u32>()];
    let number = || prop_oneof![Just(0u32), 0u32..0x2_0000, any::<u32>()];
    let op = prop_oneof![0u16..9, Just(1), Just(2), Just(5), any::<u16>()];
    (op, 1u32..4, host, len, 0u32..5, number(), number())
}

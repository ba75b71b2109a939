use proptest::prelude::*;

use super::testing::{Driver, INDIRECT, NEXT, WRITE, describe, memory};
use super::*;

fn ring(size: u16) -> (Driver, Queue) {
    let driver = Driver::new(&memory(), 0x1_0000, size);
    let queue = Queue::new(&driver.memory, driver.setup).unwrap();
    (driver, queue)
}

fn segment(address: u64, len: u32) -> Segment {
    Segment { address, len }
}

#[test]
fn buffers_go_round() {
    let (mut driver, mut queue) = ring(4);
    let mut chain = Chain::default();
    for round in 0..70_000u32 {
        driver.submit(1, &[(0x100, 16, false), (0x2000, 512, true), (0x3000, 1, true)]);
        assert!(queue.pop(&mut chain).unwrap());
        assert_eq!(chain.head, 1);
        assert_eq!(chain.readable, [segment(0x100, 16)]);
        assert_eq!(chain.writable, [segment(0x2000, 512), segment(0x3000, 1)]);
        assert!(!queue.pop(&mut chain).unwrap());
        queue.complete(1, round);
        assert_eq!(driver.used(), None, "not before it is published");
        queue.publish();
        assert_eq!(driver.used(), Some((1, round)));
        assert_eq!(driver.used(), None);
    }
}

#[test]
fn indirect_table_ends_a_chain() {
    let (mut driver, mut queue) = ring(4);
    let mut chain = Chain::default();
    // Not aligned, and out of order.
    describe(&driver.memory, 0x5003, 0x100, 16, NEXT, 2);
    describe(&driver.memory, 0x5003 + 32, 0x200, 32, NEXT | WRITE, 1);
    describe(&driver.memory, 0x5003 + 16, 0x300, 1, WRITE, 0);
    driver.describe(0, 0x80, 8, NEXT, 3);
    driver.describe(3, 0x5003, 48, INDIRECT, 0);
    driver.offer(0);
    assert!(queue.pop(&mut chain).unwrap());
    assert_eq!(chain.readable, [segment(0x80, 8), segment(0x100, 16)]);
    assert_eq!(chain.writable, [segment(0x200, 32), segment(0x300, 1)]);
}

#[test]
fn buffers_and_tables_may_go_on_in_the_next_region() {
    let ranges = [(GuestAddress(0), 0x8_0000), (GuestAddress(0x8_0000), 0x8_0000)];
    let memory = GuestMemory::from_ranges(&ranges).unwrap();
    // So does the table of descriptors.
    let mut driver = Driver::new(&memory, 0x7_ffe0, 4);
    let mut queue = Queue::new(&memory, driver.setup).unwrap();
    let mut chain = Chain::default();
    describe(&memory, 0x7_fe00, 0x7_fff0, 0x20, NEXT, 1);
    describe(&memory, 0x7_fe10, 0x7_0000, 0x1_0000, WRITE, 0);
    driver.describe(3, 0x7_fe00, 32, INDIRECT, 0);
    driver.offer(3);
    assert!(queue.pop(&mut chain).unwrap());
    assert_eq!(chain.readable, [segment(0x7_fff0, 0x10), segment(0x8_0000, 0x10)]);
    assert_eq!(chain.writable, [segment(0x7_0000, 0x1_0000)]);
    // The ring is behind what the next table overwrites.
    let mut driver = Driver::new(&memory, 0x9_0000, 4);
    let mut queue = Queue::new(&memory, driver.setup).unwrap();
    describe(&memory, 0x7_fff8, 0x100, 8, NEXT, 1);
    describe(&memory, 0x8_0008, 0xf_fff0, 0x10, WRITE, 0);
    driver.describe(0, 0x7_fff8, 32, INDIRECT, 0);
    driver.offer(0);
    assert!(queue.pop(&mut chain).unwrap());
    assert_eq!(
        (&*chain.readable, &*chain.writable),
        (&[segment(0x100, 8)][..], &[segment(0xf_fff0, 0x10)][..])
    );
    driver.submit(1, &[(0xf_fff0, 0x11, false)]);
    let outside = RingError::Segment {
        address: 0xf_fff0,
        len: 0x11,
    };
    assert_eq!(queue.pop(&mut chain), Err(outside));
}

#[test]
fn empty_segments_are_left_out() {
    let (mut driver, mut queue) = ring(4);
    let mut chain = Chain::default();
    driver.submit(0, &[(u64::MAX, 0, false), (0x100, 1, true)]);
    assert!(queue.pop(&mut chain).unwrap());
    assert_eq!((chain.readable.len(), chain.writable.len()), (0, 1));
}

/// What one chain of a hostile driver gets.
fn refused(prepare: impl FnOnce(&mut Driver)) -> RingError {
    let (mut driver, mut queue) = ring(4);
    prepare(&mut driver);
    queue.pop(&mut Chain::default()).unwrap_err()
}

#[test]
fn hostile_chains_are_refused() {
    let cases: Vec<(RingError, RingError)> = vec![
        (refused(|d| d.offer(4)), RingError::Descriptor(4)),
        (
            refused(|d| d.submit(3, &[(0, 1, false), (0, 1, false)])),
            RingError::Descriptor(4),
        ),
        (
            refused(|d| {
                d.describe(0, 0, 1, NEXT, 1);
                d.describe(1, 0, 1, NEXT, 0);
                d.offer(0);
            }),
            RingError::Chain,
        ),
        (
            refused(|d| d.submit(0, &[(0x10_0000 - 4, 8, false)])),
            RingError::Segment {
                address: 0x10_0000 - 4,
                len: 8,
            },
        ),
        (
            refused(|d| d.submit(0, &[(u64::MAX - 3, u32::MAX, true)])),
            RingError::Segment {
                address: u64::MAX - 3,
                len: u32::MAX,
            },
        ),
        (
            refused(|d| d.submit(0, &[(0, 1, true), (0, 1, false)])),
            RingError::Order,
        ),
        (refused(|d| d.set_available(5)), RingError::Overrun(5)),
        (refused(|d| d.set_available(0xffff)), RingError::Overrun(0xffff)),
    ];
    for (got, expected) in cases {
        assert_eq!(got, expected);
    }
}

#[test]
fn hostile_tables_are_refused() {
    let table = |address, len, flags| {
        refused(|d| {
            d.describe(0, address, len, flags, 1);
            d.describe(1, 0, 1, 0, 0);
            d.offer(0);
        })
    };
    assert_eq!(table(0x100, 0, INDIRECT), RingError::Indirect);
    assert_eq!(table(0x100, 17, INDIRECT), RingError::Indirect);
    assert_eq!(table(0x100, 16 * 1025, INDIRECT), RingError::Indirect);
    assert_eq!(table(0x100, !15, INDIRECT), RingError::Indirect);
    assert_eq!(table(0x100, 16, INDIRECT | NEXT), RingError::Indirect);
    assert_eq!(table(0x10_0000 - 8, 16, INDIRECT), RingError::Indirect);
    let inner = |flags, next| {
        refused(|d| {
            describe(&d.memory, 0x100, 0, 1, flags, next);
            d.describe(0, 0x100, 16, INDIRECT, 0);
            d.offer(0);
        })
    };
    assert_eq!(inner(INDIRECT, 0), RingError::Indirect, "nested");
    assert_eq!(inner(NEXT, 0), RingError::Chain, "loop");
    // Beyond the table.
    let beyond = refused(|d| {
        describe(&d.memory, 0x100, 0, 1, NEXT, 2);
        d.describe(0, 0x100, 32, INDIRECT, 0);
        d.offer(0);
    });
    assert_eq!(beyond, RingError::Descriptor(2));
    let (mut driver, _) = ring(4);
    driver.setup.indirect = false;
    let mut queue = Queue::new(&driver.memory, driver.setup).unwrap();
    driver.describe(0, 0x100, 16, INDIRECT, 0);
    driver.offer(0);
    assert_eq!(
        queue.pop(&mut Chain::default()),
        Err(RingError::Indirect),
        "not negotiated"
    );
}

#[test]
fn one_buffer_cannot_be_offered_more_often_than_the_ring_is_long() {
    let (mut driver, mut queue) = ring(4);
    let mut chain = Chain::default();
    driver.describe(0, 0, 1, 0, 0);
    for _ in 0..4 {
        driver.offer(0);
        assert!(queue.pop(&mut chain).unwrap());
    }
    driver.offer(0);
    assert_eq!(queue.pop(&mut chain), Err(RingError::Overrun(5)));
}

#[test]
fn rings_that_are_not_there_are_refused() {
    let good = Driver::new(&memory(), 0x1_0000, 4).setup;
    let setups: [fn(&mut Setup); 8] = [
        |s| s.size = 0,
        |s| s.size = 3,
        |s| s.size = 0x8001,
        |s| s.descriptors += 8,
        |s| s.available += 1,
        |s| s.used += 2,
        |s| s.used = 0x10_0000 - 32,
        |s| s.descriptors = !15,
    ];
    for change in setups {
        let mut setup = good;
        change(&mut setup);
        assert_eq!(
            Queue::new(&memory(), setup).err(),
            Some(RingError::Setup),
            "{setup:?}"
        );
    }
}

#[test]
fn event_indices_suppress_on_both_sides() {
    let (mut driver, mut queue) = ring(8);
    let mut chain = Chain::default();
    driver.set_used_event(1);
    for head in 0..3 {
        driver.submit(head, &[(0, 1, true)]);
    }
    let mut used = |queue: &mut Queue| {
        assert!(queue.pop(&mut chain).unwrap());
        queue.complete(chain.head, 0);
        queue.publish()
    };
    assert!(!used(&mut queue), "index 1 is not past the event");
    assert!(used(&mut queue), "index 2 is");
    assert!(!used(&mut queue), "told already");
    assert!(!queue.publish(), "nothing new");
    assert!(!queue.listen().unwrap());
    assert_eq!(driver.available_event(), 3);
    driver.submit(0, &[(0, 1, true)]);
    assert!(queue.listen().unwrap(), "it came in meanwhile");
    assert_eq!(driver.available_event(), 3, "nothing was taken");
}

#[test]
fn a_silenced_driver_does_not_tell_of_what_is_seen_all_the_same() {
    let (mut driver, mut queue) = ring(8);
    let mut chain = Chain::default();
    driver.submit(0, &[(0, 1, true)]);
    assert!(queue.listen().unwrap());
    assert!(queue.pop(&mut chain).unwrap());
    queue.silence();
    assert!(!queue.has_more());
    // What a driver asks itself (§2.7.10.1) when it goes from index 1 to 2, and to 4.
    let tells = |driver: &Driver, old: u16, new: u16| {
        new.wrapping_sub(driver.available_event()).wrapping_sub(1) < new.wrapping_sub(old)
    };
    assert!(!tells(&driver, 1, 2) && !tells(&driver, 1, 4));
    driver.submit(1, &[(0, 1, true)]);
    assert!(queue.has_more());
    assert!(queue.pop(&mut chain).unwrap());
    assert!(!queue.listen().unwrap());
    assert!(tells(&driver, 2, 3));
}

#[test]
fn flags_suppress_without_event_indices() {
    let (mut driver, _) = ring(8);
    driver.setup.event_idx = false;
    let mut queue = Queue::new(&driver.memory, driver.setup).unwrap();
    let flags = |driver: &Driver| -> u16 { driver.memory.read_obj(GuestAddress(driver.setup.used)).unwrap() };
    queue.silence();
    assert_eq!(flags(&driver), 1);
    assert!(!queue.listen().unwrap());
    assert_eq!(flags(&driver), 0);
    for (quiet, head) in [(0u16, 0), (1, 1)] {
        driver
            .memory
            .write_obj(quiet, GuestAddress(driver.setup.available))
            .unwrap();
        driver.submit(head, &[(0, 1, true)]);
        assert!(queue.pop(&mut Chain::default()).unwrap());
        queue.complete(head, 0);
        assert_eq!(queue.publish(), quiet == 0);
    }
}

/// A descriptor that is not all nonsense.
fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let address = prop_oneof![0u64..0x10_0000, any::<u64>(), Just(0x1_0000), Just(0x2_0000)];
    let len = prop_oneof![0u32..4096, any::<u32>(), Just(16), Just(64)];
    let flags = prop_oneof![0u16..8, any::<u16>(), Just(1), Just(4)];
    (address, len, flags, prop_oneof![0u16..20, any::<u16>()])
}

proptest! {
    /// Whatever is in the rings: no panic, no endless walk, and what comes out is guest memory, in order, bounded.
    #[test]
    fn hostile_rings_yield_only_checked_chains(
        direct in proptest::collection::vec(descriptor(), 16),
        table in proptest::collection::vec(descriptor(), 8),
        heads in proptest::collection::vec(prop_oneof![0u16..18, any::<u16>()], 1..40),
        jumps in proptest::collection::vec(prop_oneof![Just(None), any::<u16>().prop_map(Some)], 1..8),
        event_idx in any::<bool>(),
    ) {
        let (mut driver, _) = ring(16);
        driver.setup.event_idx = event_idx;
        let mut queue = Queue::new(&driver.memory, driver.setup).unwrap();
        for (index, (address, len, flags, next)) in (0..).zip(direct) {
            driver.describe(index, address, len, flags, next);
        }
        for (index, (address, len, flags, next)) in (0..).zip(table) {
            describe(&driver.memory, 0x2_0000 + index * 16, address, len, flags, next);
        }
        let mut chain = Chain::default();
        let mut broken = false;
        for head in heads {
            driver.offer(head);
            match queue.pop(&mut chain) {
                Ok(true) => {
                    prop_assert!(chain.readable.len() + chain.writable.len() <= MAX_CHAIN);
                    for segment in chain.readable.iter().chain(&chain.writable) {
                        prop_assert!(segment.len > 0);
                        prop_assert!(segment.address + u64::from(segment.len) <= 1 << 20);
                    }
                    queue.complete(chain.head, 1);
                    queue.publish();
                }
                Ok(false) => {}
                Err(_) => { broken = true; break; }
            }
            if queue.listen().is_err() { broken = true; break; }
        }
        if !broken {
            for jump in jumps.into_iter().flatten() {
                driver.set_available(jump);
                for _ in 0..64 {
                    if !matches!(queue.pop(&mut chain), Ok(true)) { break; }
                }
            }
        }
    }

    /// An honest driver and a device agree, whatever the pattern.
    #[test]
    fn honest_rings_lose_nothing(batches in proptest::collection::vec((1u16..5, 0u16..5, 1usize..4), 1..60)) {
        let (mut driver, mut queue) = ring(16);
        let mut free: Vec<u16> = (0..4).map(|slot| slot * 4).collect();
        let mut held: Vec<u16> = Vec::new();
        let mut chain = Chain::default();
        for (offers, completions, segments) in batches {
            for _ in 0..offers {
                if let Some(head) = free.pop() {
                    driver.submit(head, &vec![(u64::from(head) << 8, 8, true); segments]);
                }
            }
            while queue.pop(&mut chain).unwrap() {
                prop_assert!(chain.writable.iter().all(|s| s.address == u64::from(chain.head) << 8));
                held.push(chain.head);
            }
            for _ in 0..completions {
                if !held.is_empty() {
                    let head = held.remove(0);
                    queue.complete(head, u32::from(head) + 7);
                }
            }
            queue.publish();
            while let Some((head, len)) = driver.used() {
                prop_assert_eq!(len, head + 7);
                free.push(u16::try_from(head).unwrap());
            }
            prop_assert_eq!(free.len() + held.len(), 4);
        }
    }
}

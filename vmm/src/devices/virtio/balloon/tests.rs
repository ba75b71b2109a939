use std::time::Instant;

use axion_api::vmm::{BalloonConfig, BalloonStatistics};
use vm_memory::{Bytes, GuestAddress};

use super::request::{Range, ranges, statistics};
use super::*;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::transport::testing::Rig;
use crate::devices::virtio::worker::testing::unrestricted;

/// Pages with something in them.
const DATA: u64 = 0x8_0000;
/// Where the driver writes.
const OUT: u64 = 0x7_0000;

struct Bench {
    rig: Rig,
    balloon: Arc<Balloon>,
    queues: Vec<Driver>,
}

impl Bench {
    fn new(features: u64) -> Self {
        let config = BalloonConfig {
            size: 2 << 12,
            deflate_on_oom: true,
            free_page_reporting: true,
        };
        let balloon = Arc::new(Balloon::new(config).unwrap());
        let device = BalloonDevice::new(balloon.clone(), &unrestricted()).unwrap();
        let rig = Rig::new(Box::new(device), &memory());
        // Numbered as Linux does: those that are there.
        let has = |bit: u64| u64::from(features & bit != 0);
        let count = 2 + has(feature::STATISTICS) + has(feature::REPORTING);
        let bases: Vec<u64> = (0..count).map(|queue| 0x1_0000 + queue * 0xa000).collect();
        let queues = rig.start(features, &bases);
        rig.memory
            .write_slice(&[7; 0x4_0000], GuestAddress(DATA))
            .unwrap();
        Self { rig, balloon, queues }
    }

    fn ask(&mut self, queue: usize, segments: &[(u64, u32, bool)]) {
        self.queues[queue].submit(0, segments);
        self.rig.notify(queue as u64);
        assert_eq!(self.rig.wait(&mut self.queues[queue]), (0, 0));
    }

    fn numbers(&mut self, queue: usize, pages: &[u32]) {
        for (index, page) in (0..).zip(pages) {
            self.rig
                .memory
                .write_obj(*page, GuestAddress(OUT + index * 4))
                .unwrap();
        }
        let len = u32::try_from(pages.len() * 4).unwrap();
        self.ask(queue, &[(OUT, len, false)]);
    }

    /// Whether the page is as it was; else it is all zeros.
    fn is_kept(&self, page: u64) -> bool {
        let mut bytes = vec![0; 4096];
        self.rig
            .memory
            .read_slice(&mut bytes, GuestAddress(page << 12))
            .unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        bytes[0] == 7
    }
}

#[test]
fn the_driver_is_told_how_much_to_give() {
    let bench = Bench::new(u64::MAX);
    assert_eq!(bench.rig.config(2, 2), 0x1045);
    assert_eq!(bench.rig.offered() & 0xff_ffff, 0b10_0110);
    assert_eq!((bench.rig.device(0, 4), bench.rig.device(4, 4)), (2, 0));
    let generation = bench.rig.common(21, 1);
    bench.balloon.set_target(64 << 12);
    assert_eq!(bench.rig.recorder.take(), [0x40], "configuration has changed");
    assert_ne!(bench.rig.common(21, 1), generation);
    assert_eq!(bench.rig.device(0, 4), 64);
    // What the driver has given is its own to say; the target is not.
    let config = bench.rig.bar + 0x2000;
    bench.rig.write(config + 4, 4, 60);
    bench.rig.write(config, 4, 1);
    bench.rig.write(config + 4, 2, 1);
    assert_eq!((bench.rig.device(0, 4), bench.rig.device(4, 4)), (64, 60));
    let status = bench.balloon.status();
    assert_eq!((status.target, status.actual), (64 << 12, 60 << 12));
    // The next driver is asked for the same, and has given nothing.
    bench.rig.set_common(20, 1, 0);
    assert_eq!((bench.rig.device(0, 4), bench.rig.device(4, 4)), (64, 0));
    bench.balloon.set_target(0);
    assert!(bench.rig.recorder.take().is_empty(), "nobody is there");
}

#[test]
fn what_is_given_reads_as_zeros() {
    let mut bench = Bench::new(u64::MAX);
    bench.numbers(0, &[0x80, 0x82, 0x81, 0x90]);
    for (page, kept) in [
        (0x80, false),
        (0x81, false),
        (0x82, false),
        (0x83, true),
        (0x90, false),
        (0x91, true),
    ] {
        assert_eq!(bench.is_kept(page), kept, "{page:#x}");
    }
    bench
        .rig
        .memory
        .write_slice(&[7; 4096], GuestAddress(DATA))
        .unwrap();
    bench.numbers(1, &[0x80]);
    assert!(bench.is_kept(0x80), "taking back changes nothing");
    let status = bench.balloon.status();
    assert_eq!((status.inflated_bytes, status.deflated_bytes), (4 << 12, 1 << 12));
    assert_eq!(status.errors, 0);
}

#[test]
fn free_pages_go_back_whole() {
    let mut bench = Bench::new(u64::MAX);
    bench.ask(3, &[(DATA, 0x2000, true), (DATA + 0x4800, 0x2000, true)]);
    for (page, kept) in [
        (0x80, false),
        (0x81, false),
        (0x82, true),
        (0x84, true),
        (0x85, false),
        (0x86, true),
    ] {
        assert_eq!(bench.is_kept(page), kept, "{page:#x}");
    }
    assert_eq!(bench.balloon.status().reported_bytes, 3 << 12);
}

#[test]
fn queues_are_found_by_what_was_negotiated() {
    let version = crate::devices::virtio::feature::VERSION_1;
    let mut bench = Bench::new(version | feature::REPORTING);
    bench.ask(2, &[(DATA, 0x1000, true)]);
    assert!(!bench.is_kept(0x80));
    let mut bench = Bench::new(version);
    bench.numbers(0, &[0x81]);
    assert!(!bench.is_kept(0x81));
}

#[test]
fn statistics_are_asked_for_and_kept() {
    let mut bench = Bench::new(u64::MAX);
    let mut entries = Vec::new();
    for (tag, value) in [(4u16, 100u64), (5, 200), (6, u64::MAX), (99, 3)] {
        entries.extend(tag.to_le_bytes());
        entries.extend(value.to_le_bytes());
    }
    bench.rig.memory.write_slice(&entries, GuestAddress(OUT)).unwrap();
    bench.queues[2].submit(0, &[(OUT, 40, false)]);
    bench.rig.notify(2);
    let expected = BalloonStatistics {
        free: Some(100),
        total: Some(200),
        ..Default::default()
    };
    let start = Instant::now();
    while bench.balloon.status().guest != Some(expected) {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
    // It has its buffer back, to fill it anew.
    assert_eq!(bench.rig.wait(&mut bench.queues[2]), (0, 0));
    bench.balloon.status();
    bench.rig.function.pause();
    assert_eq!(bench.queues[2].used(), None, "there is none to be given back");
    bench.rig.function.resume();
    bench.rig.set_common(20, 1, 0);
    assert_eq!(bench.balloon.status().guest, None);
}

#[test]
fn hostile_numbers_hurt_nobody() {
    let mut bench = Bench::new(u64::MAX);
    bench.numbers(0, &[u32::MAX, 0x100, 0x82, 0x82]);
    assert!(!bench.is_kept(0x82) && bench.is_kept(0x83));
    assert_eq!(bench.balloon.status().errors, 2);
    // Odd lengths, no numbers, buffers of the wrong kind, all of memory as numbers.
    bench.ask(0, &[(OUT, 3, false)]);
    bench.ask(0, &[(OUT, 16, true)]);
    bench.ask(1, &[(0, 0x10_0000, false)]);
    bench.ask(3, &[(DATA, 0x1000, false)]);
    assert!(bench.is_kept(0x80));
    // Its own rings.
    bench.numbers(0, &[0x10, 0x14, 0x18]);
    bench.queues[1].offer(999);
    bench.rig.notify(1);
    let start = Instant::now();
    while bench.rig.status() & 64 == 0 {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
    bench.rig.function.pause();
    bench.rig.function.resume();
}

#[test]
fn neighbours_are_one_range() {
    let numbers: Vec<u8> = [5u32, 3, 4, 9, 3, 0]
        .iter()
        .flat_map(|page| page.to_le_bytes())
        .collect();
    let range = |page: u64, pages: u64| Range {
        start: page << 12,
        len: pages << 12,
    };
    assert_eq!(ranges(&numbers), [range(0, 1), range(3, 3), range(9, 1)]);
    assert_eq!(ranges(&numbers[..3]), []);
    assert_eq!(ranges(&[0xff; 4]), [range(0xffff_ffff, 1)]);
    assert_eq!(statistics(&[0; 9]), BalloonStatistics::default());
}

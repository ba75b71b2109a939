use axion_api::vm::HugepageSize;
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap};

use super::backing::ResizeError;
use super::request::{Answer, Blocks, Request};
use super::*;
use crate::devices::virtio::queue::testing::Driver;
use crate::devices::virtio::transport::testing::Rig;
use crate::devices::virtio::worker::testing::unrestricted;
use crate::memory::GuestMemory;

pub const START: u64 = 4 << 30;
pub const BLOCK: u64 = 2 << 20;
pub const BLOCKS: u64 = 8;
const LEAST: u64 = 64 << 20;
/// Where the driver writes, and where it is answered.
const OUT: u64 = 0x7_0000;
const IN: u64 = 0x7_1000;

/// A driver of a device with 8 blocks.
pub struct Bench {
    pub rig: Rig,
    pub resize: Arc<Resize>,
    pub hot: Arc<Hot>,
    pub queue: Driver,
}

impl Bench {
    pub fn new() -> Self {
        let range = START..START + BLOCKS * BLOCK;
        let hot = Arc::new(Hot::map(range.clone(), HugepageSize::None, None, false).unwrap());
        let low = GuestRegionMmap::from_range(GuestAddress(0), 1 << 20, None).unwrap();
        let memory = GuestMemory::from_regions(vec![low, hot.region().unwrap()]).unwrap();
        let resize = Arc::new(Resize::new(LEAST, range, 4096));
        let device =
            MemoryDevice::new(hot.clone(), resize.clone(), Arc::new(|| {}), &unrestricted()).unwrap();
        let rig = Rig::new(Box::new(device), &memory);
        let queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
        Self {
            rig,
            resize,
            hot,
            queue,
        }
    }

    /// As new, as the machine's reset would have it: address space is mapped once in a process, and never given back.
    pub fn reset(&mut self) {
        self.rig.set_common(20, 1, 0);
        self.hot.unplug_all().unwrap();
        self.resize.is_now(0);
        self.resize.ask(LEAST).unwrap();
        let low = vec![0; 1 << 20];
        self.rig.memory.write_slice(&low, GuestAddress(0)).unwrap();
        self.rig.recorder.take();
        self.queue = self.rig.start(u64::MAX, &[0x1_0000]).remove(0);
    }

    /// Another driver, whose ring is at `base`.
    fn restart(&mut self, base: u64) {
        self.rig.set_common(20, 1, 0);
        self.rig
            .memory
            .write_slice(&[0; 0xc000], GuestAddress(base))
            .unwrap();
        self.queue = self.rig.start(u64::MAX, &[base]).remove(0);
    }

    /// What the driver is answered: its type and state.
    pub fn ask(&mut self, kind: u16, start: u64, count: u16) -> (u16, u16) {
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&start.to_le_bytes());
        bytes[16..18].copy_from_slice(&count.to_le_bytes());
        self.rig.memory.write_slice(&bytes, GuestAddress(OUT)).unwrap();
        self.rig
            .memory
            .write_slice(&[0xee; 10], GuestAddress(IN))
            .unwrap();
        self.queue.submit(0, &[(OUT, 24, false), (IN, 10, true)]);
        self.rig.notify(0);
        assert_eq!(self.rig.wait(&mut self.queue), (0, 10));
        let at = |offset| self.rig.memory.read_obj(GuestAddress(IN + offset)).unwrap();
        (at(0), at(8))
    }
}

const PLUG: u16 = 0;
const UNPLUG: u16 = 1;
const UNPLUG_ALL: u16 = 2;
const STATE: u16 = 3;
const ACK: (u16, u16) = (0, 0);
const NACK: (u16, u16) = (1, 0);
const BUSY: (u16, u16) = (2, 0);
const ERROR: (u16, u16) = (3, 0);

fn at(block: u64) -> u64 {
    START + block * BLOCK
}

#[test]
fn the_driver_finds_the_region_and_what_is_asked() {
    let bench = Bench::new();
    assert_eq!(bench.rig.config(2, 2), 0x1058);
    assert_eq!(bench.rig.offered() & 0xff_ffff, 3);
    let field = |offset| bench.rig.device(offset, 8);
    let all = || [0, 8, 16, 24, 32, 40, 48].map(field);
    let size = BLOCKS * BLOCK;
    assert_eq!(all(), [BLOCK, 0, START, size, size, 0, 0]);
    let generation = bench.rig.common(21, 1);
    bench.resize.ask(LEAST + 3 * BLOCK).unwrap();
    assert_eq!(bench.rig.recorder.take(), [0x40], "configuration has changed");
    assert_ne!(bench.rig.common(21, 1), generation);
    assert_eq!(all(), [BLOCK, 0, START, size, size, 0, 3 * BLOCK]);
    // Nothing of it is the driver's to write.
    bench.rig.write(bench.rig.bar + 0x2000 + 48, 8, size);
    assert_eq!(field(48), 3 * BLOCK);
}

#[test]
fn sizes_are_whole_blocks_between_least_and_most() {
    let bench = Bench::new();
    for size in [
        0,
        LEAST - BLOCK,
        LEAST + 4096,
        LEAST + (BLOCKS + 1) * BLOCK,
        u64::MAX,
    ] {
        let expected = ResizeError::Size {
            size,
            least: LEAST,
            most: LEAST + BLOCKS * BLOCK,
            block: BLOCK,
        };
        assert_eq!(bench.resize.ask(size), Err(expected));
    }
    bench.resize.ask(LEAST + BLOCKS * BLOCK).unwrap();
    let status = bench.resize.status();
    assert_eq!((status.requested, status.present), (status.most, LEAST));
}

#[test]
fn blocks_come_and_go_as_asked() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(PLUG, at(0), 1), NACK, "nothing was asked of it");
    bench.resize.ask(LEAST + 4 * BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(1), 3), ACK);
    bench.rig.memory.write_obj(7u8, GuestAddress(at(2))).unwrap();
    assert_eq!(bench.ask(STATE, at(1), 3), (0, 0));
    assert_eq!(bench.ask(STATE, at(0), 2), (0, 2));
    assert_eq!(bench.ask(STATE, at(4), 4), (0, 1));
    assert_eq!(bench.ask(PLUG, at(4), 2), NACK, "one is left");
    assert_eq!(bench.resize.status().present, LEAST + 3 * BLOCK);
    // The guest is to have less: it may keep what it has, and get nothing.
    bench.resize.ask(LEAST + BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(4), 1), NACK);
    assert_eq!(bench.ask(UNPLUG, at(1), 2), ACK);
    assert_eq!(bench.rig.memory.read_obj::<u8>(GuestAddress(at(2))).unwrap(), 0);
    assert_eq!(bench.resize.status().present, LEAST + BLOCK);
    assert_eq!(bench.ask(PLUG, at(4), 1), NACK);
    assert_eq!(bench.ask(UNPLUG_ALL, 0, 0), ACK);
    assert_eq!(bench.resize.status().present, LEAST);
    let status = bench.resize.status();
    assert_eq!((status.refused, status.errors), (4, 0));
}

#[test]
fn hostile_requests_hurt_nobody() {
    let mut bench = Bench::new();
    bench.resize.ask(LEAST + BLOCKS * BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(2), 2), ACK);
    for (kind, start, count) in [
        (PLUG, at(2), 1),
        (PLUG, at(1), 2),
        (PLUG, at(0) + 4096, 1),
        (PLUG, at(7), 2),
        (PLUG, at(0), 0),
        (PLUG, 0, 1),
        (PLUG, u64::MAX, u16::MAX),
        (UNPLUG, at(0), 1),
        (UNPLUG, at(3), 2),
        (UNPLUG, at(2), 0),
        (STATE, at(0), u16::MAX),
        (4, at(0), 1),
        (u16::MAX, at(0), 1),
    ] {
        assert_eq!(bench.ask(kind, start, count), ERROR, "{kind} {start:#x} {count}");
    }
    assert_eq!(bench.hot.size(), 2 * BLOCK);
    assert_eq!(bench.resize.status().errors, 13);
    // A request that is too short, an answer that finds no room, a request in memory that is not there.
    bench.queue.submit(0, &[(OUT, 23, false), (IN, 10, true)]);
    bench.rig.notify(0);
    assert_eq!(bench.rig.wait(&mut bench.queue), (0, 10));
    bench.queue.submit(0, &[(OUT, 24, false), (IN, 3, true)]);
    bench.rig.notify(0);
    assert_eq!(bench.rig.wait(&mut bench.queue), (0, 3));
    bench.queue.submit(0, &[(OUT, 24, false)]);
    bench.rig.notify(0);
    assert_eq!(bench.rig.wait(&mut bench.queue), (0, 0));
    bench.queue.submit(0, &[(at(5), 24, false), (at(6), 10, true)]);
    bench.rig.notify(0);
    assert_eq!(bench.rig.wait(&mut bench.queue), (0, 10));
    bench.queue.offer(999);
    bench.rig.notify(0);
    let start = std::time::Instant::now();
    while bench.rig.status() & 64 == 0 {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
}

#[test]
fn a_guest_that_asks_without_end_can_be_paused() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(STATE, at(0), 8), (0, 1));
    let paused = bench.queue.endless(|| {
        bench.rig.notify(0);
        while bench.queue.used_index() < 100 {
            std::thread::yield_now();
        }
        bench.rig.function.pause();
    });
    assert!(paused);
}

#[test]
fn the_next_driver_finds_what_the_last_one_left() {
    let mut bench = Bench::new();
    bench.resize.ask(LEAST + 2 * BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(0), 2), ACK);
    bench.rig.function.pause();
    bench.rig.function.resume();
    bench.rig.set_common(20, 1, 0);
    bench.rig.recorder.take();
    bench.resize.ask(LEAST).unwrap();
    assert!(bench.rig.recorder.take().is_empty(), "nobody is there");
    bench.restart(0x1_0000);
    assert_eq!(bench.rig.device(40, 8), 2 * BLOCK);
    assert_eq!(bench.rig.device(48, 8), 0);
}

#[test]
fn a_bench_that_is_used_again_is_as_new() {
    let mut bench = Bench::new();
    bench.resize.ask(LEAST + 3 * BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(0), 3), ACK);
    for address in [at(1), at(5), 0x9_0000] {
        bench.rig.memory.write_obj(7u8, GuestAddress(address)).unwrap();
    }
    bench.restart(at(0));
    bench.reset();
    for address in [at(1), at(5), 0x9_0000] {
        let found: u8 = bench.rig.memory.read_obj(GuestAddress(address)).unwrap();
        assert_eq!(found, 0, "{address:#x}");
    }
    let status = bench.resize.status();
    assert_eq!((status.requested, status.present), (LEAST, LEAST));
    assert_eq!(bench.ask(PLUG, at(0), 1), NACK, "nothing was asked of it");
    assert_eq!(bench.ask(STATE, at(0), 8), (0, 1));
}

#[test]
fn a_part_that_cannot_be_taken_back_is_no_loss() {
    let mut bench = Bench::new();
    bench.resize.ask(LEAST + 4 * BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(0), 4), ACK);
    bench.hot.refused.store(2, std::sync::atomic::Ordering::Relaxed);
    for (kind, count) in [(UNPLUG, 4), (UNPLUG_ALL, 0)] {
        assert_eq!(bench.ask(kind, at(0), count), BUSY);
        assert_eq!(bench.ask(STATE, at(0), 4), (0, 0));
        assert_eq!(bench.resize.status().present, LEAST + 4 * BLOCK);
    }
    bench
        .hot
        .refused
        .store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(bench.ask(UNPLUG, at(0), 4), ACK);
    assert_eq!(bench.resize.status().present, LEAST);
}

/// A driver that puts its ring into memory that it then gives back finds it empty, and the device goes on.
#[test]
fn a_ring_in_memory_that_goes_is_the_guests_own_loss() {
    let mut bench = Bench::new();
    bench.resize.ask(LEAST + 2 * BLOCK).unwrap();
    assert_eq!(bench.ask(PLUG, at(0), 2), ACK);
    bench.restart(at(0));
    assert_eq!(bench.ask(STATE, at(0), 2), (0, 0));
    // Unplugs its own ring: the answer goes to where the ring was.
    let mut bytes = [0; 24];
    bytes[0] = 1;
    bytes[8..16].copy_from_slice(&at(0).to_le_bytes());
    bytes[16] = 2;
    bench.rig.memory.write_slice(&bytes, GuestAddress(OUT)).unwrap();
    bench.queue.submit(0, &[(OUT, 24, false), (IN, 10, true)]);
    bench.rig.notify(0);
    let start = std::time::Instant::now();
    while bench.hot.size() > 0 {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
    for _ in 0..100 {
        bench.rig.notify(0);
    }
    bench.rig.function.pause();
    bench.rig.function.resume();
    bench.restart(0x1_0000);
    assert_eq!(bench.ask(PLUG, at(0), 2), ACK);
}

#[test]
fn requests_and_answers_are_those_of_the_specification() {
    let mut bytes = [0; 24];
    bytes[8..16].copy_from_slice(&0x1234_5678_9abc_def0u64.to_le_bytes());
    bytes[16..18].copy_from_slice(&0x4321u16.to_le_bytes());
    let blocks = Blocks {
        start: 0x1234_5678_9abc_def0,
        count: 0x4321,
    };
    for (kind, request) in [
        (0, Some(Request::Plug(blocks))),
        (1, Some(Request::Unplug(blocks))),
        (2, Some(Request::UnplugAll)),
        (3, Some(Request::State(blocks))),
        (4, None),
    ] {
        bytes[0] = kind;
        assert_eq!(Request::parse(&bytes), request);
        assert_eq!(Request::parse(&bytes[..23]), None);
    }
    assert_eq!(Answer::Mixed.bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(Answer::Busy.bytes()[0], 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever a guest requests, and an operator asks, the guest never has more than it was asked to have at the time, and
    /// what is counted is what is there.
    #[test]
    fn a_guest_never_gets_more_than_it_is_to_have(
        steps in prop::collection::vec((0u8..6, 0u64..9, 0u16..5), 1..60)
    ) {
        let mut bench = Bench::new();
        let mut requested = 0;
        for (what, block, count) in steps {
            if what == 5 {
                requested = block.min(BLOCKS) * BLOCK;
                bench.resize.ask(LEAST + requested).unwrap();
                continue;
            }
            let before = bench.hot.size();
            let (kind, _) = bench.ask(what.into(), at(block), count);
            let after = bench.hot.size();
            prop_assert!(after <= before || after <= requested);
            prop_assert!(after == before || kind == 0);
            prop_assert_eq!(bench.resize.status().present, LEAST + after);
        }
    }
}

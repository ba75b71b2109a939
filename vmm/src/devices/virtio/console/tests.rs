use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::transport::testing::Rig;

struct Bench {
    console: Arc<Console>,
    times: Arc<PairTimes>,
    rig: Rig,
    receive: Driver,
    transmit: Driver,
}

impl Bench {
    fn new() -> Self {
        let console = Console::new().unwrap();
        let times = Arc::default();
        let rig = Rig::new(Box::new(VirtioConsole::new(&console, &times)), &memory());
        let mut queues = rig.start(u64::MAX, &[0x1_0000, 0x1_a000]);
        let transmit = queues.remove(1);
        Self {
            console,
            times,
            receive: queues.remove(0),
            transmit,
            rig,
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        self.rig.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rig
            .memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    fn printed(&self) -> Vec<u8> {
        let mut bytes = vec![0; 128 << 10];
        let (_, count) = self.console.output(0, &mut bytes);
        bytes.truncate(count);
        bytes
    }
}

#[test]
fn prints_what_the_driver_offers() {
    let mut bench = Bench::new();
    assert_eq!(bench.rig.config(2, 2), 0x1043);
    assert!(!bench.rig.has(4), "no device configuration");
    bench.write(0x4_0000, b"hello, ");
    bench.write(0x5_0000, &[b'x'; 3000]);
    bench
        .transmit
        .submit(0, &[(0x4_0000, 7, false), (0x5_0000, 3000, false)]);
    bench.transmit.submit(4, &[(0x4_0000, 5, false)]);
    bench.rig.notify(1);
    assert_eq!(
        (bench.transmit.used(), bench.transmit.used()),
        (Some((0, 0)), Some((4, 0)))
    );
    assert_eq!(
        bench.printed(),
        [b"hello, ".as_slice(), &[b'x'; 3000], b"hello"].concat()
    );
}

#[test]
fn what_is_typed_waits_for_buffers() {
    let mut bench = Bench::new();
    assert_eq!(bench.console.type_in(b"typed early"), 11);
    bench.receive.submit(0, &[(0x4_0000, 4, true)]);
    bench
        .receive
        .submit(1, &[(0x4_1000, 2, true), (0x4_2000, 100, true)]);
    bench.rig.notify(0);
    assert_eq!(
        (bench.receive.used(), bench.receive.used()),
        (Some((0, 4)), Some((1, 7)))
    );
    assert_eq!(bench.read(0x4_0000, 4), b"type");
    assert_eq!(
        [bench.read(0x4_1000, 2), bench.read(0x4_2000, 5)].concat(),
        b"d early"
    );
    assert_eq!(bench.rig.recorder.take(), [0x41], "one interrupt");
    // With buffers there, it comes at once.
    bench.receive.submit(3, &[(0x4_0000, 64, true)]);
    bench.rig.notify(0);
    assert_eq!(bench.receive.used(), None);
    bench.console.type_in(b"!");
    assert_eq!(bench.receive.used(), Some((3, 1)));
}

#[test]
fn both_directions_are_timed() {
    let mut bench = Bench::new();
    bench.write(0x4_0000, b"hello");
    bench.transmit.submit(0, &[(0x4_0000, 5, false)]);
    bench.transmit.submit(1, &[(0x4_0000, 5, false)]);
    bench.rig.notify(1);
    let printed = bench.times.read().send;
    assert_eq!(printed.count(), 2);
    assert!(printed.longest_ns > 0 && printed.longest_ns < 20_000_000_000);
    assert_eq!(bench.times.read().receive.count(), 0);
    // Two buffers for what was typed at once, one for what came later.
    let typed = Instant::now();
    bench.console.type_in(b"abc");
    let waiting = Instant::now();
    while waiting.elapsed() < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    for head in 0..3 {
        bench.receive.submit(head, &[(0x4_0000, 2, true)]);
    }
    bench.rig.notify(0);
    let most = u64::try_from(typed.elapsed().as_nanos()).unwrap();
    bench.console.type_in(b"d");
    let given = bench.times.read().receive;
    assert_eq!(given.count(), 3);
    assert!((5_000_000..=most).contains(&given.longest_ns), "{given:?}");
    // No room is nothing given.
    bench.receive.submit(3, &[(0x4_0000, 2, false)]);
    bench.console.type_in(b"e");
    assert_eq!(bench.times.read().receive.count(), 3);
}

#[test]
fn a_paused_machine_is_left_alone() {
    let mut bench = Bench::new();
    bench.receive.submit(0, &[(0x4_0000, 64, true)]);
    bench.rig.function.pause();
    bench.console.type_in(b"later");
    assert_eq!(bench.receive.used(), None);
    bench.rig.function.resume();
    assert_eq!(bench.receive.used(), Some((0, 5)));
    bench.receive.submit(1, &[(0x4_0000, 64, true)]);
    bench.rig.set_common(20, 1, 0);
    bench.console.type_in(b"never");
    assert_eq!(bench.receive.used(), None);
    assert_eq!(
        bench.console.room(),
        (4 << 10) - 5,
        "it waits for the next driver"
    );
}

#[test]
fn hostile_buffers_cost_no_more_than_is_kept() {
    let mut bench = Bench::new();
    // 1 MiB of everything that there is, again and again, and buffers of the wrong kind.
    bench.write(0x4_0000, &[b'a'; 16]);
    let whole = [(0, 0xf_0000, false); 20];
    bench.transmit.submit(0, &whole);
    bench.transmit.submit(32, &[(0x4_0000, 16, true)]);
    bench.rig.notify(1);
    assert_eq!(
        (bench.transmit.used(), bench.transmit.used()),
        (Some((0, 0)), Some((32, 0)))
    );
    assert_eq!(bench.printed().len(), 64 << 10);
    bench.console.type_in(b"x");
    bench.receive.submit(0, &[(0x4_0000, 16, false)]);
    bench.rig.notify(0);
    assert_eq!(bench.receive.used(), Some((0, 0)), "no room is no input");
    bench.receive.offer(999);
    bench.rig.notify(0);
    assert_eq!(bench.rig.status() & 64, 64);
    bench.console.type_in(b"y");
    bench.rig.notify(1);
}

/// One vCPU notifies, another one offers more as fast as it is printed.
#[test]
fn a_guest_that_prints_without_end_keeps_nobody() {
    let mut bench = Bench::new();
    bench.write(0x4_0000, b"x");
    bench.transmit.submit(0, &[(0x4_0000, 1, false)]);
    bench.receive.submit(0, &[(0x4_1000, 64, true)]);
    let ended = bench.transmit.endless(|| bench.rig.notify(1));
    assert!(ended, "the vCPU can be stopped");
    assert_eq!(bench.printed().len(), 64);
    let ended = bench.transmit.endless(|| {
        bench.console.type_in(b"there");
    });
    assert!(ended);
    assert_eq!(bench.receive.used(), Some((0, 5)));
    // What nobody will notify of is printed in turns by whoever hears of it.
    assert!(bench.console.wake().read().is_ok());
    assert!(bench.transmit.endless(|| bench.console.go_on()));
    assert_eq!(bench.printed().len(), 128);
    bench.transmit.set_available(128 + 63);
    bench.rig.function.pause();
    bench.console.go_on();
    assert_eq!(bench.printed().len(), 128, "a paused machine is left alone");
    bench.rig.function.resume();
    assert_eq!(bench.printed().len(), 128 + 63);
}

//! The target of the memory device.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress};

use super::{Behaviour, Values, lock};
use crate::devices::virtio::mem::tests as mem;

/// The machine of all inputs.
static BENCH: Mutex<Option<mem::Bench>> = Mutex::new(None);

/// The memory device: requests of anything, in memory that comes and goes, and rings there too.
pub(super) fn target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let mut bench = lock(&BENCH);
    let bench = bench.get_or_insert_with(mem::Bench::new);
    bench.reset();
    let block = |values: &mut Values<'_>| match values.u8() {
        near @ 0..=239 => mem::START + u64::from(near % 10) * mem::BLOCK,
        240..=250 => mem::START + u64::from(values.u32()),
        _ => values.u64(),
    };
    let mut requested = 0;
    // At rest, but for the moments in which it may work.
    bench.rig.function.pause();
    for _ in 0..32 {
        if values.is_empty() {
            break;
        }
        let before = bench.hot.size();
        match values.u8() % 8 {
            0 => {
                requested = u64::from(values.u8()) % (mem::BLOCKS + 1) * mem::BLOCK;
                let least = bench.resize.status().least;
                bench.resize.ask(least + requested).unwrap();
            }
            1 => {
                let value = values.u64();
                let _ = bench
                    .rig
                    .memory
                    .write_obj(value, GuestAddress(block(&mut values)));
            }
            2 => {
                let base = match values.u8() {
                    0..=127 => 0x1_0000,
                    _ => block(&mut values) & !0xfff,
                };
                if base
                    .checked_add(0xc000)
                    .is_some_and(|end| end <= mem::START + mem::BLOCKS * mem::BLOCK)
                    && (base == 0x1_0000 || base >= mem::START)
                {
                    let zeros = [0; 0xc000];
                    bench.rig.set_common(20, 1, 0);
                    bench.rig.memory.write_slice(&zeros, GuestAddress(base)).unwrap();
                    bench.queue = bench.rig.start(u64::MAX, &[base]).remove(0);
                    bench.rig.function.pause();
                }
            }
            kind => {
                let (kind, count) = (u16::from(kind) % 6, u16::from(values.u8() % 12));
                let start = block(&mut values);
                let mut request = [0; 24];
                request[..2].copy_from_slice(&kind.to_le_bytes());
                request[8..16].copy_from_slice(&start.to_le_bytes());
                request[16..18].copy_from_slice(&count.to_le_bytes());
                let memory = &bench.rig.memory;
                memory.write_slice(&request, GuestAddress(0x7_0000)).unwrap();
                let to = if values.u8() < 200 { 0x7_1000 } else { mem::START };
                bench.queue.submit(0, &[(0x7_0000, 24, false), (to, 10, true)]);
                bench.rig.notify(0);
                bench.rig.function.resume();
                let started = Instant::now();
                while bench.queue.used().is_none() && started.elapsed() < Duration::from_millis(2) {
                    std::thread::yield_now();
                }
                bench.rig.function.pause();
                seen.saw(bench.rig.memory.read_obj::<u8>(GuestAddress(to)).unwrap());
            }
        }
        let after = bench.hot.size();
        assert!(
            after <= before || after <= requested,
            "{before} {after} {requested}"
        );
        let status = bench.resize.status();
        assert_eq!(status.present - status.least, after);
        seen.saw(after / mem::BLOCK);
    }
    seen
}

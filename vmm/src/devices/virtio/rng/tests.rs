use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::devices::virtio::queue::testing::{WRITE, ends_meanwhile, memory};
use crate::devices::virtio::transport::testing::Rig;

#[test]
fn fills_what_the_driver_offers() {
    let rig = Rig::new(Box::new(Rng), &memory());
    assert_eq!(rig.config(2, 2), 0x1044);
    assert!(!rig.has(4), "no device configuration");
    let mut queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    queue.submit(0, &[(0x3_0000, 64, true)]);
    queue.submit(1, &[(0x3_1000, 5000, true), (0x3_4000, 3, true)]);
    rig.notify(0);
    assert_eq!((queue.used(), queue.used()), (Some((0, 64)), Some((1, 5003))));
    assert_eq!(rig.recorder.take(), [0x41], "one interrupt");
    let mut bytes = vec![0; 5000];
    rig.memory.read_slice(&mut bytes, GuestAddress(0x3_1000)).unwrap();
    let distinct: std::collections::BTreeSet<&[u8]> = bytes.chunks_exact(8).collect();
    assert_eq!(distinct.len(), 625);
    let past: u8 = rig.memory.read_obj(GuestAddress(0x3_1000 + 5000)).unwrap();
    assert_eq!(past, 0);
}

#[test]
fn gives_no_more_than_its_most() {
    let rig = Rig::new(Box::new(Rng), &memory());
    let mut queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    queue.submit(0, &[(0x3_0000, 0x2_0000, true)]);
    queue.submit(1, &[(0x3_0000, 16, false)]);
    rig.notify(0);
    assert_eq!((queue.used(), queue.used()), (Some((0, 0x1_0000)), Some((1, 0))));
}

#[test]
fn broken_ring_needs_a_reset() {
    let rig = Rig::new(Box::new(Rng), &memory());
    let mut queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    queue.offer(999);
    rig.notify(0);
    assert_eq!(rig.status() & 64, 64);
    assert_eq!(rig.recorder.take(), [0x40]);
    rig.notify(0);
    let mut queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    rig.memory.write_obj([0u16; 8], GuestAddress(0x1_4000)).unwrap();
    assert_eq!(queue.used(), None);
}

/// One vCPU notifies, another one offers more as fast as it is filled.
#[test]
fn a_guest_that_asks_without_end_keeps_no_vcpu() {
    let rig = Rig::new(Box::new(Rng), &memory());
    let queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    let size = queue.setup.size;
    let place = |number: u16| GuestAddress(0x4_0000 + u64::from(number % size) * 512);
    for head in 0..size {
        queue.describe(head, place(head).0, 256, WRITE, 0);
        let slot = queue.setup.available + 4 + u64::from(head) * 2;
        rig.memory.write_obj(head, GuestAddress(slot)).unwrap();
    }
    let filled = AtomicU16::new(0);
    let ahead = size / 2;
    let offer = || {
        let next = filled.load(Ordering::Relaxed);
        // It has reached this one when the buffer is not zero any more.
        if rig.memory.read_obj::<u64>(place(next)).unwrap() != 0 {
            rig.memory.write_obj(0u64, place(next)).unwrap();
            filled.store(next.wrapping_add(1), Ordering::Relaxed);
            queue.set_available(next.wrapping_add(1).wrapping_add(ahead));
        }
    };
    queue.set_available(ahead);
    assert!(ends_meanwhile(offer, || rig.notify(0)));
    // Nothing of what is there is forgotten.
    let last = filled.load(Ordering::Relaxed).wrapping_add(ahead);
    queue.set_available(last);
    rig.notify(0);
    assert_eq!(queue.used_index(), last);
}

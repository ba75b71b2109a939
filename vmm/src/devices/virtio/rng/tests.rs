use super::*;
use crate::devices::virtio::queue::testing::memory;
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
    let mut queue = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    queue.submit(0, &[(0x3_0000, 8, true)]);
    assert!(queue.endless(|| rig.notify(0)));
    assert_eq!(queue.used_index(), 64);
    queue.set_available(70);
    // It tells of the next one, since that has been asked for.
    assert!((63..70).contains(&queue.available_event()));
    rig.notify(0);
    assert_eq!(queue.used_index(), 70);
}

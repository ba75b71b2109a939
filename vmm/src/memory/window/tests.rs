use vm_memory::Bytes;

use super::*;

fn memory() -> GuestMemory {
    GuestMemory::from_ranges(&[(GuestAddress(0), 0x1000), (GuestAddress(0x10_0000), 0x1000)]).unwrap()
}

#[test]
fn reads_and_writes_what_the_guest_sees() {
    let memory = memory();
    let window = Window::new(&memory, 0x10_0010, 32, 16).unwrap();
    memory
        .write_obj(0x1122_3344_5566_7788u64, GuestAddress(0x10_0018))
        .unwrap();
    assert_eq!(window.load_u64(8, Ordering::Relaxed), 0x1122_3344_5566_7788);
    assert_eq!(window.load_u16(10, Ordering::Acquire), 0x5566);
    window.store_u32(16, 7, Ordering::Relaxed);
    window.store_u16(30, 9, Ordering::Release);
    assert_eq!(memory.read_obj::<u32>(GuestAddress(0x10_0020)).unwrap(), 7);
    assert_eq!(memory.read_obj::<u16>(GuestAddress(0x10_002e)).unwrap(), 9);
}

#[test]
fn only_whole_ranges_of_guest_memory() {
    let memory = memory();
    for (address, len, align) in [
        (0xff0, 32, 16),
        (0x2000, 16, 16),
        (u64::MAX - 15, 16, 16),
        (0x10_0008, 16, 16),
        (0x1001, 2, 1),
    ] {
        assert!(
            Window::new(&memory, address, len, align).is_none(),
            "{address:#x}+{len}"
        );
    }
    assert!(Window::new(&memory, 0xff0, 16, 16).is_some());
}

#[test]
fn a_range_may_go_on_in_the_next_region() {
    let ranges = [(GuestAddress(0), 0x1000), (GuestAddress(0x1000), 0x1000)];
    let memory = GuestMemory::from_ranges(&ranges).unwrap();
    let window = Window::new(&memory, 0xff0, 32, 16).unwrap();
    for (at, value) in (0xff0..).step_by(8).zip(1u64..=4) {
        memory.write_obj(value, GuestAddress(at)).unwrap();
    }
    let seen: Vec<_> = (0..4)
        .map(|word| window.load_u64(word * 8, Ordering::Relaxed))
        .collect();
    assert_eq!(seen, [1, 2, 3, 4]);
    window.store_u16(30, 9, Ordering::Release);
    assert_eq!(memory.read_obj::<u16>(GuestAddress(0x100e)).unwrap(), 9);
    assert!(
        Window::new(&memory, 0xff0, 0x2000, 16).is_none(),
        "nothing behind"
    );
}

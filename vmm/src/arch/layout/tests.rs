use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn ram_keeps_its_size_and_out_of_the_gap(mib in 32u64..(1 << 22)) {
        let size = mib << 20;
        let layout = Layout::new(size, 0, 46).unwrap();
        let total: u64 = layout.ram().map(|r| r.end - r.start).sum();
        prop_assert_eq!(total, size);
        for range in layout.ram() {
            prop_assert!(range.end <= MMIO_GAP.start || range.start >= MMIO_GAP.end);
        }
        let top = layout.ram().last().unwrap().end;
        prop_assert!(layout.pci_window_64.start >= top.max(FOUR_GIB));
        prop_assert_eq!(layout.pci_window_64.end, 1 << 46);
    }

    #[test]
    fn memory_map_ascends_without_overlap(mib in 32u64..(1 << 22)) {
        let map = Layout::new(mib << 20, 0, 46).unwrap().memory_map();
        for pair in map.windows(2) {
            prop_assert!(pair[0].range.start < pair[0].range.end);
            prop_assert!(pair[0].range.end <= pair[1].range.start);
        }
    }
}

#[test]
fn gap_begins_exactly_where_low_ram_ends() {
    let exact = Layout::new(MMIO_GAP.start, 0, 40).unwrap();
    assert_eq!(exact.high, None);
    let more = Layout::new(MMIO_GAP.start + (2 << 20), 0, 40).unwrap();
    assert_eq!(more.low.end, MMIO_GAP.start);
    assert_eq!(more.high, Some(FOUR_GIB..FOUR_GIB + (2 << 20)));
}

#[test]
fn memory_to_come_is_apart_from_ram_and_windows() {
    const GIB: u64 = 1 << 30;
    for (size, more, start) in [
        (64 << 20, GIB, GIB),
        (64 << 20, 2 * GIB, GIB),
        (64 << 20, 2 * GIB + (2 << 20), 4 * GIB),
        (GIB, 2 * GIB, GIB),
        (GIB + (2 << 20), 2 * GIB, 4 * GIB),
        (MMIO_GAP.start, GIB, 4 * GIB),
        (7 * GIB, 64 * GIB, 8 * GIB),
        (11 * GIB, GIB, 12 * GIB),
    ] {
        let layout = Layout::new(size, more, 40).unwrap();
        let hot = layout.hot.clone().unwrap();
        assert_eq!(hot, start..start + more, "{size:#x}");
        for ram in layout.ram() {
            assert!(ram.end <= hot.start || hot.end <= ram.start, "{size:#x}");
        }
        assert!(hot.end <= MMIO_GAP.start || hot.start >= FOUR_GIB);
        assert!(hot.end <= layout.pci_window_64.start);
        assert_eq!(
            layout.memory_map(),
            Layout::new(size, 0, 40).unwrap().memory_map()
        );
    }
    assert_eq!(Layout::new(64 << 20, 0, 40).unwrap().hot, None);
    for more in [1 << 40, u64::MAX] {
        Layout::new(64 << 20, more, 40).unwrap_err();
        Layout::new(more, 1 << 30, 40).unwrap_err();
    }
}

#[test]
fn memory_beyond_the_cpu_is_refused() {
    let error = Layout::new(1 << 40, 0, 40).unwrap_err().to_string();
    assert!(error.contains("40 address bits"), "{error}");
}

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn ram_keeps_its_size_and_out_of_the_gap(mib in 32u64..(1 << 22)) {
        let size = mib << 20;
        let layout = Layout::new(size, 46).unwrap();
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
        let map = Layout::new(mib << 20, 46).unwrap().memory_map();
        for pair in map.windows(2) {
            prop_assert!(pair[0].range.start < pair[0].range.end);
            prop_assert!(pair[0].range.end <= pair[1].range.start);
        }
    }
}

#[test]
fn gap_begins_exactly_where_low_ram_ends() {
    let exact = Layout::new(MMIO_GAP.start, 40).unwrap();
    assert_eq!(exact.high, None);
    let more = Layout::new(MMIO_GAP.start + (2 << 20), 40).unwrap();
    assert_eq!(more.low.end, MMIO_GAP.start);
    assert_eq!(more.high, Some(FOUR_GIB..FOUR_GIB + (2 << 20)));
}

#[test]
fn memory_beyond_the_cpu_is_refused() {
    let error = Layout::new(1 << 40, 40).unwrap_err().to_string();
    assert!(error.contains("40 address bits"), "{error}");
}

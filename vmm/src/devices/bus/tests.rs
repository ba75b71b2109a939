use std::sync::Mutex;

use super::*;

#[derive(Default)]
struct Recorder(Mutex<Vec<(u64, Vec<u8>)>>);

impl BusDevice for Recorder {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(offset.to_le_bytes()[0]);
    }
    fn write(&self, offset: u64, data: &[u8]) {
        self.0.lock().unwrap().push((offset, data.to_vec()));
    }
}

#[test]
fn routes_by_range_and_floats_elsewhere() {
    let device = Arc::new(Recorder::default());
    let mut bus = Bus::default();
    bus.insert(0x10, 4, device.clone()).unwrap();
    let mut byte = [0];
    bus.read(0x13, &mut byte);
    assert_eq!(byte, [3]);
    for outside in [0xf, 0x14, u64::MAX] {
        bus.read(outside, &mut byte);
        assert_eq!(byte, [0xff]);
        bus.write(outside, &[1]);
    }
    bus.write(0x12, &[7, 8]);
    assert_eq!(*device.0.lock().unwrap(), [(2, vec![7, 8])]);
}

#[test]
fn overlaps_are_refused() {
    let mut bus = Bus::default();
    bus.insert(0x10, 4, Arc::new(Recorder::default())).unwrap();
    for (base, size) in [(0x10, 1), (0x13, 1), (0xf, 2), (0x0, 0x100)] {
        assert!(
            bus.insert(base, size, Arc::new(Recorder::default())).is_err(),
            "{base:#x}+{size:#x}"
        );
    }
    bus.insert(0xf, 1, Arc::new(Recorder::default())).unwrap();
    bus.insert(0x14, 1, Arc::new(Recorder::default())).unwrap();
}

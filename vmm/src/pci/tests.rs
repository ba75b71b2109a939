use super::*;

struct Echo;

impl Function for Echo {
    fn read_config(&self, offset: u16, data: &mut [u8]) {
        data.fill(offset.to_le_bytes()[0]);
    }
    fn write_config(&self, _offset: u16, _data: &[u8]) {}
}

fn dword(space: &ConfigSpace, offset: u64) -> u32 {
    let mut data = [0xff; 4];
    space.read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn only_the_host_bridge_is_there() {
    let space = ConfigSpace::new([]).unwrap();
    assert_eq!(dword(&space, 0), 0x0008_1b36);
    assert_eq!(dword(&space, 8), 0x0600_0000);
    assert_eq!(dword(&space, 0x10), 0, "no BAR");
    assert_eq!(dword(&space, 0x34), 0, "no capability");
    assert_eq!(dword(&space, 0xffc), 0);
    for function in 1..256 {
        assert_eq!(dword(&space, function * 4096), u32::MAX, "function {function}");
    }
}

#[test]
fn functions_are_found_by_device_number() {
    let space = ConfigSpace::new([Arc::new(Echo) as Arc<dyn Function>, Arc::new(Echo)]).unwrap();
    for device in [1, 2] {
        assert_eq!(dword(&space, device << 15 | 0x34), 0x3434_3434);
        assert_eq!(
            dword(&space, device << 15 | 1 << 12),
            u32::MAX,
            "one function each"
        );
    }
    assert_eq!(dword(&space, 3 << 15), u32::MAX);
    space.write(3 << 15, &[0; 4]);
    assert!(ConfigSpace::new((0..32).map(|_| Arc::new(Echo) as Arc<dyn Function>)).is_err());
}

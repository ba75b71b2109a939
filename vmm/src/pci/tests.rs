use super::*;

fn dword(offset: u64) -> u32 {
    let mut data = [0xff; 4];
    ConfigSpace.read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn only_the_host_bridge_is_there() {
    assert_eq!(dword(0), 0x0008_1b36);
    assert_eq!(dword(8), 0x0600_0000);
    assert_eq!(dword(0x10), 0, "no BAR");
    assert_eq!(dword(0x34), 0, "no capability");
    assert_eq!(dword(0xffc), 0);
    for function in 1..256 {
        assert_eq!(dword(function * 4096), u32::MAX, "function {function}");
    }
}

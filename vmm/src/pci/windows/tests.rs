use super::*;

#[test]
fn small_below_and_large_above_4_gib() {
    let mut windows = Windows::new(&Layout::new(64 << 20, 0, 40).unwrap());
    assert_eq!(windows.allocate(0x8000).unwrap(), 0xc000_0000);
    assert_eq!(
        windows.allocate(0x1_0000).unwrap(),
        0xc001_0000,
        "aligned to its size"
    );
    assert_eq!(windows.allocate(1 << 30).unwrap(), 1 << 32);
    assert_eq!(windows.allocate(1 << 39).unwrap(), 1 << 39);
    assert!(windows.allocate(1 << 39).is_err(), "beyond the CPU");
}

#[test]
fn each_window_helps_out_the_other() {
    let mut windows = Windows::new(&Layout::new(64 << 20, 0, 32).unwrap());
    assert_eq!(
        windows.allocate(1 << 28).unwrap(),
        0xc000_0000,
        "there is no upper one"
    );
    let mut windows = Windows::new(&Layout::new(64 << 20, 0, 40).unwrap());
    for _ in 0..512 {
        assert!(windows.allocate(1 << 20).unwrap() < 0xe000_0000);
    }
    assert_eq!(windows.allocate(1 << 12).unwrap(), 1 << 32);
}

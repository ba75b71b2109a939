use super::*;

#[test]
fn what_the_host_lets_is_what_is_disabled() {
    use DisabledExit::{Hlt, Mwait, Pause};
    assert_eq!(granted(0xf), [Hlt, Pause, Mwait]);
    assert_eq!(granted(0xf), wanted());
    assert_eq!(granted(0b110), [Hlt, Pause]);
    assert_eq!(granted(0b1000), []);
    assert_eq!(granted(0), []);
}

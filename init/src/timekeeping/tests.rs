use super::{Correction, correction};

#[test]
fn near_clocks_are_slewed_and_far_ones_stepped() {
    assert_eq!(correction(0.25), Some(Correction::Slew(250_000)));
    assert_eq!(correction(-0.25), Some(Correction::Slew(-250_000)));
    assert_eq!(correction(-3600.0), Some(Correction::Step(-3_600_000_000)));
}

#[test]
fn a_server_cannot_move_the_clock_out_of_all_reason() {
    for absurd in [f64::NAN, f64::INFINITY, 1e300, -1e10] {
        assert_eq!(correction(absurd), None);
    }
}

//! What operators may write, and what they are told otherwise.

use proptest::prelude::*;

use super::*;

#[test]
fn sizes_and_spans_are_read() {
    let size = |text: &str| text.parse::<ByteSize>().unwrap().0;
    assert_eq!(size("512B"), 512);
    assert_eq!(size("2GiB"), 2 << 30);
    assert_eq!(size("3 MiB"), 3 << 20);
    let span = |text: &str| text.parse::<Span>().unwrap().0;
    assert_eq!(span("250ms"), Duration::from_millis(250));
    assert_eq!(span("5min"), Duration::from_secs(300));
    assert_eq!(span("7d"), Duration::from_secs(604_800));
}

#[test]
fn anything_else_says_what_is_allowed() {
    for text in ["", "30", "s", "-1s", "1.5h", "30sec", "30S", "1GB", " 1s"] {
        assert_eq!(
            text.parse::<Span>().unwrap_err().to_string(),
            format!("`{text}` is not a duration: a whole number and one of ms, s, min, h, d, as in `30s`")
        );
        assert_eq!(
            text.parse::<ByteSize>().unwrap_err().to_string(),
            format!("`{text}` is not a size: a whole number and one of B, KiB, MiB, GiB, TiB, as in `2GiB`")
        );
    }
    assert_eq!(
        "99999999999TiB".parse::<ByteSize>().unwrap_err().to_string(),
        "`99999999999TiB` is too large"
    );
    let digits = "9".repeat(30) + "s";
    assert_eq!(
        digits.parse::<Span>().unwrap_err(),
        QuantityError::TooLarge(digits)
    );
}

#[test]
fn the_largest_unit_that_fits_is_written() {
    assert_eq!(ByteSize(1536 << 20).to_string(), "1536MiB");
    assert_eq!(ByteSize(0).to_string(), "0B");
    assert_eq!(Span(Duration::from_secs(90)).to_string(), "90s");
    assert_eq!(serde_json::to_string(&ByteSize(4096)).unwrap(), "\"4KiB\"");
    assert!(serde_json::from_str::<ByteSize>("4096").is_err());
}

proptest! {
    #[test]
    fn sizes_round_trip(bytes: u64) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
    }

    #[test]
    fn spans_round_trip(ms in 0..u64::MAX / 2) {
        let span = Span(Duration::from_millis(ms));
        prop_assert_eq!(span.to_string().parse(), Ok(span));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,20}") {
        let _ = text.parse::<Span>();
        let _ = text.parse::<ByteSize>();
    }
}

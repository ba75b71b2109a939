use super::{MAX_MESSAGE, printable, truncated};

#[test]
fn terminal_controls_are_taken_out() {
    assert_eq!(printable("a\tb\u{1b}[2Jc\u{7}\r"), "a b[2Jc");
    assert_eq!(printable("\u{9b}31m"), "31m");
}

#[test]
fn long_lines_are_cut_between_characters() {
    assert_eq!(truncated("aé", 2), "a");
    assert_eq!(truncated("aé", 3), "aé");
    assert!(printable(&"é".repeat(MAX_MESSAGE)).len() <= MAX_MESSAGE);
}

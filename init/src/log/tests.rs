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

#[test]
fn no_line_has_a_machine_config_of_the_command_line() {
    let line =
        "Command line: quiet axion.config=inline:c2VjcmV0 console=ttyS0 axion.config=https://u:p@h/c?k=s";
    assert_eq!(
        printable(line),
        "Command line: quiet axion.config=(hidden) console=ttyS0 axion.config=(hidden)"
    );
    let log = super::Log::open();
    log.info(line);
    assert!(!log.after(0, 10)[0].message.contains("c2VjcmV0"));
}

use clap::CommandFactory;

use super::*;

#[test]
fn the_grammar_has_no_contradictions() {
    Arguments::command().debug_assert();
}

#[test]
fn keys_are_asked_for_by_a_file_or_a_directory() {
    let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
    assert!(parses("xtask keys release.key --no-password"));
    assert!(parses(
        "xtask keys --secure-boot keys --owner Example --trust ca.pem"
    ));
    assert!(!parses("xtask keys"));
    assert!(!parses("xtask keys release.key --owner Example"));
}

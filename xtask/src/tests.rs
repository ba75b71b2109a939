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

/// Words of a shell line; both kinds of quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_examples_in_the_documentation_parse() {
    let documents = [
        include_str!("../../README.md"),
        include_str!("../../docs/media.md"),
        include_str!("../../docs/netboot.md"),
        include_str!("../../docs/secure-boot.md"),
        include_str!("../../docs/update.md"),
    ];
    let mut found = 0;
    for document in documents {
        let document = document.replace("\\\n", " ");
        for line in document
            .lines()
            .filter_map(|line| line.strip_prefix("$ cargo xtask "))
        {
            let line = line.split(" # ").next().unwrap();
            let words = words(line);
            if let Err(error) = Arguments::try_parse_from(["xtask".to_owned()].iter().chain(&words)) {
                panic!("`cargo xtask {line}` is no command: {error}");
            }
            // What it says to a kernel, every loader carries.
            if let Some(at) = words.iter().position(|word| word == "--arguments") {
                axion_core::cmdline::loader::check(&words[at + 1]).unwrap();
            }
            found += 1;
        }
    }
    assert!(found > 12, "only {found} examples were found");
}

use clap::CommandFactory;

use super::*;

#[test]
fn the_grammar_has_no_contradictions() {
    Cli::command().debug_assert();
}

/// The words of a shell line: blanks part them, double quotes keep them together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// The `axctl …` part of a line with pipes and redirections.
fn command(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches(['$', '#', ' ']);
    let part = line.split(" | ").find(|part| part.starts_with("axctl "))?;
    let end = [" > ", " < ", " # "]
        .iter()
        .filter_map(|cut| part.find(cut))
        .min();
    Some(part.get(..end.unwrap_or(part.len())).unwrap_or(part))
}

/// Every example is a command that exists: in the documentation and in the help.
#[test]
fn the_examples_parse() {
    let documentation = [
        include_str!("../../../README.md"),
        include_str!("../../../docs/cli.md"),
        include_str!("../../../docs/media.md"),
        include_str!("../../../docs/netboot.md"),
        include_str!("../../../docs/install.md"),
        include_str!("../../../docs/secure-boot.md"),
        include_str!("../../../docs/update.md"),
        include_str!("../../../docs/recovery.md"),
    ];
    let mut lines: Vec<String> = Vec::new();
    for block in documentation
        .iter()
        .flat_map(|text| text.split("```console\n").skip(1))
    {
        let (block, _) = block.split_once("```").unwrap();
        lines.extend(block.lines().map(str::to_owned));
    }
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        // Two blanks and more part an example from what it does.
        lines.extend(
            help.lines()
                .map(|line| line.trim().split("  ").next().unwrap_or_default().to_owned()),
        );
        commands.extend(command.get_subcommands().cloned());
    }
    let examples: Vec<&str> = lines.iter().filter_map(|line| command(line)).collect();
    assert!(examples.len() > 30, "only {} examples were found", examples.len());
    for example in examples {
        // The ellipsis stands for digits.
        let example = example.replace("sha256:1f…c0", &format!("sha256:{}", "1f".repeat(32)));
        if let Err(error) = Cli::try_parse_from(words(&example)) {
            panic!("`{example}` is no command: {error}");
        }
    }
}

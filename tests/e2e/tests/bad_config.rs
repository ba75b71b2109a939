//! A typing error in a machine config is named with its line, and never makes a node unreachable. A key that only a later version
//! knows is named, too, and the rest of its document is in force.

use anyhow::{Context, Result, ensure};
use axion_e2e::{SOON, boot};
use axion_lab::machine::READY;
use axion_lab::{Image, Machine, Node, Spec, Token};

const UNKNOWN_FIELD: &str = "version = 1\n\n[network]\ndsn = [\"10.0.2.3\"]\nsearch = [\"example.org\"]\n";
const WRONG_TYPE: &str = "hostname = \"typo\"\n[watchdog]\nenabled = \"yes\"\n";
const WRONG_UNIT: &str = "[boot]\non_failure = \"halt\"\ncountdown = \"30 parsecs\"\n";

/// Title of the box that the console shows the token in.
const TOKEN_TITLE: &str = "First API token";

#[test]
fn an_unknown_field_is_named_and_the_rest_is_in_force() -> Result<()> {
    let spec = Spec::new("bad-config-volume")
        .config_volume(UNKNOWN_FIELD)
        .config_with_token("hostname = \"good\"\n");
    let (machine, node) = boot(spec)?;
    ensure!(node.call(node.client().host())?.hostname == "good");
    let config = node.call(node.client().config())?;
    ensure!(
        config.rejected.is_empty() && config.ignored.len() == 1,
        "{config:?}"
    );
    names(config.ignored.first(), &["AXION-CFG", "line 4", "dsn"])?;
    let search = config.values.iter().find(|value| value.key == "network.search");
    ensure!(
        search.is_some_and(|search| search.value.contains("example.org")),
        "{config:?}"
    );
    machine.log().wait_for("dsn", SOON)?;
    Ok(())
}

#[test]
fn with_nothing_but_bad_documents_the_node_is_reachable_on_defaults() -> Result<()> {
    let spec = Spec::new("bad-config-both")
        .config_volume(WRONG_TYPE)
        .config(WRONG_UNIT);
    let machine = spec.start(&Image::find()?)?;
    machine.log().wait_for(READY, SOON * 3)?;
    let node = machine.node(&token_of_the_console(&machine)?)?;
    ensure!(node.call(node.client().host())?.hostname.starts_with("axion-"));
    let rejected = rejected(&node)?;
    ensure!(rejected.len() == 2, "{rejected:?}");
    names(rejected.first(), &["AXION-CFG", "line 3", "enabled"])?;
    names(rejected.get(1), &["inline", "line 3", "30 parsecs"])?;
    machine.log().wait_for("30 parsecs", SOON)?;
    the_token_is_shown_until_it_is_noted(&machine, &node)
}

fn rejected(node: &Node) -> Result<Vec<String>> {
    Ok(node.call(node.client().config())?.rejected)
}

fn names(rejected: Option<&String>, parts: &[&str]) -> Result<()> {
    let text = rejected.context("nothing was rejected")?;
    for part in parts {
        ensure!(text.contains(part), "`{part}` is not in: {text}");
    }
    Ok(())
}

/// The token that the agent made itself, as a person reads it off the console.
fn token_of_the_console(machine: &Machine) -> Result<Token> {
    // The line below the token is painted after it.
    let screen = machine.screen().wait_for("press n", SOON)?;
    let mut words = screen
        .split(|c: char| c.is_whitespace() || "|│".contains(c))
        .filter(|word| word.starts_with("axion_"));
    Ok(Token::new(words.next().with_context(|| {
        format!("no token on the console:\n{screen}")
    })?))
}

/// Noted, it goes from the console for good, and still opens the node.
fn the_token_is_shown_until_it_is_noted(machine: &Machine, node: &Node) -> Result<()> {
    machine.screen().press("n")?;
    machine.screen().wait_for("Is the token noted?", SOON)?;
    machine.screen().press("y")?;
    let token = node.endpoint().token.clone();
    machine
        .screen()
        .wait_until("a console without the token", SOON, |s| {
            !s.contains(TOKEN_TITLE) && !s.contains(&token)
        })?;
    node.call(node.client().host())?;
    Ok(())
}

//! `axctl config`: machine configs.

use std::io::Read;
use std::path::{Path, PathBuf};

use axion_api::config::ConfigApplied;
use axion_api::host::PowerAction;
use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  axctl config show > axion.toml
      the machine config that the node keeps
  axctl config check axion.toml
      every mistake in a config, without a node
  axctl config apply axion.toml --dry-run
      held against this node; nothing is written
  axctl config apply axion.toml --reboot
      kept by the node, and in force
  axctl config show --previous | axctl config apply - --reboot
      back to the one before

What is in force, with every other source, is shown by `axctl host config`.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Check a machine config as a node would, without a node
    #[command(after_help = "Example:\n  axctl config check axion.toml")]
    Check {
        /// TOML document; `-` for standard input
        file: PathBuf,
    },
    /// The machine config that the node keeps; secrets are hidden
    Show {
        /// The one before it
        #[arg(long)]
        previous: bool,
    },
    /// Replace the machine config that the node keeps; it takes effect at the next start
    Apply {
        /// TOML document; `-` for standard input
        file: PathBuf,
        /// Only check it against the node; nothing is written
        #[arg(long, conflicts_with = "reboot")]
        dry_run: bool,
        /// Restart the node, so that it takes effect
        #[arg(long)]
        reboot: bool,
    },
}

pub async fn run(command: &Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    match command {
        Command::Check { file } => {
            let (name, text) = read(file)?;
            let config = axion_core::config::check_all(&text, &name)?;
            output.show(&config, |_| format!("{name}: no mistakes\n"))
        }
        Command::Show { previous } => {
            let document = node.client()?.kept_config(*previous).await?;
            output.show(&document, |_| document.text.clone())?;
            if !(document.in_force || *previous) {
                output.note(format!(
                    "{} takes effect at the next start: `axctl host reboot`.",
                    document.place
                ));
            }
            Ok(())
        }
        Command::Apply {
            file,
            dry_run,
            reboot,
        } => {
            let (name, text) = read(file)?;
            let client = node.client()?;
            let applied = client.apply_config(&text, *dry_run).await?;
            output.show(&applied, |_| said(&applied, &name, *dry_run))?;
            if *reboot {
                client.power(PowerAction::Reboot).await?;
                output.note("The node restarts.");
            } else if applied.at_next_start && !dry_run {
                output.note("It takes effect at the next start: `axctl host reboot`.");
            }
            Ok(())
        }
    }
}

/// What became of a document.
fn said(applied: &ConfigApplied, name: &str, dry_run: bool) -> String {
    let place = &applied.place;
    match (applied.written, dry_run) {
        (true, _) => format!("{place} is replaced; the one before is kept as axion.toml.old\n"),
        (false, true) => format!("{name}: no mistakes; it would go to {place}\n"),
        (false, false) => format!("{place} says so already\n"),
    }
}

/// Reads a document; its name as an operator would say it, and its text.
pub fn read(file: &Path) -> Result<(String, String), Error> {
    let mut text = String::new();
    let (name, result) = if file == Path::new("-") {
        (
            "standard input".to_owned(),
            std::io::stdin().lock().read_to_string(&mut text),
        )
    } else {
        let opened = std::fs::File::open(file);
        (
            file.display().to_string(),
            opened.and_then(|mut file| file.read_to_string(&mut text)),
        )
    };
    result.map_err(|source| Error::io(format!("cannot read {name}"), source))?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_what_became_of_a_document() {
        let applied = |written| ConfigApplied {
            place: "axion.toml on the installed disk nvme0n1".to_owned(),
            written,
            at_next_start: true,
        };
        assert!(said(&applied(true), "x", false).contains("nvme0n1 is replaced"));
        assert!(said(&applied(false), "x.toml", true).starts_with("x.toml: no mistakes; it would go to"));
        assert!(said(&applied(false), "x", false).ends_with("says so already\n"));
    }
}

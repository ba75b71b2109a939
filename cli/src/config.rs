//! `axctl config`: machine configs.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::error::Error;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a machine config as a node would, without a node
    #[command(after_help = "Example:\n  axctl config check axion.toml")]
    Check {
        /// TOML document; `-` for standard input
        file: PathBuf,
    },
}

pub fn run(command: &Command, output: &Output) -> Result<(), Error> {
    match command {
        Command::Check { file } => {
            let (name, text) = read(file)?;
            let config = axion_core::config::check(&text, &name)?;
            output.show(&config, |_| format!("{name}: no mistakes\n"))
        }
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

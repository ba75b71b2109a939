//! `axctl context`: saved nodes.

use clap::Subcommand;
use serde::Serialize;

use crate::error::Error;
use crate::node::Contexts;
use crate::output::Output;
use crate::render;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the saved nodes
    List,
    /// Make a saved node the one that commands are for
    Use {
        /// Its name
        name: String,
    },
    /// Forget a saved node and its token
    Remove {
        /// Its name
        name: String,
    },
}

/// A saved node without its token.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub name: String,
    pub server: String,
    pub current: bool,
    pub trust: String,
}

pub fn run(command: &Command, output: &Output) -> Result<(), Error> {
    let mut saved = Contexts::load()?;
    match command {
        Command::List => {
            let listed = listed(&saved);
            output.show(&listed, |style| render::context::list(&listed, style))
        }
        Command::Use { name } => {
            saved.get(name)?;
            saved.current = Some(name.clone());
            saved.save().map(drop)
        }
        Command::Remove { name } => {
            saved.get(name)?;
            saved.contexts.remove(name);
            saved.current.take_if(|current| current == name);
            saved.save().map(drop)
        }
    }
}

fn listed(saved: &Contexts) -> Vec<Listed> {
    saved
        .contexts
        .iter()
        .map(|(name, context)| Listed {
            name: name.clone(),
            server: context.server.clone(),
            current: saved.current.as_ref() == Some(name),
            trust: match (&context.ca_file, &context.fingerprint) {
                (Some(file), _) => file.display().to_string(),
                (None, fingerprint) => fingerprint.clone().unwrap_or_default(),
            },
        })
        .collect()
}

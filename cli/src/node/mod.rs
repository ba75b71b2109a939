//! Which node a command is for, and by what proof.

mod contexts;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use axion_api::client::{Address, Client, Endpoint, Fingerprint, Trust};
use axion_core::paths::AGENT_SOCKET;
use clap::Args;

use crate::error::Error;
use crate::terminal;

pub use contexts::{Context, Contexts};

/// Options that choose the node.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Node")]
pub struct NodeArgs {
    /// Address of the node: https://HOST or https://HOST:PORT
    #[arg(long, global = true, env = "AXION_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// File with the API token, `-` for standard input; AXION_TOKEN holds one as well
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Fingerprint of the node's CA, as its console shows it
    #[arg(long, global = true, env = "AXION_FINGERPRINT", value_name = "sha256:HEX")]
    pub fingerprint: Option<Fingerprint>,
    /// CA certificates (PEM) of a site that signs its nodes' certificates itself
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "fingerprint")]
    pub ca_file: Option<PathBuf>,
    /// Saved node to use, whatever --server or the environment say
    #[arg(long, short, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

/// The node that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// `--server`, and the saved context of the same address if there is one.
    Server(String, Option<Context>),
    /// A saved context.
    Saved(Context),
    /// The node that this runs on.
    Local,
}

/// Decides which node is meant: a named context, else a given address, else the node that this runs on, else the context
/// that is current. `--server` may come from the environment, so a context that was named for this one command wins.
fn choose(args: &NodeArgs, saved: &Contexts, on_a_node: bool) -> Result<Choice, Error> {
    let context = |name| saved.get(name).map(|context| Choice::Saved(context.clone()));
    if let Some(name) = &args.context {
        return context(name);
    }
    if let Some(server) = &args.server {
        let address: Address = server.parse()?;
        let same = saved
            .contexts
            .values()
            .find(|c| c.server.parse::<Address>().is_ok_and(|a| a == address));
        return Ok(Choice::Server(server.clone(), same.cloned()));
    }
    if on_a_node {
        return Ok(Choice::Local);
    }
    context(saved.current.as_ref().ok_or(Error::NoNode)?)
}

impl NodeArgs {
    /// A client of the node that is meant. A saved context brings its own proof and token; options and environment fill
    /// in what it lacks. For an address it is the other way round.
    ///
    /// # Errors
    /// It is not clear which node is meant, or what is needed to talk to it is missing.
    pub fn client(&self) -> Result<Client, Error> {
        let saved = Contexts::load()?;
        let (server, token, trust) = match choose(self, &saved, Path::new(AGENT_SOCKET).exists())? {
            Choice::Local => return Ok(Client::unix(AGENT_SOCKET)),
            Choice::Saved(context) => {
                let token = if context.token.is_empty() {
                    self.token()?
                } else {
                    Some(context.token.clone())
                };
                (
                    context.server.clone(),
                    token,
                    context.trust().or_else(|| self.trust()),
                )
            }
            Choice::Server(server, same) => {
                let same = same.unwrap_or_default();
                let saved = Some(same.token.clone()).filter(|token| !token.is_empty());
                (
                    server,
                    self.token()?.or(saved),
                    self.trust().or_else(|| same.trust()),
                )
            }
        };
        let token = token.ok_or_else(|| {
            Error::Usage(format!(
                "no token for {server}: give --token-file or AXION_TOKEN, or `axctl login {server}`"
            ))
        })?;
        let trust = trust.ok_or_else(|| {
            Error::Usage(format!(
                "nothing proves that {server} is the node: give --fingerprint, or `axctl login {server}`"
            ))
        })?;
        Ok(Client::tls(&Endpoint {
            address: server.parse()?,
            token,
            trust,
        })?)
    }

    /// The proof that the options ask for.
    pub fn trust(&self) -> Option<Trust> {
        match (&self.ca_file, self.fingerprint) {
            (Some(file), _) => Some(Trust::CaFile(file.clone())),
            (None, Some(fingerprint)) => Some(Trust::Pin(fingerprint)),
            (None, None) => None,
        }
    }

    /// The token that the options or the environment give.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn token(&self) -> Result<Option<String>, Error> {
        match &self.token_file {
            Some(file) if file == Path::new("-") => terminal::secret("token").map(Some),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|source| Error::io(format!("cannot read {}", file.display()), source))?;
                Ok(Some(text.trim().to_owned()))
            }
            None => Ok(std::env::var("AXION_TOKEN")
                .ok()
                .filter(|token| !token.is_empty())),
        }
    }
}

//! What can go wrong, which exit status says so, and what the operator may do about it.

use std::io;
use std::path::PathBuf;

use axion_api::client;
use axion_core::config::{ConfigError, ConfigErrors};

/// A command that failed. Its cause is in `source`, never repeated in its own text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node refused, or could not be asked.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The arguments fit the grammar but not each other or the situation.
    #[error("{0}")]
    Usage(String),
    /// Nothing says which node is meant.
    #[error("which node? None is given, none is saved, and this is no Axion node")]
    NoNode,
    /// No saved node of that name.
    #[error("there is no context `{0}`")]
    NoContext(String),
    /// The file of saved nodes cannot be used.
    #[error("{}: {detail}", path.display())]
    Contexts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A machine config document has a mistake.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A machine config document has mistakes, each with its line.
    #[error(transparent)]
    Configs(#[from] ConfigErrors),
    /// A machine cannot grant what a config wishes.
    #[error("the machine cannot grant {0} of the wishes in `[profile]`")]
    Refused(usize),
    /// A node is not as planned.
    #[error("{0} items of the boot profile are not in force")]
    NotInForce(usize),
    /// A proof came to nothing.
    #[error("the isolation could not be proved: {0}")]
    Proof(String),
    /// CPUs that are set apart are not left alone.
    #[error("CPUs {0} are disturbed")]
    Disturbed(String),
    /// No PCI function of that address.
    #[error("there is no device at `{0}`")]
    NoDevice(String),
    /// No image of that digest.
    #[error("there is no image {0}")]
    NoImage(String),
    /// A VM that was just made.
    #[error("{name} was made and is stopped: it could not be started")]
    NotStarted {
        /// Its name.
        name: String,
        /// What the node said.
        source: client::Error,
    },
    /// The name of a VM to be made is taken.
    #[error("there is a VM `{0}` already")]
    Exists(String),
    /// The name of something to be made is taken.
    #[error("there is a {what} `{name}` already")]
    Taken {
        /// What.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A VM did not become what was waited for.
    #[error("{name} is {state}{}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    Vm {
        /// Its name.
        name: String,
        /// What it is instead.
        state: String,
        /// Why, where the node knows.
        reason: Option<String>,
    },
    /// A wait took too long.
    #[error("{name} is still {state} after {seconds} s")]
    Waited {
        /// The VM.
        name: String,
        /// Its state.
        state: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A disk must not be written, or does not keep what was written.
    #[error("{name}: {why}")]
    Disk {
        /// The disk.
        name: String,
        /// Why.
        why: String,
    },
    /// The network boot cannot be served, or a medium is not what its sum says.
    #[error(transparent)]
    Netboot(#[from] axion_netboot::Error),
    /// The operator said no.
    #[error("not confirmed; nothing was done")]
    NotConfirmed,
    /// The operating system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("standard output")]
    Output(#[source] io::Error),
}

impl Error {
    /// An operating system error, with what was tried.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// Exit status; `axctl --help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoContext(_) | Self::Contexts { .. } => 2,
            Self::NoNode => 3,
            Self::NoDevice(_) | Self::NoImage(_) => 4,
            Self::Exists(_) | Self::Taken { .. } => 5,
            Self::Client(error) | Self::NotStarted { source: error, .. } => client_exit_code(error),
            Self::Netboot(error) if error.is_usage() => 2,
            _ => 1,
        }
    }

    /// Whether the reader of standard output went away, which is its right (`axctl … | head`).
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the operator may do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Client(error) => return error.hint().map(str::to_owned).or_else(|| status_hint(error)),
            Self::Netboot(error) => return error.hint(),
            Self::NoNode => {
                "`axctl login https://ADDRESS` saves a node; --server names one for a single command"
            }
            Self::NotInForce(_) => "`axctl profile show` says what mends each",
            Self::NoDevice(_) => "`axctl devices` lists them",
            Self::NoImage(_) => "`axctl image list` shows them",
            Self::Disturbed(_) => "`axctl profile show` says what of the isolation is not in force",
            Self::NoContext(_) => "`axctl context list` shows the saved ones",
            Self::NotStarted { name, source } => {
                let next =
                    format!("`axctl vm start {name}` tries again, `axctl vm delete {name}` removes it");
                let why = source.hint().map(str::to_owned).or_else(|| status_hint(source));
                return Some(why.map_or(next.clone(), |why| format!("{why}; {next}")));
            }
            Self::Exists(name) => {
                return Some(format!(
                    "`axctl vm start {name}` starts it, `axctl vm delete {name}` makes room"
                ));
            }
            Self::Taken { what, name } => {
                return Some(format!("`axctl {what} show {name}` shows it"));
            }
            Self::Vm { name, .. } => {
                return Some(format!(
                    "`axctl vm show {name}` shows its state, `axctl host logs` the node's log"
                ));
            }
            Self::Waited { name, .. } => {
                return Some(format!(
                    "`axctl vm show {name}` shows its state now, `axctl vm console {name}` what it prints"
                ));
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn client_exit_code(error: &client::Error) -> u8 {
    use client::Error as E;
    match (error, error.status()) {
        (_, Some(401 | 403)) => 3,
        (_, Some(404)) => 4,
        (_, Some(409 | 412)) => 5,
        (E::Address(_) | E::Fingerprint(_), _) => 2,
        (
            E::Token
            | E::CaFile { .. }
            | E::TlsSetup(_)
            | E::Resolve { .. }
            | E::Connect { .. }
            | E::Tls { .. }
            | E::PinMismatch { .. }
            | E::Timeout { .. },
            _,
        ) => 3,
        _ => 1,
    }
}

fn status_hint(error: &client::Error) -> Option<String> {
    let hint = match error.status()? {
        403 => "the token is known, but may not do that",
        412 => "it was changed or created in the meantime; look at it and decide again",
        503 => "a part of the node is down; `axctl host units` shows which",
        507 => "`axctl capacity` shows what is left for VMs, `axctl host show` the rest of the node",
        _ => return None,
    };
    Some(hint.to_owned())
}

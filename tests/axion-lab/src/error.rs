//! What can go wrong in the lab.

use std::path::PathBuf;
use std::time::Duration;

/// Result of a lab operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A lab operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no image to boot.
    #[error("{problem}; build the image with `cargo xtask {task}` and set {variable} to what it made")]
    NoImage {
        /// What is missing.
        problem: String,
        /// What makes it: `image` or `media`.
        task: &'static str,
        /// The environment variable that names it.
        variable: &'static str,
    },
    /// A spec that no machine can be made of.
    #[error("machine {machine}: {problem}")]
    Spec {
        /// Name of the machine.
        machine: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A file or socket operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A line did not appear in a log.
    #[error("no line with `{wanted}` {why}; the log ({log}) ends with:\n{tail}")]
    LineMissing {
        /// Text that was waited for.
        wanted: String,
        /// `within 30 s`, or that the log ended.
        why: String,
        /// File with the whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A text did not appear on a screen.
    #[error("`{wanted}` is not on the {screen} {why}; it shows:\n{contents}")]
    ScreenMissing {
        /// Which screen.
        screen: &'static str,
        /// Text that was waited for.
        wanted: String,
        /// `within 30 s`, or that the machine ended.
        why: String,
        /// What the screen shows.
        contents: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s{}", within.as_secs(), detail(last))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// What was seen instead, last.
        last: Option<String>,
    },
    /// QEMU ended too early or said no.
    #[error("QEMU of machine {machine}: {problem}\n{stderr}")]
    Qemu {
        /// Name of the machine.
        machine: String,
        /// What happened.
        problem: String,
        /// What QEMU printed.
        stderr: String,
    },
    /// A QMP command was refused.
    #[error("QMP command {command}: {problem}")]
    Qmp {
        /// The command.
        command: String,
        /// What QEMU answered.
        problem: String,
    },
    /// A program ended with an error.
    #[error("`{command}` {status}; standard error:\n{stderr}\nstandard output:\n{stdout}")]
    Command {
        /// Program and arguments.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed.
        stdout: String,
        /// What it complained about.
        stderr: String,
    },
    /// The node's API answered with an error or not at all.
    #[error("API of machine {machine}")]
    Api {
        /// Name of the machine.
        machine: String,
        /// What the client says.
        source: axion_api::client::Error,
    },
    /// Something on the node is not what it should be.
    #[error("machine {machine}: {problem}")]
    Unexpected {
        /// Name of the machine.
        machine: String,
        /// What was seen.
        problem: String,
    },
}

fn detail(last: &Option<String>) -> String {
    last.as_ref().map(|seen| format!(": {seen}")).unwrap_or_default()
}

impl Error {
    /// An [`Error::Io`] for `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

//! Running `zpool` and `zfs`.
//!
//! No shell is between: what an operator typed is one argument, and never an option, since names that begin with `-` are
//! refused before ([`crate::names`]). Every command has a deadline; one that the kernel does not let go of is killed, left
//! behind, and reported. What it wrote to stderr is the message that the operator gets.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::wait::until;

/// Deadline of a command that only looks.
pub const LOOK: Duration = Duration::from_secs(20);
/// Deadline of a command that changes something.
pub const CHANGE: Duration = Duration::from_secs(120);
/// Deadline of a command that goes on for as long as whoever is at the other end of its pipe wants: none that is ever met.
const UNLIMITED: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Most bytes of stdout that are taken: a hundred thousand snapshots and their properties.
const LONGEST_OUTPUT: u64 = 256 << 20;
/// Most bytes of stderr that are taken.
const LONGEST_MESSAGE: u64 = 16 << 10;

/// Starting children and waiting for them.
///
/// A program that is not PID 1 waits for each by itself ([`Own`]). PID 1 takes every ended child off the process table in one
/// place, and whoever else waits would find it gone.
pub trait Children: fmt::Debug + Send + Sync {
    /// Starts a child.
    ///
    /// # Errors
    /// It cannot be run.
    fn spawn(&self, command: &mut Command) -> io::Result<Child>;

    /// Waits for its end; `None`: it still runs at `deadline`.
    ///
    /// # Errors
    /// Its end cannot be learnt.
    fn wait(&self, child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>>;

    /// Kills a child that was not seen to end.
    fn kill(&self, child: &mut Child);
}

/// Children of a program that is not PID 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Own;

impl Children for Own {
    fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command.spawn()
    }

    fn wait(&self, child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let ended = until(deadline, Duration::from_millis(20), || {
            child.try_wait().transpose()
        });
        ended.transpose()
    }

    fn kill(&self, child: &mut Child) {
        // It may have ended this moment.
        let _ = child.kill();
        let _ = child.try_wait();
    }
}

/// A command that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// Program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("`{command}` did not end within {seconds} s{}", so_far(message))]
    Timeout {
        /// Program and what it was to do.
        command: String,
        /// Deadline, seconds.
        seconds: u64,
        /// What it had written to stderr.
        message: String,
    },
    /// It ended with an error.
    #[error("`{command}`: {message}")]
    Failed {
        /// Program and what it was to do.
        command: String,
        /// What it wrote to stderr, or how it ended where it wrote nothing.
        message: String,
    },
    /// What it wrote is not what it should be.
    #[error("`{command}` wrote something that is not its JSON")]
    Output {
        /// Program and what it was to do.
        command: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

fn so_far(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!("; it said: {message}")
    }
}

/// The two programs.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `zpool`.
    pub zpool: PathBuf,
    /// `zfs`.
    pub zfs: PathBuf,
    /// How they are started and waited for.
    pub children: Arc<dyn Children>,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            zpool: "/usr/sbin/zpool".into(),
            zfs: "/usr/sbin/zfs".into(),
            children: Arc::new(Own),
        }
    }
}

/// Which of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `zpool`.
    Zpool,
    /// `zfs`.
    Zfs,
}

/// One run of a program.
pub struct Run<'t> {
    tools: &'t Tools,
    tool: Tool,
    arguments: Vec<String>,
    secret: Option<Zeroizing<String>>,
    limit: Duration,
}

// What it is given on its standard input is nobody's to see.
impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Run")
            .field(&self.tool)
            .field(&self.arguments)
            .finish()
    }
}

impl Tools {
    /// `zpool`, with its arguments.
    pub fn zpool<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Run<'_> {
        self.run(Tool::Zpool, arguments)
    }

    /// `zfs`, with its arguments.
    pub fn zfs<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Run<'_> {
        self.run(Tool::Zfs, arguments)
    }

    fn run<S: AsRef<str>>(&self, tool: Tool, arguments: impl IntoIterator<Item = S>) -> Run<'_> {
        Run {
            tools: self,
            tool,
            arguments: arguments.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            secret: None,
            limit: CHANGE,
        }
    }
}

/// The program's end of a pipe.
#[derive(Debug)]
pub enum Ends {
    /// It reads from it.
    Input(OwnedFd),
    /// It writes to it.
    Output(OwnedFd),
}

impl Run<'_> {
    /// With another deadline than [`CHANGE`].
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// With a key on its standard input, where it does not show in the process table.
    #[must_use]
    pub fn secret(mut self, secret: String) -> Self {
        self.secret = Some(Zeroizing::new(secret));
        self
    }

    fn program(&self) -> &PathBuf {
        match self.tool {
            Tool::Zpool => &self.tools.zpool,
            Tool::Zfs => &self.tools.zfs,
        }
    }

    /// `zpool import`: what an operator needs to know of a command line.
    fn name(&self) -> String {
        let program = match self.tool {
            Tool::Zpool => "zpool",
            Tool::Zfs => "zfs",
        };
        let verb = self.arguments.first().map_or("", String::as_str);
        format!("{program} {verb}")
    }

    /// Runs it; what it writes to stdout.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn output(self) -> Result<Vec<u8>, CommandError> {
        let mut command = prepared(self.program(), &self.arguments);
        command.stdin(if self.secret.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        self.ended(command)
    }

    /// Runs it with somebody else's pipe, for as long as it takes.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn piped(self, end: Ends) -> Result<(), CommandError> {
        let mut command = prepared(self.program(), &self.arguments);
        match end {
            Ends::Input(end) => command.stdin(end),
            Ends::Output(end) => command.stdin(Stdio::null()).stdout(end),
        };
        self.within(UNLIMITED).ended(command).map(drop)
    }

    fn ended(self, mut command: Command) -> Result<Vec<u8>, CommandError> {
        let run = |source| CommandError::Run {
            program: self.program().clone(),
            source,
        };
        let deadline = Instant::now() + self.limit;
        let spawned = self.tools.children.spawn(&mut command);
        // With it goes this process's own end of a pipe: the program's is the last.
        drop(command);
        let mut child = spawned.map_err(run)?;
        if let (Some(mut stdin), Some(secret)) = (child.stdin.take(), &self.secret) {
            // Where it ends without reading, it says itself what is wrong.
            let _ = stdin
                .write_all(secret.as_bytes())
                .and_then(|()| stdin.write_all(b"\n"));
        }
        let stdout = child.stdout.take().map(|pipe| collect(pipe, LONGEST_OUTPUT));
        let stderr = child.stderr.take().map(|pipe| collect(pipe, LONGEST_MESSAGE));
        let ended = self.tools.children.wait(&mut child, deadline).map_err(run)?;
        if ended.is_none() {
            self.tools.children.kill(&mut child);
        }
        let soon = Instant::now() + Duration::from_secs(1);
        let message = text(&received(stderr, soon));
        match ended {
            None => Err(CommandError::Timeout {
                command: self.name(),
                seconds: self.limit.as_secs(),
                message,
            }),
            Some(status) if status.success() => Ok(received(stdout, deadline.max(soon))),
            Some(status) => Err(CommandError::Failed {
                command: self.name(),
                message: if message.is_empty() {
                    status.to_string()
                } else {
                    message
                },
            }),
        }
    }

    /// Runs it for its effect.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn done(self) -> Result<(), CommandError> {
        self.output().map(drop)
    }

    /// Runs it; the JSON that it writes. Nothing at all reads as `null`: it has nothing to list.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn json(self) -> Result<serde_json::Value, CommandError> {
        let command = self.name();
        let output = self.within(LOOK).output()?;
        if output.iter().all(u8::is_ascii_whitespace) {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&output).map_err(|source| CommandError::Output { command, source })
    }
}

fn prepared(program: impl AsRef<OsStr>, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads a pipe to its end, on a thread of its own: the program may write to both at once.
fn collect(pipe: impl Read + Send + 'static, most: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut pipe = pipe;
        // What was read before an error is all there is to show.
        let _ = pipe.by_ref().take(most).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
        // The program must be able to write on.
        let _ = io::copy(&mut pipe, &mut io::sink());
    });
    receiver
}

fn received(pipe: Option<Receiver<Vec<u8>>>, deadline: Instant) -> Vec<u8> {
    let left = deadline.saturating_duration_since(Instant::now());
    pipe.and_then(|pipe| pipe.recv_timeout(left).ok())
        .unwrap_or_default()
}

/// A message as one line.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

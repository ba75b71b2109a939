//! Programs that run beside the machine: `axctl` above all. Each has a deadline; its output is kept.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::log::Log;
use crate::{Error, Result, deadline};

/// What a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `command` to its end, without an input.
///
/// # Errors
/// It cannot be started, or has not ended `within` (scaled); then it is killed.
pub fn run(command: &mut Command, within: Duration) -> Result<Output> {
    let what = text(command);
    let within = deadline::scaled(within);
    let end = Instant::now() + within;
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("start", &what))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let mut receive = |part: &mpsc::Receiver<String>| {
        part.recv_timeout(end.saturating_duration_since(Instant::now()))
            .map_err(|_| {
                let _ = child.kill();
                let _ = child.wait();
                Error::Timeout {
                    what: format!("the end of `{what}`"),
                    within,
                    last: None,
                }
            })
    };
    let (stdout, stderr) = (receive(&stdout)?, receive(&stderr)?);
    let status = child.wait().map_err(Error::io("wait for", &what))?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// Runs `command` to its end; gives its standard output when it succeeded.
///
/// # Errors
/// As [`run`], and [`Error::Command`] with all that it printed when it failed.
pub fn succeed(command: &mut Command, within: Duration) -> Result<String> {
    let output = run(command, within)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    Err(Error::Command {
        command: text(command),
        status: format!("ended with {status}"),
        stdout,
        stderr,
    })
}

/// A program that goes on while the test does something else; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: Log,
}

impl Program {
    /// Starts `command`; its standard output is copied to the file `log`, its standard error goes to `log.err`.
    ///
    /// # Errors
    /// It cannot be started, or the file cannot be made.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let what = text(command);
        let errors = log.with_added_extension("err");
        let errors = File::create(&errors).map_err(Error::io("create", &errors))?;
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = command.spawn().map_err(Error::io("start", &what))?;
        let output: Box<dyn Read + Send> = match child.stdout.take() {
            Some(pipe) => Box::new(pipe),
            None => Box::new(std::io::empty()),
        };
        let log = Log::follow(output, log, Instant::now())?;
        Ok(Self { child, log })
    }

    /// What it prints.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it an interrupt, as Ctrl-C does, and waits for its end.
    ///
    /// # Errors
    /// It does not end `within` (scaled).
    pub fn interrupt(&mut self, within: Duration) -> Result<ExitStatus> {
        let id = i32::try_from(self.child.id()).unwrap_or(0);
        kill(Pid::from_raw(id), Signal::SIGINT)
            .map_err(|errno| Error::io("interrupt", "the program")(errno.into()))?;
        deadline::poll("its end", within, Duration::from_millis(50), || {
            let ended = self
                .child
                .try_wait()
                .map_err(Error::io("wait for", "the program"))?;
            Ok(match ended {
                Some(status) => deadline::Poll::Ready(status),
                None => deadline::Poll::Pending("it runs".to_owned()),
            })
        })
    }

    /// Writes `text` to its standard input.
    ///
    /// # Errors
    /// It has closed its input.
    pub fn input(&mut self, text: &str) -> Result<()> {
        match &mut self.child.stdin {
            Some(stdin) => stdin
                .write_all(text.as_bytes())
                .map_err(Error::io("write to", "standard input")),
            None => Ok(()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Program and arguments, for messages; the environment, which may hold a token, is left out.
fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests;

//! The appliance that booted on a machine: its API, by the typed client and by the real `axctl`.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use axion_api::client::{Address, Client, Endpoint, Fingerprint, Trust, presented_ca};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::command::{self, Output, Program};
use crate::deadline::{self, Poll};
use crate::image::existing;
use crate::{Error, Result};

/// Environment variable that names the `axctl` to use.
pub const AXCTL: &str = "AXION_AXCTL";
/// Deadline of one API call.
const CALL: Duration = Duration::from_secs(60);
/// Deadline of one `axctl` run; it may upload an image or wait for a guest to power off.
const AXCTL_RUN: Duration = Duration::from_secs(180);

/// A bearer token. Its text appears only where it is asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A fresh random token.
    pub fn random() -> Self {
        let mut bytes = [0; 24];
        // Without a random source every machine has the same token: none of them is reachable but from this computer.
        let _ = getrandom::fill(&mut bytes);
        Self(hex::encode(bytes))
    }

    /// That token: one that a node made itself and showed on its console.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the machine config takes in `api.token_hashes`.
    pub fn hash(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(self.0.as_bytes())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The API of a booted machine.
#[derive(Debug)]
pub struct Node {
    machine: String,
    dir: PathBuf,
    endpoint: Endpoint,
    fingerprint: Fingerprint,
    client: Client,
    runtime: Runtime,
}

impl Node {
    /// The node whose API is reached at `api`. Its CA is trusted on first use: what is in between is a loopback socket of the
    /// lab's own QEMU, or a network of the lab's own.
    ///
    /// # Errors
    /// No agent answers there.
    pub fn connect(machine: &str, dir: PathBuf, api: SocketAddr, token: &Token) -> Result<Self> {
        let failed = |source| Error::Api {
            machine: machine.to_owned(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start", "the asynchronous runtime"))?;
        let address: Address = format!("https://{api}").parse().map_err(failed)?;
        // The forwarding accepts before the agent listens; the handshake then ends at once.
        // A connection that was forwarded before the machine had a network is tried again there at ever longer intervals: a
        // new one gets through sooner.
        let mut patience = Duration::from_millis(300);
        let fingerprint = deadline::poll(
            "a TLS handshake with the agent",
            CALL,
            Duration::from_millis(50),
            || {
                let handshake =
                    runtime.block_on(async { tokio::time::timeout(patience, presented_ca(&address)).await });
                patience = (patience * 5 / 4).min(Duration::from_secs(5));
                Ok(match handshake {
                    Ok(Ok(fingerprint)) => Poll::Ready(fingerprint),
                    Ok(Err(error)) => Poll::Pending(error.to_string()),
                    Err(late) => Poll::Pending(late.to_string()),
                })
            },
        )?;
        let endpoint = Endpoint {
            address,
            token: token.as_str().to_owned(),
            trust: Trust::Pin(fingerprint),
        };
        let client = Client::tls(&endpoint)
            .map_err(failed)?
            .with_timeout(deadline::scaled(CALL));
        Ok(Self {
            machine: machine.to_owned(),
            dir,
            endpoint,
            fingerprint,
            client,
            runtime,
        })
    }

    /// Where it is, the token, what is trusted: for clients that differ in one of them.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Fingerprint of the CA that it presents.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Where what belongs to its machine is kept.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The typed client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs calls of [`Node::client`] to their end.
    ///
    /// # Errors
    /// [`Error::Api`] with the client's error.
    pub fn call<T>(&self, call: impl Future<Output = Result<T, axion_api::client::Error>>) -> Result<T> {
        self.attempt(call).map_err(|source| Error::Api {
            machine: self.machine.clone(),
            source,
        })
    }

    /// The same, for a test that wants to look at the refusal.
    ///
    /// # Errors
    /// The client's own.
    pub fn attempt<T>(
        &self,
        call: impl Future<Output = Result<T, axion_api::client::Error>>,
    ) -> Result<T, axion_api::client::Error> {
        self.runtime.block_on(call)
    }

    /// Asks `probe` until it gives a value; a call that fails counts as "not yet", as an agent that restarts refuses some.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what was seen last.
    pub fn poll<T>(
        &self,
        what: &str,
        within: Duration,
        mut probe: impl FnMut(&Self) -> Result<Poll<T>>,
    ) -> Result<T> {
        deadline::poll(what, within, Duration::from_millis(200), || {
            Ok(probe(self).unwrap_or_else(|error| Poll::Pending(chain(&error))))
        })
    }

    /// Runs `axctl` against this node; gives its standard output.
    ///
    /// # Errors
    /// [`Error::NoImage`] when there is no `axctl`, [`Error::Command`] when it failed.
    pub fn axctl(&self, args: &[&str]) -> Result<String> {
        command::succeed(&mut self.axctl_command(args)?, AXCTL_RUN)
    }

    /// Runs `axctl` against this node, whatever it answers.
    ///
    /// # Errors
    /// There is no `axctl`, or it hangs.
    pub fn try_axctl(&self, args: &[&str]) -> Result<Output> {
        command::run(&mut self.axctl_command(args)?, AXCTL_RUN)
    }

    /// Starts an `axctl` that goes on, as `axctl vm console` does; its output is kept in the machine's directory as `log`.
    ///
    /// # Errors
    /// There is no `axctl`.
    pub fn start_axctl(&self, args: &[&str], log: &str) -> Result<Program> {
        Program::start(&mut self.axctl_command(args)?, &self.dir.join(log))
    }

    fn axctl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = axctl()?;
        self.be_known_to(command.args(args));
        Ok(command)
    }

    /// Has a program, and what it starts, find this node where it runs `axctl`.
    pub fn be_known_to(&self, command: &mut Command) {
        command
            .env("AXION_SERVER", self.endpoint.address.to_string())
            .env("AXION_TOKEN", &self.endpoint.token)
            .env("AXION_FINGERPRINT", self.fingerprint.to_string())
            // A person's own configuration has no say in a test.
            .env("HOME", &self.dir)
            .env("XDG_CONFIG_HOME", self.dir.join("config"));
    }
}

/// The `axctl` of this image, for what needs no node.
///
/// # Errors
/// [`Error::NoImage`] when there is none.
pub fn axctl() -> Result<Command> {
    let unset = || Error::NoImage {
        problem: format!("{AXCTL} is not set"),
        task: "image",
        variable: AXCTL,
    };
    let program = std::env::var_os(AXCTL).map(PathBuf::from).ok_or_else(unset)?;
    Ok(Command::new(existing(program, AXCTL)?))
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;

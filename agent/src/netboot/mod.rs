//! Booting other machines over the network from this node.
//!
//! ```text
//!  init                        puts the image into /run/axion/netboot, where the config has [netboot]
//!   └─ axion-agent --netboot   the boot server: uid 904, one capability to open its ports, none from then on   server, sandbox
//!        │  steps.sock         a line of JSON for each thing that happens                                      api netboot::Told
//!        ▼
//!      agent                   shows it, and keeps the machines' configs, which the server reads               this file, configs
//! ```
//! The server is a process of its own because it answers whoever is on the wire, before anybody has shown a token: what it is
//! tricked into can do no more than serve, and what it then tells the agent costs that no more than a line ([`LONGEST`]) and what is
//! shown of it. It is this program under another argument because the image must stay small, and the
//! agent has HTTP and an event loop already.

pub mod configs;
mod sandbox;
pub mod server;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axion_api::event::What;
use axion_api::netboot::{Netboot, NetbootServer, NetbootState, NetbootStep, NetbootStepKind, STEPS, Told};
use axion_core::config;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;

use crate::events::Events;
use configs::{ConfigError, Configs};

/// Between two attempts to reach the server.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of the longest line that is read: all steps that a server remembers.
const LONGEST: u64 = 1 << 20;
/// Characters of a text of the server that are kept.
const TEXT: usize = 400;

/// The boot server, as the agent sees it.
pub struct Watched {
    /// Configs of machines.
    pub configs: Configs,
    /// What the node's config says.
    wanted: config::Netboot,
    /// The directory that init prepares.
    run: PathBuf,
    events: Arc<Events>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What the server last said of itself, while there is a line to it.
    server: Option<NetbootServer>,
    steps: VecDeque<NetbootStep>,
}

impl Watched {
    /// Of a node whose config says `wanted`; init prepares `run`, `configs` is the directory of the machines' configs.
    pub fn new(wanted: config::Netboot, run: PathBuf, configs: PathBuf, events: Arc<Events>) -> Self {
        Self {
            configs: Configs::new(configs),
            wanted,
            run,
            events,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is.
    ///
    /// # Errors
    /// The configs cannot be listed.
    pub async fn status(&self) -> Result<Netboot, ConfigError> {
        let configs = self.configs.names().await?;
        let (server, steps) = {
            let seen = self.seen();
            (seen.server.clone(), seen.steps.iter().cloned().collect())
        };
        Ok(Netboot {
            server: server.unwrap_or_else(|| self.without_server()),
            configs,
            steps,
        })
    }

    /// What is known while there is no line to a server.
    fn without_server(&self) -> NetbootServer {
        let mut known = NetbootServer {
            interface: self.wanted.interface.clone(),
            dhcp_range: self.wanted.dhcp_range.clone(),
            uki: self.wanted.uki,
            ..NetbootServer::default()
        };
        if self.wanted.interface.is_none() {
            known.detail = Some("the machine config has no `netboot.interface`".to_owned());
            return known;
        }
        let problem = std::fs::read_to_string(self.run.join("problem"));
        (known.state, known.detail) = match problem {
            Ok(problem) => (NetbootState::Failed, Some(problem.trim_end().to_owned())),
            Err(_) => (NetbootState::Starting, None),
        };
        known
    }

    /// Hears the server, for as long as the agent runs; of a node that serves nobody there is none.
    pub async fn follow(self: Arc<Self>) {
        if self.wanted.interface.is_none() {
            return;
        }
        let socket = self.run.join("server/steps.sock");
        loop {
            if let Ok(stream) = UnixStream::connect(&socket).await {
                let mut stream = BufReader::new(stream);
                loop {
                    match next(&mut stream).await {
                        Ok(Some(told)) => self.hear(told),
                        Ok(None) => break,
                        // Not more often than once in a pause, whatever it says.
                        Err(error) => {
                            tracing::warn!("the boot server says what cannot be read: {error}");
                            break;
                        }
                    }
                }
                self.seen().server = None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn hear(&self, told: Told) {
        let mut seen = self.seen();
        match told {
            Told::All { server, steps } => {
                seen.server = Some(*server);
                // A server that was started again remembers nothing; the agent does.
                if seen.steps.is_empty() {
                    let last = steps.len().saturating_sub(STEPS);
                    seen.steps = steps.into_iter().skip(last).map(cut).collect();
                }
            }
            Told::Server(server) => seen.server = Some(*server),
            Told::Step(step) => {
                let step = cut(step);
                while seen.steps.len() >= STEPS {
                    seen.steps.pop_front();
                }
                seen.steps.push_back(step.clone());
                drop(seen);
                if !matches!(step.step, NetbootStepKind::Transfer | NetbootStepKind::Address) {
                    self.events.publish(What::Netboot(step));
                }
            }
        }
    }
}

/// The next line of the server; `None` at its end.
///
/// # Errors
/// It is too long, or not what a server says.
async fn next(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Told>> {
    let mut line = Vec::new();
    stream.take(LONGEST).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        let text = format!("a line without an end in its first {} bytes", line.len());
        return Err(std::io::Error::other(text));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// A step of which no text is longer than what is shown of one.
fn cut(mut step: NetbootStep) -> NetbootStep {
    let texts = [&mut step.mac, &mut step.address, &mut step.firmware];
    for text in texts.into_iter().flatten().chain([&mut step.text]) {
        if let Some((end, _)) = text.char_indices().nth(TEXT) {
            text.truncate(end);
        }
    }
    step
}

#[cfg(test)]
mod tests;

//! Tells whoever connects what the server does: first all that it remembers, then each thing that happens, a line of JSON each.
//! A listener that does not keep up is cut, and hears all of it again when it comes back.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axion_api::netboot::{NetbootServer, NetbootStep, STEPS, Told};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::ServerError;

/// Lines that may wait for a listener.
const QUEUE: usize = 1024;
/// Listeners at once; the agent is one.
const LISTENERS: usize = 4;

/// Who is told, and what is remembered.
#[derive(Clone, Default)]
pub struct Teller(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    server: NetbootServer,
    steps: VecDeque<NetbootStep>,
    listeners: Vec<Sender<Arc<str>>>,
}

impl Teller {
    /// Listens at `path`, whose directory says who may connect.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(path: &Path) -> Result<Self, ServerError> {
        let listener = (|| -> io::Result<UnixListener> {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
            Ok(listener)
        })();
        let listener = listener.map_err(|source| ServerError::Listen {
            path: path.to_owned(),
            source,
        })?;
        let teller = Self::default();
        let accepting = teller.clone();
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => accepting.add(stream),
                    // Descriptors are short; they come back.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
                }
            }
        });
        Ok(teller)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the server is from now on.
    pub fn server(&self, server: &NetbootServer) {
        let mut known = self.known();
        known.server = server.clone();
        known.tell(&Told::Server(Box::new(server.clone())));
    }

    /// What a machine did.
    pub fn step(&self, step: NetbootStep) {
        let mut known = self.known();
        if known.steps.len() == STEPS {
            known.steps.pop_front();
        }
        known.steps.push_back(step.clone());
        known.tell(&Told::Step(step));
    }

    fn add(&self, stream: UnixStream) {
        let mut known = self.known();
        known.listeners.retain(|listener| !listener.is_closed());
        if known.listeners.len() >= LISTENERS {
            return;
        }
        let (lines, waiting) = channel(QUEUE);
        let all = Told::All {
            server: Box::new(known.server.clone()),
            steps: known.steps.iter().cloned().collect(),
        };
        // There is room for the first one.
        let _ = line(&all).map(|all| lines.try_send(all));
        known.listeners.push(lines);
        tokio::spawn(write(stream, waiting));
    }
}

impl Known {
    fn tell(&mut self, told: &Told) {
        if let Some(line) = line(told) {
            self.listeners
                .retain(|listener| listener.try_send(Arc::clone(&line)).is_ok());
        }
    }
}

fn line(told: &Told) -> Option<Arc<str>> {
    // The types hold nothing that JSON cannot.
    let text = serde_json::to_string(told).ok()?;
    Some(format!("{text}\n").into())
}

async fn write(mut stream: UnixStream, mut lines: Receiver<Arc<str>>) {
    while let Some(line) = lines.recv().await {
        if stream.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;

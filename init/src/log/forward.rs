//! Sending the log to receivers elsewhere. Nothing waits for them: what a receiver is too slow for is lost, and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::LogEntry;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::Receiver;

use super::{Log, rfc5424};
use crate::failure::chain;
use crate::names::Names;

/// Lines that wait for a receiver.
const QUEUE: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause at which an operator is told: before that, the network may just be coming up.
const TELL_AT: Duration = Duration::from_secs(8);
const TIMEOUT: Duration = Duration::from_secs(10);

/// How lines travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// A receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    transport: Transport,
    host: String,
    port: u16,
}

/// A receiver that cannot be used.
#[derive(Debug, thiserror::Error)]
enum ForwardError {
    #[error("`{0}` is not `udp://ADDRESS:PORT` or `tcp://ADDRESS:PORT`")]
    Target(String),
    #[error("cannot reach {host}:{port}")]
    Io {
        host: String,
        port: u16,
        source: std::io::Error,
    },
    #[error(transparent)]
    Name(#[from] crate::names::NameError),
}

impl Target {
    fn parse(text: &str) -> Result<Self, ForwardError> {
        let malformed = || ForwardError::Target(text.to_owned());
        let (transport, rest) = match text.split_once("://") {
            Some(("udp", rest)) => (Transport::Udp, rest),
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            _ => return Err(malformed()),
        };
        let (host, port) = rest
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(malformed)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().map_err(|_| malformed())?;
        if host.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            transport,
            host,
            port,
        })
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> ForwardError {
        let (host, port) = (self.host.clone(), self.port);
        move |source| ForwardError::Io {
            host: host.clone(),
            port,
            source,
        }
    }
}

/// Starts a task for each of `targets`; each begins with what the ring holds.
pub fn start(log: &Log, targets: &[String], hostname: &str, names: &Arc<Names>) {
    for text in targets {
        match Target::parse(text) {
            Ok(target) => {
                let lines = log.subscribe(QUEUE);
                tokio::spawn(run(
                    target,
                    lines,
                    log.clone(),
                    hostname.to_owned(),
                    names.clone(),
                ));
            }
            Err(e) => log.error(&format!("log forwarding: {}", chain(&e))),
        }
    }
}

async fn run(target: Target, mut lines: Receiver<LogEntry>, log: Log, hostname: String, names: Arc<Names>) {
    // What happened before the network was up matters most.
    let mut backlog = log.after(0, QUEUE);
    let mut sent = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        let before = sent;
        let Err(error) = session(&target, &mut backlog, &mut lines, &mut sent, &hostname, &names).await
        else {
            return;
        };
        if sent > before {
            pause = FIRST_PAUSE;
        }
        if pause == TELL_AT {
            log.warning(&format!("log forwarding: {}; trying again", chain(&error)));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Sends lines until the receiver fails. `sent` is the sequence number of the last line that went out.
async fn session(
    target: &Target,
    backlog: &mut Vec<LogEntry>,
    lines: &mut Receiver<LogEntry>,
    sent: &mut u64,
    hostname: &str,
    names: &Names,
) -> Result<(), ForwardError> {
    let address = names.first(&target.host).await?;
    let mut stream = Stream::connect(target, address).await.map_err(target.failed())?;
    for entry in backlog.drain(..) {
        stream
            .send(&rfc5424::format(&entry, hostname))
            .await
            .map_err(target.failed())?;
        *sent = entry.sequence;
    }
    while let Some(entry) = lines.recv().await {
        if entry.sequence > *sent {
            stream
                .send(&rfc5424::format(&entry, hostname))
                .await
                .map_err(target.failed())?;
            *sent = entry.sequence;
        }
    }
    Ok(())
}

enum Stream {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Stream {
    async fn connect(target: &Target, address: IpAddr) -> std::io::Result<Self> {
        let to = SocketAddr::new(address, target.port);
        match target.transport {
            Transport::Udp => {
                let any: SocketAddr = if to.is_ipv4() {
                    ([0, 0, 0, 0], 0).into()
                } else {
                    ([0; 16], 0).into()
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                Ok(Self::Udp(socket))
            }
            Transport::Tcp => Ok(Self::Tcp(
                tokio::time::timeout(TIMEOUT, TcpStream::connect(to)).await??,
            )),
        }
    }

    async fn send(&mut self, message: &str) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message.as_bytes()).await.map(drop),
            Self::Tcp(stream) => {
                tokio::time::timeout(TIMEOUT, stream.write_all(rfc5424::frame(message).as_bytes())).await?
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The sockets and files of a pretended node.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axion_api::init::{BootStatus, LogEntry, NodeStatus, PATH, UnitStatus};
use axion_api::keys::{Answer, Call, Recovery};
use axion_api::problem::{Kind, Problem};
use axion_api::storage::Key;
use axion_api::update;
use axion_core::config::{Effective, Rejected, Source, resolve};
use axion_core::paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::sample::{FINGERPRINT, Sample, entry};

/// A node that is served until it is dropped.
pub struct FakeNode {
    sample: Arc<Mutex<Sample>>,
}

struct Init {
    sample: Arc<Mutex<Sample>>,
    calls: mpsc::UnboundedSender<&'static str>,
}

#[zbus::interface(name = "org.axion.Init1")]
impl Init {
    fn list_units(&self) -> Vec<UnitStatus> {
        self.sample.lock().unwrap().units.clone()
    }

    fn boot_status(&self) -> BootStatus {
        self.sample.lock().unwrap().boot.clone()
    }

    fn node_status(&self) -> NodeStatus {
        self.sample.lock().unwrap().node.clone()
    }

    fn logs(&self, after: u64, limit: u32) -> Vec<LogEntry> {
        let sample = self.sample.lock().unwrap();
        let newer: Vec<_> = sample
            .logs
            .iter()
            .filter(|entry| entry.sequence > after)
            .cloned()
            .collect();
        let surplus = if after == 0 {
            newer.len().saturating_sub(limit as usize)
        } else {
            0
        };
        newer.into_iter().skip(surplus).take(limit as usize).collect()
    }

    /// One passphrase is never done with.
    async fn keys(&self, call: &str) -> String {
        let answer = match serde_json::from_str(call).unwrap() {
            Call::Unlock { request } if request.key == Key::Passphrase("slow horse".to_owned()) => {
                std::future::pending().await
            }
            Call::Unlock { request } if request.key == Key::Passphrase("correct horse".to_owned()) => {
                self.calls.send("unlock").unwrap();
                Answer::Done
            }
            Call::Unlock { .. } => {
                Answer::Problem(Problem::new(Kind::Invalid, "this does not unlock the state"))
            }
            Call::Recovery { forget } => {
                self.sample.lock().unwrap().node.recovery_waits = !forget;
                Answer::Recovery(Recovery {
                    pool: "tank".to_owned(),
                    passphrase: "0123-4567".to_owned(),
                })
            }
            Call::Tpm | Call::Seal { .. } => Answer::Done,
        };
        serde_json::to_string(&answer).unwrap()
    }

    fn update(&self, call: &str) -> String {
        let mut sample = self.sample.lock().unwrap();
        let Some(slots) = &mut sample.slots else {
            let problem = Problem::new(Kind::Conflict, "this node was not started from an installed disk");
            return serde_json::to_string(&update::Answer::Problem(problem)).unwrap();
        };
        if serde_json::from_str::<update::Call>(call).unwrap() == update::Call::RollBack {
            self.calls.send("roll back").unwrap();
            slots.next = slots.way_back().map(|back| back.slot.clone());
        }
        serde_json::to_string(&update::Answer::Status(Box::new(slots.clone()))).unwrap()
    }

    fn reboot(&self) {
        self.calls.send("reboot").unwrap();
    }

    fn power_off(&self) {
        self.calls.send("power off").unwrap();
    }
}

impl FakeNode {
    /// Makes the files below `root` and serves the sockets there. What is called comes out of the channel.
    pub async fn start(root: &Path, sample: Sample) -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(below(paths::AGENT_RUN)).unwrap();
        for socket in [paths::INIT_SOCKET, paths::AGENT_SOCKET, paths::FIRST_TOKEN] {
            let _ = std::fs::remove_file(below(socket));
        }
        let _ = std::os::unix::fs::symlink("/proc", root.join("proc"));
        std::fs::write(below(paths::FINGERPRINT), format!("{FINGERPRINT}\n")).unwrap();
        if let Some(token) = &sample.first_token {
            std::fs::write(below(paths::FIRST_TOKEN), token).unwrap();
        }
        std::fs::write(below(paths::EFFECTIVE_CONFIG), config(&sample)).unwrap();

        let init = UnixListener::bind(below(paths::INIT_SOCKET)).unwrap();
        let agent = UnixListener::bind(below(paths::AGENT_SOCKET)).unwrap();
        let sample = Arc::new(Mutex::new(sample));
        let (calls, called) = mpsc::unbounded_channel();
        tokio::spawn(serve_init(init, sample.clone(), calls));
        tokio::spawn(serve_agent(agent, sample.clone()));
        (Self { sample }, called)
    }

    /// The node has something to say.
    pub fn log_one_more_line(&self) {
        let mut sample = self.sample.lock().unwrap();
        let sequence = sample.logs.last().map_or(1, |last| last.sequence + 1);
        sample
            .logs
            .push(entry(sequence, 6, "agent", "GET /v1/vms 200 in 0.3 ms"));
    }
}

fn config(sample: &Sample) -> String {
    let rejected = |(line, message): &(usize, String)| Rejected {
        source: Source::CommandLine("inline".to_owned()),
        line: Some(*line),
        message: message.clone(),
    };
    let effective = Effective {
        rejected: sample.rejected.iter().map(rejected).collect(),
        ignored: Vec::new(),
        ..resolve(&[])
    };
    serde_json::to_string(&effective).unwrap()
}

async fn serve_init(
    listener: UnixListener,
    sample: Arc<Mutex<Sample>>,
    calls: mpsc::UnboundedSender<&'static str>,
) {
    let mut peers = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        let stream = stream.into_std().unwrap();
        let init = Init {
            sample: sample.clone(),
            calls: calls.clone(),
        };
        let connection = zbus::connection::Builder::unix_stream(stream)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at(PATH, init)
            .build()
            .await;
        peers.extend(connection);
    }
}

async fn serve_agent(listener: UnixListener, sample: Arc<Mutex<Sample>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let body = serde_json::to_string(&sample.lock().unwrap().vms).unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }
}

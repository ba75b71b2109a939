//! A VMM that only pretends.

use std::sync::{Arc, Mutex};

use axion_api::problem::{Kind, Problem};
use axion_api::vmm::{MachineState, PauseReason, VmmMetrics, VmmStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// A VMM's sockets in its run directory: a control socket that notes the first line of each command, does as it is told and
/// says so, and a console that says hello and echoes, and a guest that does so at port 22.
#[derive(Clone)]
pub struct FakeVmm(Arc<Mutex<Machine>>);

struct Machine {
    commands: Vec<String>,
    status: VmmStatus,
    metrics: String,
}

impl FakeVmm {
    pub fn new(directory: &std::path::Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let control = UnixListener::bind(directory.join("api.sock")).unwrap();
        let console = UnixListener::bind(directory.join("console.sock")).unwrap();
        let vsock = UnixListener::bind(directory.join("vsock.sock")).unwrap();
        let status = VmmStatus {
            name: "a".to_owned(),
            version: "0".to_owned(),
            state: MachineState::Running,
            resets: 0,
            reset_causes: Default::default(),
            start_us: Some(1500),
            exit: None,
            pause_reason: None,
            disks: Vec::new(),
            nets: Vec::new(),
            console: Default::default(),
            vsock: None,
            balloon: None,
            memory: None,
            in_force: None,
        };
        let vmm = Self(Arc::new(Mutex::new(Machine {
            commands: Vec::new(),
            status,
            metrics: serde_json::to_string(&VmmMetrics::default()).unwrap(),
        })));
        let answering = vmm.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = control.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                // An agent that is killed says nothing, or does not hear the answer.
                let read = stream.read(&mut buffer).await.unwrap_or_default();
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                if let Some(request) = text.lines().next() {
                    let _ = stream.write_all(answering.answer(request).as_bytes()).await;
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = console.accept().await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = vsock.accept().await.unwrap();
                let mut line = [0; 11];
                stream.read_exact(&mut line).await.unwrap();
                if &line == b"CONNECT 22\n" {
                    stream.write_all(b"OK 1073741824\nssh:").await.unwrap();
                    tokio::spawn(async move {
                        let (mut from, mut to) = stream.split();
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    });
                }
            }
        });
        vmm
    }

    fn answer(&self, request: &str) -> String {
        let mut machine = self.0.lock().unwrap();
        if request.starts_with("GET") {
            let body = if request.contains("/metrics ") {
                machine.metrics.clone()
            } else {
                serde_json::to_string(&machine.status).unwrap()
            };
            return format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
        machine.commands.push(request.to_owned());
        let running = machine.status.state == MachineState::Running;
        let refuse = |why: &str| {
            let body = serde_json::to_string(&Problem::new(Kind::Conflict, why)).unwrap();
            format!(
                "HTTP/1.1 409 Conflict\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        if machine.status.state == MachineState::Starting {
            return refuse("the machine is starting");
        }
        if request.contains("/pause") {
            machine.status.state = MachineState::Paused;
            machine.status.pause_reason = Some(PauseReason::Request);
        } else if request.contains("/resume") && running {
            return refuse("the machine runs");
        } else if request.contains("/resume") {
            machine.status.state = MachineState::Running;
            machine.status.pause_reason = None;
        }
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
    }

    /// First line of each command.
    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().commands.clone()
    }

    /// What it answers from now on when it is asked what it has counted.
    pub fn set_metrics(&self, body: &str) {
        body.clone_into(&mut self.0.lock().unwrap().metrics);
    }

    /// What it says of itself from now on.
    pub fn set(&self, change: impl FnOnce(&mut VmmStatus)) {
        change(&mut self.0.lock().unwrap().status);
    }
}

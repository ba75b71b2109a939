//! What an update must be able to do: start a guest, and answer on its API.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::{TransientUnit, UnitCpus, UnitState};
use axion_api::vmm::{BootConfig, CONFIG_FILE, CONSOLE_SOCKET, MemoryConfig, VmmConfig};
use axion_core::paths;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::clock;
use crate::failure::chain;
use crate::node::Node;
use crate::units::Spec;

/// The guest's unit, and its directory below `/run/axion`.
const UNIT: &str = "self-test";
const RUN_DIRECTORY: &str = "self-test/guest";
/// A guest says its first word within this time.
const FIRST_WORD: Duration = Duration::from_secs(60);
/// What the kernel of a guest says first.
const WORD: &[u8] = b"Linux version";
/// Bytes of what a guest says that are looked at.
const HEARD: usize = 64 << 10;
const STEP: Duration = Duration::from_millis(200);
/// A unit that was killed is down within this time.
const DOWN: Duration = Duration::from_secs(10);
/// The API answers within this time; its agent may be busy.
const ANSWER: Duration = Duration::from_secs(20);

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Starts the guest that the image carries, waits for its first word, and ends it.
///
/// # Errors
/// It does not come, for people.
pub async fn starts(node: &Arc<Node>) -> Result<(), String> {
    let spec = spec().map_err(|e| chain(&*e))?;
    // A left-over of a self-test that was cut short.
    end(node).await;
    node.units.add(spec).await.map_err(|e| chain(&e))?;
    let console = console();
    let started = tokio::select! {
        heard = tokio::time::timeout(FIRST_WORD, first_word(&console)) => {
            heard.map_err(|_| format!("the guest said nothing within {} s", FIRST_WORD.as_secs()))
        }
        why = ended(node) => Err(why),
    };
    end(node).await;
    started
}

fn spec() -> Result<Spec, Failed> {
    let config = VmmConfig {
        name: UNIT.to_owned(),
        cpus: 1,
        cpu_model: Default::default(),
        memory: MemoryConfig {
            size: 128 << 20,
            ..MemoryConfig::default()
        },
        boot: BootConfig {
            kernel: paths::GUEST_KERNEL.to_owned(),
            initrd: Some(paths::GUEST_INITRD.to_owned()),
            cmdline: "console=ttyS0 reboot=k panic=-1".to_owned(),
        },
        topology: None,
        placement: Default::default(),
        dedicated: false,
        sandbox: Default::default(),
        disks: Vec::new(),
        nets: Vec::new(),
        console: Default::default(),
        balloon: None,
        vsock: None,
    };
    let directory = Path::new(paths::RUN).join(RUN_DIRECTORY);
    let memory_max = config.memory_limit();
    Ok(Spec::transient(TransientUnit {
        name: UNIT.to_owned(),
        description: "Guest that shows whether guests start".to_owned(),
        argv: vec![
            paths::VMM.to_owned(),
            "--run-dir".to_owned(),
            directory.to_string_lossy().into_owned(),
        ],
        env: Vec::new(),
        uid: paths::UID_SELF_TEST,
        gid: paths::UID_SELF_TEST,
        groups: vec![paths::GROUP_KVM],
        run_directory: RUN_DIRECTORY.to_owned(),
        files: vec![(CONFIG_FILE.to_owned(), serde_json::to_vec(&config)?)],
        max_restarts: 0,
        stop_timeout_ms: 2000,
        volumes: Vec::new(),
        taps: Vec::new(),
        cpus: UnitCpus::default(),
        memory_max,
    })?)
}

/// The guest's console.
fn console() -> PathBuf {
    Path::new(paths::RUN).join(RUN_DIRECTORY).join(CONSOLE_SOCKET)
}

/// Waits until the guest on the console `socket` says something.
async fn first_word(socket: &Path) {
    let mut heard = Vec::new();
    loop {
        // The VMM makes its sockets in its own time.
        if let Ok(mut console) = UnixStream::connect(socket).await {
            heard.clear();
            while heard.len() < HEARD && console.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
                if heard.windows(WORD.len()).any(|part| part == WORD) {
                    return;
                }
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Waits until the guest's VMM has ended; how.
async fn ended(node: &Node) -> String {
    loop {
        match node.units.get(UNIT).await {
            Ok(unit) if matches!(unit.state, UnitState::Failed | UnitState::Inactive) => {
                let exit = unit.exit.unwrap_or_else(|| "ended".to_owned());
                return format!("the VMM {exit}; the log says more");
            }
            Ok(_) => {}
            Err(e) => return chain(&e),
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Ends the guest and forgets its unit, where there is one.
async fn end(node: &Node) {
    if node.units.get(UNIT).await.is_err() {
        return;
    }
    let _ = node.units.kill(UNIT).await;
    let _ = tokio::time::timeout(DOWN, ended(node)).await;
    if let Err(e) = node.units.remove(UNIT).await {
        node.log.warning(&format!("{UNIT}: {}", chain(&e)));
    }
}

/// Asks the agent how it is, on its local socket.
///
/// # Errors
/// It does not answer that it is well, for people.
pub async fn api_answers() -> Result<(), String> {
    answers(Path::new(paths::AGENT_SOCKET), ANSWER).await
}

async fn answers(socket: &Path, limit: Duration) -> Result<(), String> {
    let end = clock::since_start() + limit;
    loop {
        let why = match tokio::time::timeout(limit, health(socket)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => chain(&*e),
            Err(_) => format!("it does not answer within {} s", limit.as_secs_f64()),
        };
        if clock::since_start() >= end {
            return Err(why);
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn health(socket: &Path) -> Result<(), Failed> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/healthz").header("host", "localhost");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    match response.status() {
        StatusCode::OK => Ok(()),
        status => Err(format!("it answers {status}").into()),
    }
}

#[cfg(test)]
mod tests;

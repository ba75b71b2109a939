//! The boot server: the process `axion-agent --netboot`.
//!
//! ```text
//! image.json ─ wait for the address ─ check the files, open the ports ─ sandbox ─ serve ─ the address is gone: end, init starts
//!                    ▲                        │ not yet possible                          another one, which has its ports to open
//!                    └────────────────────────┘
//! ```
//! It tells the agent what happens ([`Teller`]), and remembers the last of it for an agent that was started again.

mod teller;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axion_api::netboot::{HeldImage, NetbootFile, NetbootServer, NetbootState, NetbootStep, NetbootStepKind};
use axion_core::config::{self, AddressRange};
use axion_core::paths;
use axion_netboot::interface::{self, Interface, Place};
use axion_netboot::{Content, Event, Facts, Held, Options, Part, Server, UefiLoader};
use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use super::sandbox::{self, SandboxError};
use crate::app::read_config;
use crate::events::unix_us;
use crate::log::chain;
use teller::Teller;

/// Between two looks for an address that is not there yet.
const WAIT: Duration = Duration::from_secs(2);
/// Between two attempts to open what could not be opened.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two looks whether the address is still there.
const LOOK: Duration = Duration::from_secs(5);
/// Threads that read files.
const THREADS: usize = 4;

/// Why the server ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The runtime.
    #[error("the runtime failed")]
    Runtime(#[from] std::io::Error),
    /// The socket to the agent.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// Socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The sandbox.
    #[error("the boot server serves nobody without its sandbox")]
    Sandbox(#[from] SandboxError),
    /// Serving.
    #[error(transparent)]
    Serve(#[from] axion_netboot::Error),
}

/// What cannot be used of what init has prepared.
#[derive(Debug, thiserror::Error)]
enum ImageError {
    #[error("cannot read {path}")]
    Read {
        path: &'static str,
        source: std::io::Error,
    },
    #[error("{path} is not what this version of the boot server reads")]
    Json {
        path: &'static str,
        source: serde_json::Error,
    },
    #[error("{path} has `{found}` for a SHA-256; one is 64 hex digits")]
    Sum { path: &'static str, found: String },
}

/// Runs the server until it is asked to end.
///
/// # Errors
/// It cannot serve any more; init starts another one.
pub fn run() -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()?;
    let result = runtime.block_on(serve());
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve() -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate())?;
    // Init starts the first process of a PID namespace with it blocked; from here on somebody listens.
    let mut waits = SigSet::empty();
    waits.add(Number::SIGTERM);
    waits.thread_unblock().map_err(std::io::Error::from)?;
    let wanted = read_config(Path::new(paths::EFFECTIVE_CONFIG)).config.netboot;
    let teller = Teller::listen(Path::new(paths::NETBOOT_SOCKET))?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = serve_image(&wanted, &teller) => result,
    }
}

async fn serve_image(wanted: &config::Netboot, teller: &Teller) -> Result<(), ServerError> {
    let mut shown = NetbootServer {
        state: NetbootState::Starting,
        interface: wanted.interface.clone(),
        dhcp_range: wanted.dhcp_range.clone(),
        uki: wanted.uki,
        ..NetbootServer::default()
    };
    teller.server(&shown);
    let (events, mut happened) = unbounded_channel();
    let (server, place) = loop {
        let (state, detail, wait) = match place(wanted) {
            Err(missing) => (NetbootState::Waiting, missing, WAIT),
            Ok(place) => match open(wanted, &place, events.clone()).await {
                Ok((server, origin)) => {
                    shown.image = Some(origin);
                    break (server, place);
                }
                Err(error) => (NetbootState::Failed, error, AGAIN),
            },
        };
        if shown.detail.as_ref() != Some(&detail) {
            tracing::warn!("serves nobody: {detail}");
            shown.state = state;
            shown.detail = Some(detail);
            teller.server(&shown);
        }
        tokio::time::sleep(wait).await;
    };
    sandbox::enter(Path::new(paths::NETBOOT_CONFIGS))?;
    shown.state = NetbootState::Serving;
    shown.detail = None;
    shown.address = Some(place.address.to_string());
    shown.url = Some(format!("http://{}:{}/boot.ipxe", place.address, wanted.http_port));
    shown.files = server.files().iter().map(file).collect();
    teller.server(&shown);
    tracing::info!("serves {} on {}", place.address, place.interface);
    let gone = async {
        while has(&place.interface, place.address) {
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!("{} has no longer {}", place.interface, place.address);
    };
    let mut serving = std::pin::pin!(server.serve(gone));
    loop {
        tokio::select! {
            result = &mut serving => return Ok(result?),
            Some(event) = happened.recv() => {
                if !matches!(event, Event::Transfer { percent: ..100, .. }) {
                    tracing::info!("{event}");
                }
                teller.step(step(&event));
            }
        }
    }
}

/// Checks the files and opens the ports; says where the image is from.
async fn open(
    wanted: &config::Netboot,
    place: &Place,
    events: tokio::sync::mpsc::UnboundedSender<Event>,
) -> Result<(Server, String), String> {
    let (held, origin) = held().map_err(|error| chain(&error))?;
    let range = range(wanted)?;
    let options = Options {
        place: place.clone(),
        content: Content::Held(held),
        configs: Some(paths::NETBOOT_CONFIGS.into()),
        // A machine's config may come at any time, and reaches it by the script alone.
        uefi: if wanted.uki {
            UefiLoader::Uki
        } else {
            UefiLoader::Ipxe
        },
        range,
        router: None,
        dns: Vec::new(),
        http_port: wanted.http_port,
        tls: None,
        kernel_arguments: wanted.kernel_args.clone(),
    };
    let server = Server::open(options, events).await;
    Ok((server.map_err(|error| chain(&error))?, origin))
}

fn range(wanted: &config::Netboot) -> Result<Option<AddressRange>, String> {
    wanted.dhcp_range.as_deref().map(str::parse).transpose()
}

/// What init has prepared, and where it is from.
fn held() -> Result<(Held, String), ImageError> {
    let path = paths::NETBOOT_FACTS;
    let text = std::fs::read(path).map_err(|source| ImageError::Read { path, source })?;
    let facts: HeldImage =
        serde_json::from_slice(&text).map_err(|source| ImageError::Json { path, source })?;
    let mut sha256 = [0; 32];
    if hex::decode_to_slice(&facts.sha256, &mut sha256).is_err() {
        return Err(ImageError::Sum {
            path,
            found: facts.sha256,
        });
    }
    let part = |(start, length)| Part { start, length };
    let held = Held {
        image: paths::NETBOOT_IMAGE.into(),
        sha256,
        kernel: part(facts.kernel),
        initramfs: part(facts.initramfs),
        cmdline: facts.cmdline,
        ipxe: paths::IPXE.into(),
    };
    Ok((held, facts.origin))
}

/// Where to serve, or what is missing for it, in words.
fn place(wanted: &config::Netboot) -> Result<Place, String> {
    let name = wanted.interface.as_deref().unwrap_or_default();
    let interfaces = interface::list().map_err(|error| chain(&error))?;
    find(&interfaces, name, range(wanted)?)
}

fn find(interfaces: &[Interface], name: &str, range: Option<AddressRange>) -> Result<Place, String> {
    let Some(interface) = interfaces.iter().find(|interface| interface.name == name) else {
        let names: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
        return Err(format!(
            "there is no interface `{name}`; there are: {}",
            names.join(", ")
        ));
    };
    if !interface.up || interface.addresses.is_empty() {
        return Err(format!(
            "{name} has no IPv4 address yet; without a DHCP server on its network, [[network.interfaces]] in the machine config \
             gives it one"
        ));
    }
    interface::choose(interfaces, Some(name), range).map_err(|error| error.to_string())
}

fn has(interface: &str, address: Ipv4Addr) -> bool {
    // Where the kernel does not say, nothing has changed.
    interface::list().map_or(true, |interfaces| {
        let mut own = interfaces.iter().filter(|found| found.name == interface);
        own.any(|found| found.addresses.iter().any(|(found, _)| *found == address))
    })
}

fn file(facts: &Facts) -> NetbootFile {
    NetbootFile {
        name: facts.name.to_owned(),
        size: facts.size,
        sha256: hex::encode(facts.sha256),
    }
}

fn step(event: &Event) -> NetbootStep {
    let who = event.who();
    NetbootStep {
        unix_us: unix_us(),
        mac: who.mac.map(|mac| mac.to_string()),
        address: who.address.map(|address| address.to_string()),
        firmware: who.architecture.map(|architecture| architecture.to_string()),
        step: match event {
            Event::Boots { .. } => NetbootStepKind::Boots,
            Event::Address { .. } => NetbootStepKind::Address,
            Event::Transfer { .. } => NetbootStepKind::Transfer,
            Event::Script { .. } => NetbootStepKind::Script,
            Event::Config { .. } => NetbootStepKind::Config,
            Event::Refused { .. } => NetbootStepKind::Refused,
        },
        text: event.words(),
    }
}

#[cfg(test)]
mod tests;

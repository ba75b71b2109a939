//! `org.axion.Init1`: D-Bus without a bus.
//!
//! Each peer of the socket gets a connection and an object server of its own. Who may call is decided once, when the
//! peer connects, by what the kernel says of it: root, the agent and the console.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::{
    BootStatus, Bridge, LogEntry, NodeStatus, PATH, Phase, ProofStatus, TransientUnit, UnitStatus,
};
use axion_api::recovery::NoticeKind;
use axion_core::paths;
use axion_core::topology::Topology;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use zbus::OwnedFd;
use zbus::fdo;
use zbus::object_server::SignalEmitter;

use crate::config;
use crate::failure::chain;
use crate::files::{self, Access, FileError};
use crate::install;
use crate::keys;
use crate::network::SwitchError;
use crate::node::{Node, Signal};
use crate::power::Verb;
use crate::proof::{self, ProofError};
use crate::recovery;
use crate::rescue;
use crate::slot;
use crate::stage2::{self, ApplyError};
use crate::storage;
use crate::streams;
use crate::sync::lock;
use crate::units::{Change, Spec, UnitError, device};

/// Log lines in one answer.
const MAX_LINES: usize = 4096;
/// How long disks may take to say what they hold.
const LOOK: Duration = Duration::from_secs(20);

/// The interface cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum DbusError {
    /// The socket.
    #[error("cannot listen on {path}", path = paths::INIT_SOCKET)]
    Listen(#[source] io::Error),
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Starts serving the interface.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(node: &Arc<Node>) -> Result<(), DbusError> {
    let path = Path::new(paths::INIT_SOCKET);
    // A left-over of an init that was started again.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(DbusError::Listen)?;
    files::set_access(
        path,
        Access {
            uid: 0,
            gid: paths::GROUP_AXION,
            mode: 0o660,
        },
    )?;
    tokio::spawn(accept(listener, node.clone()));
    Ok(())
}

async fn accept(listener: UnixListener, node: Arc<Node>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = node.clone();
                tokio::spawn(async move {
                    if let Err(e) = serve_peer(stream, &node).await {
                        node.log.warning(&format!("D-Bus peer: {}", chain(&e)));
                    }
                });
            }
            // No file descriptor is free; the next peer may find one.
            Err(e) => {
                node.log.warning(&format!("D-Bus: cannot accept a peer: {e}"));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// Whether a process of this user may call.
fn may_call(uid: u32) -> bool {
    [0, paths::UID_AGENT, paths::UID_CONSOLE].contains(&uid)
}

async fn serve_peer(stream: UnixStream, node: &Arc<Node>) -> zbus::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if !may_call(uid) {
        node.log
            .warning(&format!("D-Bus: a process of user {uid} was turned away"));
        return Ok(());
    }
    let connection = zbus::connection::Builder::unix_stream(stream.into_std()?)
        .server(zbus::Guid::generate())
        .p2p()
        .serve_at(
            PATH,
            Init1 {
                node: node.clone(),
                uid,
            },
        )
        .build()
        .await?;
    let emitter = SignalEmitter::new(&connection, PATH)?;
    let mut signals = node.signals.subscribe();
    loop {
        let signal = tokio::select! {
            signal = signals.recv() => signal,
            () = connection.closed() => return Ok(()),
        };
        let sent = match signal {
            Ok(Signal::Unit(Change::Unit(unit))) => Init1::unit_changed(&emitter, *unit).await,
            Ok(Signal::Unit(Change::Removed(name))) => Init1::unit_removed(&emitter, name).await,
            Ok(Signal::Phase(phase)) => Init1::phase_finished(&emitter, *phase).await,
            Ok(Signal::Notice(about, text)) => Init1::noticed(&emitter, about, text).await,
            // Events hold nothing that JSON cannot.
            Ok(Signal::Pool(event)) => {
                let event = serde_json::to_string(&event).unwrap_or_default();
                Init1::pool_changed(&emitter, event).await
            }
            // It reads too slowly and has lost some; the calls tell it the rest.
            Err(RecvError::Lagged(_)) => Ok(()),
            Err(RecvError::Closed) => return Ok(()),
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

struct Init1 {
    node: Arc<Node>,
    /// Who calls, by the kernel's word.
    uid: u32,
}

fn refused(error: &UnitError) -> fdo::Error {
    let text = chain(error);
    match error {
        UnitError::Unknown(_) => fdo::Error::UnknownObject(text),
        UnitError::Exists(_) => fdo::Error::FileExists(text),
        UnitError::NotDown(_)
        | UnitError::NotTransient(_)
        | UnitError::RunDirectory { .. }
        | UnitError::VolumeTaken { .. }
        | UnitError::Volume { .. }
        | UnitError::Tap { .. }
        | UnitError::ShuttingDown => fdo::Error::Failed(text),
    }
}

fn not_switched(error: &SwitchError) -> fdo::Error {
    let text = chain(error);
    if error.is_refusal() {
        fdo::Error::InvalidArgs(text)
    } else {
        fdo::Error::Failed(text)
    }
}

fn not_proved(error: &ProofError) -> fdo::Error {
    let text = chain(error);
    if error.is_refusal() {
        fdo::Error::InvalidArgs(text)
    } else if matches!(error, ProofError::Running) {
        fdo::Error::FileExists(text)
    } else {
        fdo::Error::Failed(text)
    }
}

fn not_applied(error: &ApplyError) -> fdo::Error {
    let text = chain(error);
    match error {
        ApplyError::Running => fdo::Error::FileExists(text),
        ApplyError::Booting | ApplyError::NoPlan | ApplyError::Thread(_) => fdo::Error::Failed(text),
    }
}

#[zbus::interface(name = "org.axion.Init1")]
impl Init1 {
    async fn list_units(&self) -> Vec<UnitStatus> {
        self.node.units.list().await
    }

    async fn get_unit(&self, name: &str) -> fdo::Result<UnitStatus> {
        self.node.units.get(name).await.map_err(|e| refused(&e))
    }

    async fn start_unit(&self, name: &str) -> fdo::Result<()> {
        self.node.units.start_unit(name).await.map_err(|e| refused(&e))
    }

    async fn stop_unit(&self, name: &str) -> fdo::Result<()> {
        self.node.units.stop(name).await.map_err(|e| refused(&e))
    }

    async fn kill_unit(&self, name: &str) -> fdo::Result<()> {
        self.node.units.kill(name).await.map_err(|e| refused(&e))
    }

    async fn restart_unit(&self, name: &str) -> fdo::Result<()> {
        self.node.units.restart(name).await.map_err(|e| refused(&e))
    }

    async fn start_transient_unit(&self, unit: TransientUnit) -> fdo::Result<UnitStatus> {
        let spec = Spec::transient(unit).map_err(|e| fdo::Error::InvalidArgs(e.to_string()))?;
        self.node.units.add(spec).await.map_err(|e| refused(&e))
    }

    async fn remove_unit(&self, name: &str) -> fdo::Result<()> {
        self.node.units.remove(name).await.map_err(|e| refused(&e))
    }

    async fn ensure_bridge(&self, bridge: Bridge) -> fdo::Result<()> {
        let name = bridge.name.clone();
        self.node
            .switch
            .ensure_bridge(bridge)
            .await
            .map_err(|e| not_switched(&e))?;
        self.node
            .log
            .info(&format!("bridge {name} is as it was asked for"));
        Ok(())
    }

    async fn remove_bridge(&self, name: String) -> fdo::Result<()> {
        let removed = self.node.switch.remove_bridge(name).await;
        removed.map_err(|e| not_switched(&e))
    }

    async fn storage(&self, call: &str) -> String {
        storage::serve(&self.node, call).await
    }

    async fn keys(&self, call: &str) -> String {
        keys::serve(&self.node, call).await
    }

    async fn install(&self, call: &str) -> String {
        install::serve(&self.node, self.uid, call).await
    }

    async fn update(&self, call: &str) -> String {
        slot::serve(&self.node, call).await
    }

    async fn machine_config(&self, call: &str) -> String {
        config::serve(&self.node, self.uid, call).await
    }

    async fn stage_update(&self, image: OwnedFd, staging: &str) -> String {
        slot::stage(&self.node, image.into(), staging).await
    }

    async fn recovery(&self, call: &str) -> String {
        recovery::serve(&self.node, call).await
    }

    async fn save_to_stick(&self, device: String, name: String, content: OwnedFd) -> String {
        recovery::save(self.uid, device, name, content.into()).await
    }

    async fn open_rescue_shell(&self, line: &str) -> String {
        recovery::answer(rescue::open(&self.node, self.uid, line).await)
    }

    fn begin_stream(&self, stream: &str) -> fdo::Result<(u64, OwnedFd)> {
        let (number, end) = streams::begin(&self.node, stream)
            .map_err(|error| fdo::Error::Failed(format!("cannot begin a stream: {error}")))?;
        Ok((number, end.into()))
    }

    async fn end_stream(&self, number: u64) -> String {
        streams::end(&self.node, number).await
    }

    async fn open_volume(&self, pool: String, name: String) -> fdo::Result<OwnedFd> {
        let failed = |error: &dyn std::error::Error| fdo::Error::Failed(chain(error));
        let opened = tokio::task::spawn_blocking(move || device(&pool, &name, true)).await;
        let (_, file) = opened.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        Ok(std::os::fd::OwnedFd::from(file).into())
    }

    fn boot_status(&self) -> BootStatus {
        lock(&self.node.boot).clone()
    }

    fn node_status(&self) -> NodeStatus {
        let network = self.node.network.borrow().links();
        NodeStatus {
            network,
            ..lock(&self.node.status).clone()
        }
    }

    fn logs(&self, after: u64, limit: u32) -> Vec<LogEntry> {
        self.node
            .log
            .after(after, usize::try_from(limit).unwrap_or(MAX_LINES).min(MAX_LINES))
    }

    async fn apply_profile(&self) -> fdo::Result<String> {
        let applied = stage2::apply_profile(&self.node).await;
        let applied = applied.map_err(|e| not_applied(&e))?;
        serde_json::to_string(&applied).map_err(|e| fdo::Error::Failed(e.to_string()))
    }

    async fn start_proof(&self, seconds: u32) -> fdo::Result<()> {
        let node = self.node.clone();
        proof::start(&node, seconds).map_err(|e| not_proved(&e))
    }

    fn proof_status(&self) -> ProofStatus {
        lock(&self.node.proof).clone()
    }

    async fn virtual_functions(&self) -> String {
        // It holds nothing that JSON cannot.
        serde_json::to_string(&stage2::virtual_functions(&self.node).await).unwrap_or_default()
    }

    async fn host_uses(&self) -> fdo::Result<String> {
        let node = self.node.clone();
        // A disk that does not answer holds up whoever asked, and nobody else.
        let looking = storage::on_thread(move || stage2::host_uses(&node, &Topology::read(Path::new("/"))));
        let found = tokio::time::timeout(LOOK, looking).await;
        let uses = match found {
            Ok(Ok(uses)) => uses,
            Ok(Err(error)) => return Err(fdo::Error::Failed(error.to_string())),
            Err(_) => return Err(fdo::Error::Failed("a disk does not answer".to_owned())),
        };
        // It holds nothing that JSON cannot.
        Ok(serde_json::to_string(&uses).unwrap_or_default())
    }

    fn reboot(&self) {
        let _ = self.node.power.send(Verb::Reboot);
    }

    fn power_off(&self) {
        let _ = self.node.power.send(Verb::PowerOff);
    }

    #[zbus(signal)]
    async fn unit_changed(emitter: &SignalEmitter<'_>, unit: UnitStatus) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn unit_removed(emitter: &SignalEmitter<'_>, name: String) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn noticed(emitter: &SignalEmitter<'_>, about: NoticeKind, text: String) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn phase_finished(emitter: &SignalEmitter<'_>, phase: Phase) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn pool_changed(emitter: &SignalEmitter<'_>, event: String) -> zbus::Result<()>;
}

#[cfg(test)]
mod tests;

//! What the routes share, and where on the node it is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axion_api::problem::Problem;
use axion_api::profile::HostProfile;
use axion_core::config::{Effective, resolve};
use axion_core::paths;
use axion_core::profile::FunctionSettings;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::audit::refused::Refused;
use crate::auth::limit::Limiter;
use crate::auth::{TokenError, Tokens};
use crate::drift::Drift;
use crate::events::Events;
use crate::files::{FileError, ensure_directory};
use crate::host::Inventory;
use crate::images::Images;
use crate::init::{Init, answer};
use crate::netboot::Watched;
use crate::networks::Networks;
use crate::store::{RedbStore, Store, StoreError};
use crate::vm::{Parts, Vms};
use crate::volumes::Volumes;

/// Where the agent's parts are kept.
#[derive(Debug, Clone)]
pub struct Places {
    /// Persistent state.
    pub state: PathBuf,
    /// Volatile files.
    pub run: PathBuf,
    /// Uploaded images.
    pub images: PathBuf,
    /// Volumes.
    pub volumes: PathBuf,
    /// What init prepares for the boot server.
    pub netboot: PathBuf,
    /// Configs of machines that boot from this node.
    pub netboot_configs: PathBuf,
    /// The kernel's view of interfaces.
    pub interfaces: PathBuf,
    /// The first token, for the console.
    pub first_token: PathBuf,
    /// Run directories of VMs.
    pub vms_run: PathBuf,
    /// Where `/sys`, `/proc` and `/run/axion/profile.json` are.
    pub root: PathBuf,
    /// Init's socket.
    pub init_socket: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            state: paths::AGENT_STATE.into(),
            run: paths::AGENT_RUN.into(),
            images: paths::IMAGES.into(),
            volumes: paths::VOLUMES.into(),
            netboot: paths::NETBOOT_RUN.into(),
            netboot_configs: paths::NETBOOT_CONFIGS.into(),
            interfaces: "/sys/class/net".into(),
            first_token: paths::FIRST_TOKEN.into(),
            vms_run: paths::VMS_RUN.into(),
            root: "/".into(),
            init_socket: paths::INIT_SOCKET.into(),
        }
    }
}

/// Why the agent cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What the routes share.
pub struct App {
    /// The machine config in force.
    pub config: Effective,
    /// Fingerprint of the node's CA.
    pub fingerprint: String,
    /// Desired state.
    pub store: Arc<dyn Store>,
    /// The line to PID 1.
    pub init: Arc<Init>,
    /// What changed.
    pub events: Arc<Events>,
    /// Uploaded images.
    pub images: Arc<Images>,
    /// Disks of VMs.
    pub volumes: Arc<Volumes>,
    /// Booting other machines.
    pub netboot: Arc<Watched>,
    /// What connects VMs.
    pub networks: Arc<Networks>,
    /// What the node is.
    pub inventory: Arc<Inventory>,
    /// Whether it is as its boot profile says.
    pub drift: Drift,
    /// Virtual machines.
    pub vms: Arc<Vms>,
    /// Held by the update that is being staged.
    pub staging: Semaphore,
    /// Accepted tokens.
    pub tokens: Tokens,
    /// Failed attempts to guess one.
    pub limiter: Limiter,
    /// Who changed what.
    pub audit: Audit,
    /// Whose refusals stand for others in it.
    pub refused: Refused,
    /// Cancelled when the agent ends.
    pub closing: CancellationToken,
    /// Connections.
    pub tasks: TaskTracker,
}

impl App {
    /// The boot profile of this boot, and whether the node is so. What virtual functions have is init's to know; without its word
    /// nothing is said of it.
    pub async fn profile(&self) -> Result<HostProfile, Problem> {
        let mut functions = FunctionSettings::default();
        if !self.config.config.profile.sriov.is_empty()
            && let Ok(proxy) = self.init.proxy()
            && let Ok(told) = answer(proxy.virtual_functions()).await
        {
            functions = serde_json::from_str(&told).unwrap_or_default();
        }
        self.inventory.profile(&self.config, functions).await
    }

    /// Opens what is kept at `places`.
    pub fn open(places: &Places, config: Effective, fingerprint: String) -> Result<Self, SetupError> {
        ensure_directory(&places.run, 0o2770)?;
        ensure_directory(&places.state, 0o700)?;
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&places.state.join("store.redb"))?);
        let events = Arc::new(Events::new());
        let init = Arc::new(Init::new(places.init_socket.clone(), events.clone()));
        let images = Arc::new(Images::open(places.images.clone())?);
        let inventory = Arc::new(Inventory::new(places.root.clone()));
        let volumes = Volumes::open(
            store.clone(),
            images.clone(),
            init.clone(),
            places.volumes.clone(),
        )?;
        let volumes = Arc::new(volumes);
        let networks = Networks::new(store.clone(), init.clone(), places.interfaces.clone());
        let networks = Arc::new(networks);
        let vms = Vms::new(Parts {
            store: store.clone(),
            init: init.clone(),
            images: images.clone(),
            volumes: volumes.clone(),
            networks: networks.clone(),
            events: events.clone(),
            inventory: inventory.clone(),
            vms_run: places.vms_run.clone(),
        });
        let tokens = Tokens::load(
            &config.config.api.token_hashes,
            &places.state,
            &places.first_token,
        )?;
        let netboot = Arc::new(Watched::new(
            config.config.netboot.clone(),
            places.netboot.clone(),
            places.netboot_configs.clone(),
            events.clone(),
        ));
        Ok(Self {
            config,
            fingerprint,
            store,
            init,
            events,
            images,
            volumes,
            netboot,
            networks,
            inventory,
            drift: Drift::default(),
            vms: Arc::new(vms),
            staging: Semaphore::new(1),
            tokens,
            limiter: Limiter::default(),
            audit: Audit::open(&places.state.join("audit.log"))?,
            refused: Refused::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }
}

/// The machine config that init resolved. Without one the agent goes on with the defaults: a node that cannot be reached
/// cannot be mended.
pub fn read_config(path: &Path) -> Effective {
    let text = std::fs::read(path).map_err(|error| error.to_string());
    match text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())) {
        Ok(effective) => effective,
        Err(error) => {
            tracing::error!("cannot read {}, going on with defaults: {error}", path.display());
            resolve(&[])
        }
    }
}

//! What the node is: hardware, memory, addresses, identity of this boot.
//!
//! Reading the topology takes thousands of small files, so it is kept for a moment; what is asked for before a VM is
//! started is read anew.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axion_api::capacity::Capacity;
use axion_api::host::{Device, Host, Memory};
use axion_api::init::NodeStatus;
use axion_api::problem::{Kind, Problem};
use axion_api::profile::{HostProfile, ProfilePreview};
use axion_api::recovery::{Crash, CrashSummary};
use axion_core::cmdline::CommandLine;
use axion_core::config::Effective;
use axion_core::paths;
use axion_core::placement::{Division, Supply, cache_limit};
use axion_core::profile::{self, Declaration, FunctionSettings, Resolved, attest, attest_with};
use axion_core::proof::Proof;
use axion_core::secure_boot::SecureBoot;
use axion_core::topology::Topology;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use sysinfo::{MemoryRefreshKind, System};

use crate::drift::Checked;
use crate::keys;
use crate::metrics::{Cache, Node};

/// How long a topology is good for clients.
const FRESH: Duration = Duration::from_secs(5);

/// Reads and keeps what the node is.
pub struct Inventory {
    root: PathBuf,
    topology: Mutex<Option<(Instant, Arc<Topology>)>>,
    system: Mutex<Option<System>>,
}

impl Inventory {
    /// The node whose `/sys` and `/proc` are below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            topology: Mutex::default(),
            system: Mutex::new(System::new().ok()),
        }
    }

    /// Where `/sys` and `/proc` are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The hardware, as it was a moment ago.
    pub async fn hardware(&self) -> Arc<Topology> {
        self.topology(FRESH).await
    }

    async fn topology(&self, max_age: Duration) -> Arc<Topology> {
        let kept = self
            .topology
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((read, topology)) = kept
            && read.elapsed() < max_age
        {
            return topology;
        }
        let root = self.root.clone();
        let read = tokio::task::spawn_blocking(move || Topology::read(&root)).await;
        let topology = Arc::new(read.unwrap_or_default());
        *self.topology.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), topology.clone()));
        topology
    }

    /// What `ask` reads from the kernel's counters; nothing where they cannot be had.
    fn counters<T: Default>(&self, ask: impl FnOnce(&mut System) -> T) -> T {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        system.as_mut().map(ask).unwrap_or_default()
    }

    fn memory(&self) -> Memory {
        self.counters(|system| {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            Memory {
                total: system.total_memory(),
                available: system.available_memory(),
            }
        })
    }

    fn cpu_usage(&self) -> f32 {
        self.counters(|system| {
            system.refresh_cpu_usage();
            (system.global_cpu_usage() / 100.0).clamp(0.0, 1.0)
        })
    }

    /// What the node has for VMs.
    pub async fn supply(&self) -> Result<Supply, Problem> {
        self.supply_of(self.topology(FRESH).await).await
    }

    /// The same, read anew.
    pub async fn supply_now(&self) -> Result<Supply, Problem> {
        self.supply_of(self.topology(Duration::ZERO).await).await
    }

    async fn supply_of(&self, topology: Arc<Topology>) -> Result<Supply, Problem> {
        let root = self.root.clone();
        apart(move || {
            let resolved = in_force(&root);
            let division = Division::of(&topology, resolved.as_ref().map(|resolved| &resolved.plan));
            Supply::new(&topology, &division).with_cache(cache_limit(&root))
        })
        .await
    }

    /// Memory that a new process could get now, bytes.
    pub fn available(&self) -> u64 {
        self.memory().available
    }

    /// The boot profile of this boot: as init resolved it, or else as this node's config says now.
    /// `functions` are what init knows of virtual ones.
    pub async fn profile(
        &self,
        config: &Effective,
        functions: FunctionSettings,
    ) -> Result<HostProfile, Problem> {
        let (root, declaration) = (self.root.clone(), Declaration::of_effective(config));
        apart(move || {
            let resolved = in_force(&root)
                .unwrap_or_else(|| Resolved::of(&Topology::read(&root), &declaration, &command_line(&root)));
            let mut attestation = attest_with(&root, &resolved.plan, &functions);
            let tpm = keys::attested(&root, &resolved);
            attestation.state = attestation.state.max(tpm.state);
            attestation.items.push(tpm);
            if let Some(item) = SecureBoot::read(&root).attested() {
                attestation.state = attestation.state.max(item.state);
                attestation.items.push(item);
            }
            HostProfile {
                standing: resolved.standing,
                attestation,
                plan: resolved.plan,
                refusals: resolved.refusals,
            }
        })
        .await
    }

    /// What `declaration` would bring.
    pub async fn plan(&self, declaration: Declaration) -> Result<ProfilePreview, Problem> {
        let topology = self.topology(Duration::ZERO).await;
        let root = self.root.clone();
        let preview = apart(move || {
            let plan = profile::plan(&topology, &declaration)?;
            let attestation = attest(&root, &plan);
            Ok(ProfilePreview::new(plan, attestation, &command_line(&root)))
        });
        preview.await?.map_err(Problem::refused)
    }

    /// PCI functions.
    pub async fn devices(&self) -> Vec<Device> {
        Device::all(&*self.topology(FRESH).await)
    }

    /// The last isolation proof and the one before it.
    pub async fn proofs(&self) -> Result<(Option<Proof>, Option<Proof>), Problem> {
        let root = self.root.clone();
        apart(move || {
            let read = |path: &str| {
                let text = fs::read(root.join(path.trim_start_matches('/'))).ok()?;
                serde_json::from_slice(&text).ok()
            };
            (read(paths::PROOF), read(paths::PREVIOUS_PROOF))
        })
        .await
    }

    /// How the kernel before this one ended, as init found it.
    fn last_crash(&self) -> Option<CrashSummary> {
        let stored = fs::read(self.root.join(paths::LAST_CRASH.trim_start_matches('/'))).ok()?;
        let crash: Crash = serde_json::from_slice(&stored).ok()?;
        Some(crash.summary)
    }

    /// What is counted of the node.
    pub async fn with_metrics<T>(
        &self,
        capacity: &Capacity,
        profile: Option<&Checked>,
        tell: impl FnOnce(&Node<'_>) -> T,
    ) -> T {
        let topology = self.topology(FRESH).await;
        let proof = self.proofs().await.ok().and_then(|(last, _)| last);
        tell(&Node {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: System::uptime().unwrap_or_default(),
            memory: self.memory(),
            topology: &topology,
            capacity,
            proof: proof.as_ref(),
            profile,
            cache: Cache::read(&self.root),
        })
    }

    /// The node for clients.
    pub async fn host(&self, node: NodeStatus, ca_fingerprint: String) -> Host {
        let topology = self.topology(FRESH).await;
        let line = |path: &str| {
            fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        Host {
            hostname: node.hostname,
            machine_id: node.machine_id,
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: line("/proc/sys/kernel/osrelease"),
            uptime_seconds: System::uptime().unwrap_or_default(),
            persistent_state: node.persistent_state,
            state_lock: node.state_lock,
            secure_boot: SecureBoot::read(&self.root),
            time_synchronized: node.time_synchronized,
            addresses: addresses()
                .into_iter()
                .map(|(ip, prefix)| format!("{ip}/{prefix}"))
                .collect(),
            ca_fingerprint,
            memory: self.memory(),
            cpu_usage: self.cpu_usage(),
            last_crash: self.last_crash(),
            missing_firmware: node.missing_firmware,
            topology: Topology::clone(&topology),
        }
    }
}

/// Reads many small files off the event loop.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let read = tokio::task::spawn_blocking(work).await;
    read.map_err(|error| {
        Problem::new(
            Kind::Internal,
            format!("reading the node came to no end: {error}"),
        )
    })
}

/// The boot profile of this boot, as init resolved it.
fn in_force(root: &Path) -> Option<Resolved> {
    let stored = fs::read(root.join(paths::PROFILE.trim_start_matches('/'))).ok()?;
    serde_json::from_slice(&stored).ok()
}

fn command_line(root: &Path) -> CommandLine {
    CommandLine::parse(&fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default())
}

/// Addresses of the host with their prefix length, loopback and link-local ones left out.
pub fn addresses() -> Vec<(IpAddr, u8)> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let up = interfaces.filter(|i| !i.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    let mut addresses: Vec<(IpAddr, u8)> = up
        .filter_map(|interface| {
            let (address, mask) = (interface.address?, interface.netmask?);
            let (ip, prefix) = match (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
                (Some(address), Some(mask)) => (IpAddr::V4(address.ip()), mask.ip().to_bits().count_ones()),
                _ => {
                    let (address, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
                    (IpAddr::V6(address.ip()), mask.ip().to_bits().count_ones())
                }
            };
            Some((ip, u8::try_from(prefix).ok()?))
        })
        .filter(|(ip, _)| match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        })
        .collect();
    addresses.sort_unstable();
    addresses
}

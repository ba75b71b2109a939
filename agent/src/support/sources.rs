//! What a support bundle is made of. The first come first where there is no room for all.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use axion_api::init::LogEntry;
use axion_api::keys;
use axion_api::problem::{Kind, Problem};
use axion_api::recovery::{Answer as Told, Call, Manifest};
use axion_api::storage;
use axion_core::paths;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::app::App;
use crate::init::answer;
use crate::log::chain;
use crate::processes;
use crate::recovery;
use crate::routes;
use crate::storage::{ask, unexpected};

/// Lines of the node's log: as many as init gives at once, which is all that it keeps.
const LINES: u32 = 4096;
/// Bytes of the audit log.
const AUDIT: u64 = 1 << 20;
/// Bytes of a file of the kernel's.
const LARGEST_FILE: u64 = 2 << 20;
const SBOM: &str = "usr/share/axion/sbom.spdx.json";

/// What a part has.
pub enum Content {
    /// Only its end may be kept.
    Text(String),
    /// All or nothing.
    Json(Value),
}

/// What reads a part.
type Reading = Pin<Box<dyn Future<Output = Result<Content, String>> + Send>>;

/// A part to be.
pub struct Source {
    /// File in the archive.
    pub file: String,
    /// What it is, for people.
    pub what: &'static str,
    /// What reads it.
    pub reading: Reading,
}

/// Files of the kernel's that help, below `/`.
const FILES: [&str; 34] = [
    "proc/cmdline",
    "proc/meminfo",
    "proc/interrupts",
    "proc/mounts",
    "proc/loadavg",
    "proc/vmstat",
    "proc/zoneinfo",
    "proc/buddyinfo",
    "proc/softirqs",
    "proc/modules",
    "proc/cpuinfo",
    "proc/iomem",
    "proc/swaps",
    "proc/partitions",
    "proc/diskstats",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/pressure/io",
    "proc/sys/kernel/tainted",
    "proc/net/dev",
    "proc/net/route",
    "proc/net/arp",
    "proc/net/sockstat",
    "proc/spl/kstat/zfs/arcstats",
    "proc/spl/kstat/zfs/dbgmsg",
    "sys/class/dmi/id/sys_vendor",
    "sys/class/dmi/id/product_name",
    "sys/class/dmi/id/board_name",
    "sys/class/dmi/id/bios_vendor",
    "sys/class/dmi/id/bios_version",
    "sys/class/dmi/id/bios_date",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/nohz_full",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
];
/// Directories whose files are one part: name and content a line.
const DIRECTORIES: [&str; 1] = ["sys/devices/system/cpu/vulnerabilities"];

fn json<T: Serialize>(value: Result<T, Problem>) -> Result<Content, String> {
    let value = value.map_err(|problem| problem.detail)?;
    serde_json::to_value(value)
        .map(Content::Json)
        .map_err(|error| error.to_string())
}

/// Reads a file on a thread.
async fn file(path: PathBuf) -> Result<Content, String> {
    let read = move || -> Result<Content, String> {
        let cannot = |error| format!("cannot read {}: {error}", path.display());
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(cannot)?;
        file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(cannot)?;
        Ok(Content::Text(String::from_utf8_lossy(&bytes).into_owned()))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(error.to_string()))
}

async fn directory(path: PathBuf) -> Result<Content, String> {
    let read = move || -> Result<Content, String> {
        let cannot = |error| format!("cannot read {}: {error}", path.display());
        let entries = fs::read_dir(&path).map_err(cannot)?;
        let line = |entry: fs::DirEntry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            Some(format!("{}: {}\n", entry.file_name().display(), text.trim()))
        };
        let mut lines: Vec<String> = entries.flatten().filter_map(line).collect();
        lines.sort_unstable();
        Ok(Content::Text(lines.concat()))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(error.to_string()))
}

/// `2026-11-23T07:08:09.012345Z`.
fn time_of(unix_us: u64) -> String {
    let seconds = i64::try_from(unix_us / 1_000_000).unwrap_or_default();
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        unix_us % 1_000_000
    )
}

fn lines(entries: &[LogEntry]) -> String {
    const SEVERITIES: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    let mut text = String::new();
    for entry in entries {
        let severity = SEVERITIES.get(usize::from(entry.severity)).unwrap_or(&"?");
        let at = time_of(entry.unix_us);
        let _ = writeln!(text, "{at} {severity} {}: {}", entry.source, entry.message);
    }
    text
}

/// What the bundle is of; what init does not say is empty.
pub async fn identity(app: &App) -> Manifest {
    let status = match app.init.proxy() {
        Ok(proxy) => answer(proxy.node_status()).await.unwrap_or_default(),
        Err(_) => Default::default(),
    };
    let boot_id = app.inventory.root().join("proc/sys/kernel/random/boot_id");
    Manifest {
        format: 0,
        created_unix_s: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: status.hostname,
        machine_id: status.machine_id,
        boot_id: fs::read_to_string(boot_id).unwrap_or_default().trim().to_owned(),
        parts: Vec::new(),
    }
}

/// Version of the image, and which list of its contents belongs to it.
fn version(root: &Path) -> Value {
    let line = |path: &str| {
        fs::read_to_string(root.join(path))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let sbom = fs::read(root.join(SBOM)).map(|text| {
        let document: Value = serde_json::from_slice(&text).unwrap_or_default();
        json!({
            "namespace": document.get("documentNamespace"),
            "packages": document.get("packages").and_then(Value::as_array).map(Vec::len),
            "sha256": hex::encode(Sha256::digest(&text)),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": line("proc/sys/kernel/osrelease"),
        "kernel_build": line("proc/version"),
        "sbom": sbom.ok(),
    })
}

/// The node without its topology, which is a part of its own.
async fn host(app: &App) -> Result<Value, Problem> {
    let status = answer(app.init.proxy()?.node_status()).await?;
    let (network, time) = (status.network.clone(), status.time_detail.clone());
    let watchdog = status.watchdog_seconds;
    let host = app.inventory.host(status, app.fingerprint.clone()).await;
    let mut host = serde_json::to_value(host).unwrap_or_default();
    if let Some(fields) = host.as_object_mut() {
        fields.remove("topology");
        fields.insert("network".to_owned(), json!(network));
        fields.insert("time_detail".to_owned(), json!(time));
        fields.insert("watchdog_seconds".to_owned(), json!(watchdog));
    }
    Ok(host)
}

/// What ZFS says to a question. A question about disks would load it where nobody has needed it yet.
async fn of_storage(app: &App, call: storage::Call) -> Result<Value, Problem> {
    if call != storage::Call::Pools && !app.inventory.root().join("sys/module/zfs").exists() {
        let detail = "ZFS is not loaded: no pool is declared, and no disk has one";
        return Err(Problem::new(Kind::Unavailable, detail));
    }
    let told = serde_json::to_value(ask(&app.init, &call).await?).unwrap_or_default();
    Ok(told.get("value").cloned().unwrap_or_default())
}

async fn tpm(app: &App) -> Result<keys::HostTpm, Problem> {
    match crate::keys::ask(app, &keys::Call::Tpm).await? {
        keys::Answer::Tpm(tpm) => Ok(*tpm),
        _ => Err(unexpected()),
    }
}

async fn kernel_log(app: &App) -> Result<Content, String> {
    match recovery::ask(&app.init, &Call::KernelLog).await {
        Ok(Told::Text(text)) => Ok(Content::Text(text)),
        Ok(_) => Err(unexpected().detail),
        Err(problem) => Err(problem.detail),
    }
}

async fn crash(app: &App) -> Result<Content, String> {
    let root = app.inventory.root();
    let stored = fs::read(root.join(paths::LAST_CRASH.trim_start_matches('/')));
    let stored =
        stored.map_err(|_| "no kernel before this one is known to have ended unexpectedly".to_owned())?;
    let value = serde_json::from_slice(&stored).map_err(|error| error.to_string())?;
    Ok(Content::Json(value))
}

async fn counters(app: &App) -> Result<Content, String> {
    let text = routes::metrics::text(app).await;
    text.map(Content::Text).map_err(|problem| problem.detail)
}

fn listed<T, E: std::error::Error>(list: Result<T, E>) -> Result<T, Problem> {
    list.map_err(|error| Problem::new(Kind::Internal, chain(&error)))
}

/// Every part.
pub fn all(app: &Arc<App>) -> Vec<Source> {
    let mut sources = Vec::new();
    // The body sees the app as `$app`.
    macro_rules! part {
        ($file:literal, $what:literal, |$app:ident| $body:expr) => {{
            let $app = app.clone();
            let reading: Reading = Box::pin(async move { $body });
            sources.push(Source {
                file: $file.to_owned(),
                what: $what,
                reading,
            });
        }};
    }
    part!("version.json", "image, kernel, list of contents", |app| {
        json(Ok(version(app.inventory.root())))
    });
    part!("host.json", "what the node is", |app| json(host(&app).await));
    part!("boot.json", "how it booted", |app| {
        let asked = async { Ok(answer(app.init.proxy()?.boot_status()).await?) };
        json(asked.await)
    });
    part!("log.txt", "the node's log: kernel, init, services", |app| {
        let asked = async { Ok(answer(app.init.proxy()?.logs(0, LINES)).await?) };
        let entries: Result<Vec<LogEntry>, Problem> = asked.await;
        entries
            .map(|entries| Content::Text(lines(&entries)))
            .map_err(|problem| problem.detail)
    });
    part!("kernel.txt", "the kernel's own log", |app| kernel_log(&app).await);
    part!("crash.json", "how the kernel before this one ended", |app| {
        crash(&app).await
    });
    part!("config.json", "machine config in force, and its sources", |app| {
        json(Ok(routes::host::config_of(&app.config)))
    });
    part!("profile.json", "boot profile: plan and attestation", |app| {
        json(app.profile().await)
    });
    part!("proof.json", "the last isolation proofs", |app| {
        json(app.inventory.proofs().await)
    });
    part!("units.json", "services and VMs of init", |app| {
        let units = app.init.units().map_err(Problem::from);
        json(units.map(|units| units.values().map(|unit| unit.status.clone()).collect::<Vec<_>>()))
    });
    part!("audit.jsonl", "end of the audit log", |app| {
        let tail = app.audit.tail(AUDIT).await;
        tail.map(Content::Text).map_err(|error| error.to_string())
    });
    part!("events.json", "what changed since the agent started", |app| {
        json(Ok(app.events.kept()))
    });
    part!("topology.json", "CPUs, memory, disks, interfaces", |app| {
        json(Ok((*app.inventory.hardware().await).clone()))
    });
    part!("devices.json", "PCI functions", |app| {
        json(Ok(app.inventory.devices().await))
    });
    part!("capacity.json", "what is there for VMs, and who has it", |app| {
        json(app.vms.capacity().await)
    });
    part!("vms.json", "VMs, without what cloud-init is told", |app| {
        json(app.vms.list().await)
    });
    part!("netboot.json", "booting other machines", |app| {
        json(app.netboot.status().await.map_err(Problem::from))
    });
    part!("pools.json", "zpool status", |app| {
        json(of_storage(&app, storage::Call::Pools).await)
    });
    part!("disks.json", "disks and what is on them", |app| {
        json(of_storage(&app, storage::Call::Disks).await)
    });
    part!("pools-found.json", "pools that are not imported", |app| {
        json(of_storage(&app, storage::Call::FoundPools).await)
    });
    part!("datasets.json", "file systems and zvols", |app| {
        json(of_storage(&app, storage::Call::Datasets { under: None }).await)
    });
    part!("volumes.json", "disks of VMs", |app| {
        let asked = async {
            let uses = app.vms.uses().await?;
            listed(app.volumes.list(|name| uses.volume(name)).await)
        };
        json(asked.await)
    });
    part!("networks.json", "networks of VMs", |app| {
        let asked = async {
            let uses = app.vms.uses().await?;
            listed(app.networks.list(|name| uses.network(name)).await)
        };
        json(asked.await)
    });
    part!("images.json", "uploaded images", |app| {
        json(listed(app.images.list().await))
    });
    part!("slots.json", "update slots of an installed node", |app| {
        match recovery::ask(&app.init, &Call::Slots).await {
            Ok(Told::Slots(slots)) => json(Ok(slots)),
            Ok(_) => Err(unexpected().detail),
            Err(problem) => Err(problem.detail),
        }
    });
    part!("tpm.json", "TPM: registers, what was measured", |app| {
        json(tpm(&app).await)
    });
    part!("processes.json", "what runs in user space", |app| {
        let proc = app.inventory.root().join("proc");
        let read = tokio::task::spawn_blocking(move || processes::read(&proc, false)).await;
        json(Ok(read.unwrap_or_default()))
    });
    part!("metrics.txt", "counters", |app| counters(&app).await);
    let root = app.inventory.root();
    let of_kernel = |path: &&'static str, reading: Reading| Source {
        file: (*path).to_owned(),
        what: "from the kernel",
        reading,
    };
    let files = FILES
        .iter()
        .map(|path| of_kernel(path, Box::pin(file(root.join(path)))));
    let directories = DIRECTORIES
        .iter()
        .map(|path| of_kernel(path, Box::pin(directory(root.join(path)))));
    sources.extend(files.chain(directories));
    sources
}

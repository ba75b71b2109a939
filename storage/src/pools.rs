//! What `zpool status` and `zpool list` say, and what is done to pools.

use axion_api::storage::{
    DeviceAction, DeviceRequest, Health, Pool, Scan, ScanKind, ScanState, ScrubAction, Vdev, VdevClass,
};
use axion_core::topology::Disk;
use serde_json::Value;

use crate::error::StorageError;
use crate::json::{member, members, number, property, text};
use crate::storage::Storage;
use crate::table::disk_of;
use crate::{names, zvol};

/// Arguments of `zpool` that ask for the tree of every pool.
const STATUS: [&str; 4] = ["status", "-j", "--json-int", "-p"];
/// Arguments that ask for the properties of every pool.
const LIST: [&str; 6] = [
    "list",
    "-j",
    "--json-int",
    "-p",
    "-o",
    "name,size,allocated,free,fragmentation,ashift,autotrim,readonly",
];
/// Groups of a pool's vdevs that are not data, as `zpool status` calls them.
const CLASSES: [(&str, VdevClass); 6] = [
    ("vdevs", VdevClass::Data),
    ("dedup", VdevClass::Dedup),
    ("special", VdevClass::Special),
    ("logs", VdevClass::Log),
    ("l2cache", VdevClass::Cache),
    ("spares", VdevClass::Spare),
];

fn health(state: &Value) -> Health {
    match state.as_str().unwrap_or_default() {
        "ONLINE" | "HEALTHY" => Health::Online,
        "DEGRADED" => Health::Degraded,
        "FAULTED" => Health::Faulted,
        "OFFLINE" => Health::Offline,
        "REMOVED" => Health::Removed,
        // `CANT_OPEN` is what the JSON of `zpool status` has for it.
        "UNAVAIL" | "CANT_OPEN" => Health::Unavailable,
        "SUSPENDED" => Health::Suspended,
        "AVAIL" => Health::Available,
        "INUSE" => Health::InUse,
        _ => Health::Unknown,
    }
}

/// A kind of vdev with its parity: `raidz1-0` is a `raidz1`.
fn kind(vdev: &Value, name: &str) -> String {
    let kind = text(member(vdev, "vdev_type")).unwrap_or_else(|| "disk".to_owned());
    let before = name.split('-').next().unwrap_or_default();
    if ["raidz", "draid"].contains(&kind.as_str()) && before.starts_with(&kind) {
        before.to_owned()
    } else {
        kind
    }
}

/// A device in this state may not be there: what has its name now can be another disk.
pub(crate) fn is_lost(state: Health) -> bool {
    matches!(
        state,
        Health::Removed | Health::Unavailable | Health::Faulted | Health::Unknown
    )
}

fn vdev(name: &str, value: &Value, class: VdevClass, disks: &[Disk]) -> Vdev {
    let path = text(member(value, "path"));
    let node = path
        .as_deref()
        .and_then(|path| path.strip_prefix("/dev/"))
        .map(disk_of);
    let state = health(member(value, "state"));
    let disk = node
        .filter(|_| !is_lost(state))
        .and_then(|node| disks.iter().find(|disk| disk.name == node));
    let errors = |name: &str| number(member(value, name)).unwrap_or_default();
    let missing = number(member(value, "not_present")) == Some(1) || !member(value, "was").is_null();
    let was = text(member(value, "was")).map(|was| format!("missing, was {was}"));
    let detail = text(member(value, "aux")).or(was);
    Vdev {
        name: name.to_owned(),
        kind: kind(value, name),
        class,
        guid: text(member(value, "guid")).unwrap_or_default(),
        state,
        detail: detail.or_else(|| missing.then(|| "missing".to_owned())),
        path,
        disk: disk
            .and_then(axion_core::config::DiskChoice::of)
            .map(|choice| choice.to_string()),
        read_errors: errors("read_errors"),
        write_errors: errors("write_errors"),
        checksum_errors: errors("checksum_errors"),
        children: members(member(value, "vdevs"))
            .map(|(name, below)| vdev(name, below, class, disks))
            .collect(),
    }
}

fn scan(value: &Value) -> Option<Scan> {
    let kind = match member(value, "function").as_str()? {
        "SCRUB" => ScanKind::Scrub,
        "RESILVER" => ScanKind::Resilver,
        "ERRORSCRUB" => ScanKind::Errorscrub,
        _ => return None,
    };
    let of = |name: &str| number(member(value, name)).unwrap_or_default();
    let state = match member(value, "state").as_str()? {
        "SCANNING" | "ERRORSCRUBBING" | "ERRORSCRUBING" if of("scrub_pause") != 0 => ScanState::Paused,
        "SCANNING" | "ERRORSCRUBBING" | "ERRORSCRUBING" => ScanState::Running,
        "FINISHED" => ScanState::Finished,
        "CANCELED" => ScanState::Canceled,
        _ => return None,
    };
    let running = matches!(state, ScanState::Running | ScanState::Paused);
    Some(Scan {
        kind,
        state,
        started_unix_s: of("start_time"),
        ended_unix_s: (!running).then(|| of("end_time")),
        to_examine: of("to_examine"),
        examined: of("examined"),
        repaired: of("processed"),
        errors: of("errors"),
    })
}

/// The vdevs of a pool: below the one of its own name for data, flat for the rest.
fn vdevs(name: &str, pool: &Value, disks: &[Disk]) -> Vec<Vdev> {
    let mut all = Vec::new();
    for (group, class) in CLASSES {
        let group = member(pool, group);
        let within = match class {
            VdevClass::Data => member(member(group, name), "vdevs"),
            _ => group,
        };
        all.extend(members(within).map(|(name, value)| vdev(name, value, class, disks)));
    }
    all
}

/// Reads what `zpool status` and `zpool list` wrote.
pub(crate) fn parse(status: &Value, list: &Value, disks: &[Disk]) -> Vec<Pool> {
    let read = |(name, pool): (&String, &Value)| {
        let properties = member(member(list, "pools"), name);
        let of = |name: &str| property(properties, name);
        let size = |name: &str| number(of(name)).unwrap_or_default();
        let small = |name: &str| number(of(name)).and_then(|n| u8::try_from(n).ok());
        let is_on = |name: &str| of(name).as_str() == Some("on");
        let said = |key: &str| text(member(pool, key)).filter(|text| text != "OK");
        let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let guid = text(member(pool, "pool_guid")).or_else(|| text(member(pool, "guid")));
        Pool {
            name: name.clone(),
            guid: guid.unwrap_or_default(),
            state: health(member(pool, "state")),
            detail: said("status").map(one_line),
            action: said("action").map(one_line),
            size: size("size"),
            allocated: size("allocated"),
            free: size("free"),
            fragmentation: small("fragmentation"),
            ashift: small("ashift").filter(|ashift| *ashift != 0),
            autotrim: is_on("autotrim"),
            read_only: is_on("readonly"),
            data_errors: number(member(pool, "error_count")).unwrap_or_default(),
            scan: scan(member(pool, "scan_stats")),
            vdevs: vdevs(name, pool, disks),
            holds_state: false,
        }
    };
    members(member(status, "pools")).map(read).collect()
}

/// The device of a pool that a text means: an id, a name in the pool, a node, or a disk's choice.
pub(crate) fn device<'p>(pool: &'p Pool, text: &str) -> Result<&'p Vdev, StorageError> {
    let mut rest: Vec<&Vdev> = pool.vdevs.iter().collect();
    let mut leaves = Vec::new();
    while let Some(vdev) = rest.pop() {
        rest.extend(&vdev.children);
        if vdev.children.is_empty() {
            leaves.push(vdev);
        }
    }
    let fits = |leaf: &&&Vdev| {
        leaf.guid == text
            || leaf.name == text
            || leaf.path.as_deref() == Some(text)
            || leaf.disk.as_deref() == Some(text)
            || leaf
                .path
                .as_deref()
                .and_then(|path| path.strip_prefix("/dev/"))
                .map(disk_of)
                == Some(text)
    };
    if let Some(found) = leaves.iter().find(fits) {
        return Ok(found);
    }
    let there: Vec<_> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
    Err(StorageError::at(
        "/device",
        format!(
            "pool `{}` has no device `{}`; it has {}",
            pool.name,
            text.escape_debug(),
            there.join(", ")
        ),
    ))
}

impl Storage {
    /// Every imported pool.
    ///
    /// # Errors
    /// ZFS is not there, or does not answer.
    pub fn pools(&self) -> Result<Vec<Pool>, StorageError> {
        self.present()?;
        let status = self.tools.zpool(STATUS).json()?;
        let list = self.tools.zpool(LIST).json()?;
        let mut pools = parse(&status, &list, &self.disks());
        let state = self.state_pool();
        for pool in &mut pools {
            pool.holds_state = state.as_ref() == Some(&pool.name);
        }
        Ok(pools)
    }

    /// One imported pool.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn pool(&self, name: &str) -> Result<Pool, StorageError> {
        names::pool(name)?;
        let found = self.pools()?.into_iter().find(|pool| pool.name == name);
        found.ok_or_else(|| StorageError::NotFound(format!("no pool `{name}` is imported")))
    }

    /// Starts, pauses or stops a scrub.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn scrub(&self, pool: &str, action: ScrubAction) -> Result<(), StorageError> {
        let pool = self.pool(pool)?.name;
        let arguments = match action {
            ScrubAction::Start => vec!["scrub", &pool],
            ScrubAction::Pause => vec!["scrub", "-p", &pool],
            ScrubAction::Stop => vec!["scrub", "-s", &pool],
        };
        Ok(self.tools.zpool(arguments).done()?)
    }

    /// Takes a device out of use, puts it back, forgets it or its errors.
    ///
    /// # Errors
    /// There is no such device, or ZFS refuses.
    pub fn device(&self, pool: &str, request: &DeviceRequest) -> Result<(), StorageError> {
        let pool = self.pool(pool)?;
        let device = device(&pool, &request.device)?;
        let verb = match request.action {
            DeviceAction::Online => "online",
            DeviceAction::Offline => "offline",
            DeviceAction::Detach => "detach",
            DeviceAction::Clear => "clear",
        };
        Ok(self.tools.zpool([verb, &pool.name, &device.guid]).done()?)
    }

    /// Unmounts everything of a pool and gives it back, so that any host may import it.
    ///
    /// # Errors
    /// Something of it is in use.
    pub fn export_pool(&self, name: &str) -> Result<(), StorageError> {
        let pool = self.pool(name)?;
        if pool.holds_state {
            return Err(StorageError::Conflict(format!(
                "pool `{name}` keeps the node's own state; it is exported when the node goes down"
            )));
        }
        self.tools.zpool(["export", name]).done()?;
        self.link_zvols();
        Ok(())
    }

    /// Gives every pool back; for the end of the node. What went wrong, by pool.
    pub fn export_all(&self) -> Vec<String> {
        let Ok(pools) = self.pools() else {
            return Vec::new();
        };
        let export = |pool: &Pool| {
            let run = self
                .tools
                .zpool(["export", &pool.name])
                .within(crate::command::LOOK);
            run.done()
                .err()
                .map(|error| format!("{}: {}", pool.name, crate::error::chain(&error)))
        };
        pools.iter().filter_map(export).collect()
    }

    /// Destroys a pool and everything in it.
    ///
    /// # Errors
    /// It keeps the node's state, or something of it is in use.
    pub fn destroy_pool(&self, name: &str) -> Result<(), StorageError> {
        let pool = self.pool(name)?;
        if pool.holds_state {
            return Err(StorageError::Conflict(format!(
                "pool `{name}` keeps the node's own state; set `storage.state = \"none\"` and restart the node first"
            )));
        }
        self.tools.zpool(["destroy", name]).done()?;
        self.link_zvols();
        Ok(())
    }

    /// Brings `/dev/zvol` to what there is.
    pub(crate) fn link_zvols(&self) {
        zvol::link(&self.root.dev(), &self.root.sys());
    }
}

#[cfg(test)]
mod tests;

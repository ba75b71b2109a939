//! Where everything comes together: the programs, the devices, and what the node is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use axion_api::recovery::ResetOrder;
use axion_api::storage::{Pool, PoolDisk, PoolSpec, ReplaceRequest};
use axion_core::config::DiskChoice;
use axion_core::paths;
use axion_core::topology::{Disk, Topology};

use crate::command::Tools;
use crate::contents::{self, Contents};
use crate::error::StorageError;
use crate::import::{self, Found};
use crate::label::Label;
use crate::plan::{self, Candidate, PoolPlan};
use crate::reset::GivenOrder;
use crate::{names, pools, table};

/// The root directory that `/dev`, `/sys` and `/proc` are below.
#[derive(Debug, Clone)]
pub struct Root(pub PathBuf);

impl Root {
    /// `/dev`.
    pub fn dev(&self) -> PathBuf {
        self.0.join("dev")
    }

    /// `/sys`.
    pub fn sys(&self) -> PathBuf {
        self.0.join("sys")
    }
}

/// Which disks the node was started from, and the name of the partition on each that is for ZFS.
pub struct SystemDisks {
    /// Names in `/dev`, as they are now.
    pub disks: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Name in the disk's table.
    pub part: &'static str,
}

impl Default for SystemDisks {
    fn default() -> Self {
        Self {
            disks: Box::new(Vec::new),
            part: "",
        }
    }
}

impl fmt::Debug for SystemDisks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemDisks")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

/// ZFS on this node.
#[derive(Debug)]
pub struct Storage {
    pub(crate) tools: Tools,
    pub(crate) root: Root,
    pub(crate) hostid: u32,
    state_pool: Mutex<Option<String>>,
    system: SystemDisks,
    /// A factory reset that was ordered elsewhere than on a pool.
    pub(crate) reset: Option<GivenOrder>,
    /// Factory resets that are not done.
    pub(crate) pending: Mutex<Vec<ResetOrder>>,
}

impl Storage {
    /// ZFS on the node with this host id ([`crate::hostid`]), by these programs, with devices below `root`.
    pub fn new(tools: Tools, root: impl AsRef<Path>, hostid: u32) -> Self {
        Self {
            tools,
            root: Root(root.as_ref().to_owned()),
            hostid,
            state_pool: Mutex::default(),
            system: SystemDisks::default(),
            reset: None,
            pending: Mutex::default(),
        }
    }

    /// The same on a node that was started from installed disks.
    #[must_use]
    pub fn with_system(self, system: SystemDisks) -> Self {
        Self { system, ..self }
    }

    /// Whether the kernel has ZFS.
    ///
    /// # Errors
    /// It has not.
    pub fn present(&self) -> Result<(), StorageError> {
        if self.root.dev().join("zfs").exists() {
            Ok(())
        } else {
            Err(StorageError::Absent)
        }
    }

    /// The pool that keeps the node's own state.
    pub fn state_pool(&self) -> Option<String> {
        self.state_pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_state_pool(&self, pool: &str) {
        let mut state = self.state_pool.lock().unwrap_or_else(PoisonError::into_inner);
        *state = Some(pool.to_owned());
    }

    /// The disks of the node.
    pub(crate) fn disks(&self) -> Vec<Disk> {
        Topology::read(&self.root.0).disks
    }

    /// The disks of the node and what is on them. Disks that imported pools have are in use.
    pub fn candidates(&self) -> Vec<Candidate> {
        let imported = self.pools().unwrap_or_default();
        let look = |disk: Disk| {
            let mut contents = contents::look(&self.root.0, &disk);
            if let Some(pool) = imported.iter().find(|pool| has(pool, &disk, &contents)) {
                contents.user = Some(format!("{} is in the pool {}", disk.name, pool.name));
            }
            Candidate {
                disk,
                contents,
                is_part: false,
            }
        };
        let disks = self.disks();
        let parts = self.system_parts(&disks, &imported);
        let mut all: Vec<_> = disks.into_iter().map(look).collect();
        for (disk, part) in parts {
            let whole = all.iter_mut().find(|candidate| candidate.disk.name == disk);
            if let Some(whole) = whole {
                let used =
                    format!("{disk} is what the node starts from; the part that is for pools is `system`");
                whole.contents.user.get_or_insert(used);
            }
            all.push(part);
        }
        all
    }

    /// The parts of system disks that are for ZFS, each with the name of its disk.
    fn system_parts(&self, disks: &[Disk], imported: &[Pool]) -> Vec<(String, Candidate)> {
        let system = (self.system.disks)();
        let own = disks.iter().filter(|disk| system.contains(&disk.name));
        let part = |disk: &Disk| {
            let (node, size, mut contents) = contents::look_at_part(&self.root.0, disk, self.system.part)?;
            let part = Disk {
                name: node,
                size,
                serial: None,
                wwid: None,
                pci: None,
                ..disk.clone()
            };
            if let Some(pool) = imported.iter().find(|pool| has(pool, &part, &contents)) {
                contents.user = Some(format!("{} is in the pool {}", part.name, pool.name));
            }
            let part = Candidate {
                disk: part,
                contents,
                is_part: true,
            };
            Some((disk.name.clone(), part))
        };
        own.filter_map(part).collect()
    }

    /// Whether a disk that a pool is declared on is there.
    pub(crate) fn is_there(&self, choice: &DiskChoice, disks: &[Disk]) -> bool {
        match choice {
            DiskChoice::System => !self.system_parts(disks, &[]).is_empty(),
            _ => disks.iter().any(|disk| choice.fits(disk)),
        }
    }

    /// The same for the API.
    pub fn pool_disks(&self) -> Vec<PoolDisk> {
        let view = |candidate: Candidate| PoolDisk {
            choice: candidate.choice(),
            empty: candidate.contents.is_empty(),
            contents: candidate.contents.describe(),
            disk: candidate.disk,
        };
        self.candidates().into_iter().map(view).collect()
    }

    /// Labels of pools on all disks.
    pub(crate) fn labels(&self) -> Vec<(String, Label)> {
        let disks = self.disks();
        let looked = disks.iter().map(|disk| contents::look(&self.root.0, disk));
        looked.flat_map(|contents: Contents| contents.labels).collect()
    }

    /// Pools that are on disks and not imported.
    ///
    /// # Errors
    /// ZFS is not there, or does not answer.
    pub fn found_pools(&self) -> Result<Vec<Found>, StorageError> {
        let imported = self.pools()?;
        let mut found = import::gather(&self.labels());
        found.retain(|found| {
            let guid = found.label.pool_guid.to_string();
            imported.iter().all(|pool| pool.guid != guid)
        });
        Ok(found)
    }

    /// Makes a pool. One of that name that is there with as many disks is answered as it is. Whether it is new comes with it.
    ///
    /// # Errors
    /// A disk cannot be used; each is named.
    pub fn create_pool(&self, name: &str, spec: &PoolSpec) -> Result<(Pool, bool), StorageError> {
        names::pool(name)?;
        if let Some(pool) = self.pools()?.into_iter().find(|pool| pool.name == name) {
            let parts = self.system_parts(&self.disks(), &[]);
            let of_pool = |choice: &DiskChoice| match choice {
                DiskChoice::System => {
                    let mut nodes = parts.iter().map(|(_, part)| format!("/dev/{}", part.disk.name));
                    !parts.is_empty() && nodes.all(|node| pools::device(&pool, &node).is_ok())
                }
                _ => pools::device(&pool, &choice.to_string()).is_ok(),
            };
            if spec.disks.iter().all(of_pool) {
                return Ok((pool, false));
            }
            return Err(StorageError::Conflict(format!(
                "there is a pool `{name}` of other disks"
            )));
        }
        self.not_ordered(name, None)?;
        let plan = plan::plan(name, spec, &self.candidates(), "")?;
        self.make(&plan)?;
        Ok((self.pool(name)?, true))
    }

    /// Carries a plan out.
    pub(crate) fn make(&self, plan: &PoolPlan) -> Result<(), StorageError> {
        let dev = self.root.dev();
        let prepare = |disk: &plan::PlannedDisk| prepare(&dev, &disk.disk, disk.is_part, disk.length);
        let nodes: Vec<PathBuf> = plan.disks.iter().map(prepare).collect::<Result<_, _>>()?;
        let nodes: Vec<String> = nodes.iter().map(|node| node.display().to_string()).collect();
        Ok(self.tools.zpool(plan.arguments(paths::POOLS, &nodes)).done()?)
    }

    /// Imports a pool, by its name or id, and mounts what is in it.
    ///
    /// # Errors
    /// There is none, another host has it, or too little of it is there.
    pub fn import_pool(&self, which: &str, take_over: bool) -> Result<Pool, StorageError> {
        let found = self.found_pools()?;
        let fits = |found: &&Found| found.label.pool == which || found.label.pool_guid.to_string() == which;
        let fitting: Vec<&Found> = found.iter().filter(fits).collect();
        let pool = match fitting.as_slice() {
            [one] => *one,
            [] => {
                let which = which.escape_debug();
                let detail = format!("no disk has a pool `{which}` that is not imported");
                return Err(StorageError::NotFound(detail));
            }
            several => {
                let ids: Vec<_> = several
                    .iter()
                    .map(|found| found.label.pool_guid.to_string())
                    .collect();
                let detail = format!(
                    "{} pools are called `{which}`; name one by its id: {}",
                    ids.len(),
                    ids.join(", ")
                );
                return Err(StorageError::Conflict(detail));
            }
        };
        if let Some(host) = pool.foreign_host(self.hostid).filter(|_| !take_over) {
            return Err(StorageError::Conflict(import::refusal(&pool.label.pool, &host)));
        }
        self.import(pool, take_over)?;
        // What cannot be mounted is seen as such in the list; the pool is imported.
        let _ = self.mount_all();
        self.pool(&pool.label.pool)
    }

    /// Imports a pool that was found, and mounts nothing.
    pub(crate) fn import(&self, pool: &Found, force: bool) -> Result<(), StorageError> {
        Ok(self.tools.zpool(pool.arguments(paths::POOLS, force)).done()?)
    }

    /// Mounts what can be mounted; what is encrypted and locked stays so.
    pub(crate) fn mount_all(&self) -> Result<(), StorageError> {
        let mounted = self.tools.zfs(["mount", "-a"]).done();
        self.link_zvols();
        Ok(mounted?)
    }

    /// Replaces a device of a pool by another disk.
    ///
    /// # Errors
    /// There is no such device, or the disk cannot be used.
    pub fn replace(&self, pool: &str, request: &ReplaceRequest) -> Result<(), StorageError> {
        let pool = self.pool(pool)?;
        let old = pools::device(&pool, &request.device)?;
        let candidates = self.candidates();
        let new = plan::replacement(&pool.name, &request.disk, request.erase, &candidates)?;
        let node = prepare(&self.root.dev(), &new.disk, new.is_part, new.room())?;
        let node = node.display().to_string();
        Ok(self
            .tools
            .zpool(["replace", &pool.name, &old.guid, &node])
            .done()?)
    }
}

/// Makes a disk, or a part of one, ready for `zpool`; answers the node that it is given.
fn prepare(dev: &Path, disk: &Disk, is_part: bool, length: u64) -> Result<PathBuf, table::TableError> {
    if is_part {
        table::clear_part(dev, &disk.name, disk.size)
    } else {
        table::prepare(dev, &disk.name, disk.size, disk.logical_sector, length)
    }
}

/// Whether a pool uses the disk, or the part of one. A device that was lost keeps the name that it had, which another disk may have now: what counts
/// then is whether the pool's label is on it.
fn has(pool: &Pool, disk: &Disk, contents: &Contents) -> bool {
    let labelled = contents
        .labels
        .iter()
        .any(|(_, label)| label.pool_guid.to_string() == pool.guid);
    let mut rest: Vec<_> = pool.vdevs.iter().collect();
    while let Some(vdev) = rest.pop() {
        rest.extend(&vdev.children);
        let node = vdev.path.as_deref().and_then(|path| path.strip_prefix("/dev/"));
        let works = !pools::is_lost(vdev.state);
        let is_here = node.is_some_and(|node| node == disk.name || table::disk_of(node) == disk.name);
        if is_here && (works || labelled) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;

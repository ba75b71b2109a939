//! Snapshots: what `zfs list` says of them, making, destroying, going back to and branching off from them.

use axion_api::storage::{CloneSpec, Dataset, Snapshot};
use serde_json::Value;

use crate::datasets::{not_state, not_system};
use crate::error::StorageError;
use crate::json::{member, members, number, property, text};
use crate::names;
use crate::storage::Storage;

/// Reads what `zfs list -t snapshot` wrote.
pub(crate) fn parse(list: &Value) -> Vec<Snapshot> {
    let read = |(name, value): (&String, &Value)| {
        let (dataset, snapshot) = name.split_once('@')?;
        let of = |name: &str| number(property(value, name)).unwrap_or_default();
        let clones = text(property(value, "clones")).unwrap_or_default();
        Some(Snapshot {
            name: name.clone(),
            dataset: dataset.to_owned(),
            snapshot: snapshot.to_owned(),
            guid: of("guid").to_string(),
            used: of("used"),
            referenced: of("referenced"),
            created_unix_s: of("creation"),
            clones: clones
                .split(',')
                .filter(|clone| !clone.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    };
    members(member(list, "datasets")).filter_map(read).collect()
}

impl Storage {
    /// Snapshots, oldest first: all, or those of one dataset.
    ///
    /// # Errors
    /// ZFS is not there, or there is no such dataset.
    pub fn snapshots(&self, of: Option<&str>) -> Result<Vec<Snapshot>, StorageError> {
        self.present()?;
        if let Some(name) = of {
            names::dataset(name)?;
        }
        let mut snapshots = self.list_snapshots(of)?;
        snapshots.sort_by(|a, b| (a.created_unix_s, &a.name).cmp(&(b.created_unix_s, &b.name)));
        Ok(snapshots)
    }

    fn list_snapshots(&self, of: Option<&str>) -> Result<Vec<Snapshot>, StorageError> {
        let properties = "name,guid,used,referenced,creation,clones";
        let mut arguments = vec![
            "list",
            "-j",
            "--json-int",
            "-p",
            "-t",
            "snapshot",
            "-o",
            properties,
        ];
        arguments.extend(of);
        Ok(parse(&self.tools.zfs(arguments).json()?))
    }

    /// One snapshot.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot, StorageError> {
        let (dataset, _) = names::snapshot(name)?;
        let found = self
            .snapshots(Some(dataset))?
            .into_iter()
            .find(|snapshot| snapshot.name == name);
        found.ok_or_else(|| StorageError::NotFound(format!("there is no snapshot `{name}`")))
    }

    /// Makes a snapshot; one that is there stays as it is. Answers it and whether it is new.
    ///
    /// # Errors
    /// There is no such dataset, or the pool is full.
    pub fn put_snapshot(&self, name: &str, recursive: bool) -> Result<(Snapshot, bool), StorageError> {
        let (dataset, _) = names::snapshot(name)?;
        not_state(name)?;
        let there = self
            .snapshots(Some(dataset))?
            .into_iter()
            .find(|snapshot| snapshot.name == name);
        if let Some(there) = there {
            return Ok((there, false));
        }
        let arguments = if recursive {
            vec!["snapshot", "-r", name]
        } else {
            vec!["snapshot", name]
        };
        self.tools.zfs(arguments).done()?;
        Ok((self.snapshot(name)?, true))
    }

    /// Destroys a snapshot, and those of the same name below where `recursive` says so.
    ///
    /// # Errors
    /// Something was cloned from it.
    pub fn destroy_snapshot(&self, name: &str, recursive: bool) -> Result<(), StorageError> {
        let snapshot = self.snapshot(name)?;
        not_state(name)?;
        if !snapshot.clones.is_empty() {
            let clones = snapshot.clones.join(", ");
            let detail = format!("`{name}` has clones, which need it: {clones}; destroy them first");
            return Err(StorageError::Conflict(detail));
        }
        let arguments = if recursive {
            vec!["destroy", "-r", name]
        } else {
            vec!["destroy", name]
        };
        Ok(self.tools.zfs(arguments).done()?)
    }

    /// Sets a dataset back to a snapshot; what was written since is lost.
    ///
    /// # Errors
    /// There are newer snapshots, and nobody said that they may go.
    pub fn rollback(&self, name: &str, discard_newer: bool) -> Result<(), StorageError> {
        not_system(name)?;
        self.go_back(name, discard_newer)
    }

    /// The same, whosever it is.
    pub(crate) fn go_back(&self, name: &str, discard_newer: bool) -> Result<(), StorageError> {
        let (dataset, _) = names::snapshot(name)?;
        let all = self.snapshots(Some(dataset))?;
        let Some(at) = all.iter().position(|snapshot| snapshot.name == name) else {
            return Err(StorageError::NotFound(format!("there is no snapshot `{name}`")));
        };
        // Of two in the same second zfs itself knows the order.
        let to = all.get(at).map_or(0, |snapshot| snapshot.created_unix_s);
        let newer: Vec<_> = all
            .iter()
            .filter(|other| other.created_unix_s > to)
            .map(|s| s.snapshot.as_str())
            .collect();
        if !newer.is_empty() && !discard_newer {
            let detail = format!(
                "`{dataset}` has {} newer snapshots, which going back to `{name}` destroys: {}; say `discard_newer`",
                newer.len(),
                newer.join(", ")
            );
            return Err(StorageError::Conflict(detail));
        }
        let arguments = if discard_newer {
            vec!["rollback", "-r", name]
        } else {
            vec!["rollback", name]
        };
        Ok(self.tools.zfs(arguments).done()?)
    }

    /// Makes a dataset of a snapshot.
    ///
    /// # Errors
    /// The name is taken, or in another pool.
    pub fn clone_snapshot(&self, name: &str, spec: &CloneSpec) -> Result<Dataset, StorageError> {
        names::snapshot(name)?;
        names::dataset(&spec.name)?;
        not_system(&spec.name)?;
        not_state(name)?;
        self.branch(name, &spec.name)
    }

    /// The same, whosever they are.
    pub(crate) fn branch(&self, name: &str, new: &str) -> Result<Dataset, StorageError> {
        if names::pool_of(name) != names::pool_of(new) {
            let detail = format!(
                "a clone shares blocks with its snapshot: it is in the pool `{}`",
                names::pool_of(name)
            );
            return Err(StorageError::at("/name", detail));
        }
        self.snapshot(name)?;
        self.tools.zfs(["clone", name, new]).done()?;
        let made = self.dataset(new)?;
        if made.volume_size.is_some() {
            self.show(new)?;
            return self.dataset(new);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;

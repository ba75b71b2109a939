//! Volumes of VMs: zvols of the node's own, `POOL/axion/zvols/NAME`.
//!
//! They are apart from other datasets, so that nobody destroys or sets back under a VM what it has open, and so that what init
//! hands to a VM is never anything else. Whose a volume is, the agent knows; ZFS keeps what is on it.

use axion_api::storage::{Dataset, DatasetSpec, Use, ZvolSpec};
use axion_core::quantity::ByteSize;

use crate::datasets::not_state;
use crate::error::StorageError;
use crate::names;
use crate::storage::Storage;

impl Storage {
    /// The zvols of volumes, of every pool.
    ///
    /// # Errors
    /// ZFS is not there, or does not answer.
    pub fn volumes(&self) -> Result<Vec<Dataset>, StorageError> {
        let mut all = self.datasets(None)?;
        all.retain(|dataset| names::is_volume(&dataset.name));
        Ok(all)
    }

    /// Makes the zvol of a volume. One that is there is what an earlier attempt left, and is made anew.
    ///
    /// # Errors
    /// The spec is not allowed, the pool is full, or what it is to begin with is not there.
    pub fn make_volume(&self, pool: &str, name: &str, spec: &ZvolSpec) -> Result<Dataset, StorageError> {
        let whole = names::volume(pool, name)?;
        let there = self.pool(pool)?;
        if self.find(&whole)?.is_some() {
            self.destroy_volume(pool, name)?;
        }
        let datasets = self.datasets(Some(pool))?;
        let names: Vec<String> = datasets.into_iter().map(|dataset| dataset.name).collect();
        for above in [names::system(pool, ""), names::volumes(pool)] {
            if !names.contains(&above) {
                self.make_above(&above, None)?;
            }
        }
        let wanted = DatasetSpec {
            size: Some(spec.size),
            sparse: !spec.reserved,
            r#use: Some(Use::Vm),
            block_size: spec.block_size,
            ..DatasetSpec::default()
        };
        let Some(from) = &spec.from else {
            return self.create(&there, &whole, &wanted);
        };
        not_state(from)?;
        let made = self.branch(from, &whole)?;
        let grown = fits(&made, spec).and_then(|()| self.finish_branch(&made, spec));
        if grown.is_err() {
            // Why it could not be made is what counts.
            let _ = self.destroy_volume(pool, name);
        }
        grown
    }

    fn finish_branch(&self, made: &Dataset, spec: &ZvolSpec) -> Result<Dataset, StorageError> {
        if spec.reserved {
            let reserved = format!("refreservation={}", spec.size.0);
            self.tools.zfs(["set", &reserved, &made.name]).done()?;
        }
        self.grow(made, spec.size)
    }

    fn grow(&self, there: &Dataset, size: ByteSize) -> Result<Dataset, StorageError> {
        let wanted = DatasetSpec {
            size: Some(size),
            reservation: there.reservation.map(ByteSize),
            ..DatasetSpec::default()
        };
        self.change(there, &wanted)
    }

    /// Makes the zvol of a volume larger.
    ///
    /// # Errors
    /// It would be smaller, or the pool has no room for what is reserved.
    pub fn grow_volume(&self, pool: &str, name: &str, size: ByteSize) -> Result<Dataset, StorageError> {
        let there = self.dataset(&names::volume(pool, name)?)?;
        self.grow(&there, size)
    }

    /// Destroys the zvol of a volume and its snapshots; none of that name is as good.
    ///
    /// # Errors
    /// It is open, or another volume shares its blocks.
    pub fn destroy_volume(&self, pool: &str, name: &str) -> Result<(), StorageError> {
        let whole = names::volume(pool, name)?;
        self.pool(pool)?;
        if self.find(&whole)?.is_none() {
            return Ok(());
        }
        let clones = self.snapshots(Some(&whole))?;
        let clones: Vec<_> = clones.into_iter().flat_map(|snapshot| snapshot.clones).collect();
        if !clones.is_empty() {
            let detail = format!(
                "`{whole}` has snapshots that others began with: {}; destroy those first",
                clones.join(", ")
            );
            return Err(StorageError::Conflict(detail));
        }
        self.tools.zfs(["destroy", "-r", &whole]).done()?;
        self.link_zvols();
        Ok(())
    }

    /// Sets the zvol of a volume back to a snapshot; nobody has it open.
    ///
    /// # Errors
    /// There is no such snapshot, or there are newer ones and nobody said that they may go.
    pub fn roll_volume_back(
        &self,
        pool: &str,
        name: &str,
        snapshot: &str,
        discard_newer: bool,
    ) -> Result<(), StorageError> {
        let whole = names::volume(pool, name)?;
        self.go_back(&format!("{whole}@{snapshot}"), discard_newer)
    }
}

/// Whether what was cloned can be the volume.
fn fits(made: &Dataset, spec: &ZvolSpec) -> Result<(), StorageError> {
    let Some(has) = made.volume_size else {
        let detail = "the snapshot is of a file system; a volume begins with one of a zvol";
        return Err(StorageError::at("/from", detail));
    };
    if has > spec.size.0 {
        let detail = format!(
            "{}; the snapshot has {}, which must fit",
            spec.size,
            ByteSize(has)
        );
        return Err(StorageError::at("/size", detail));
    }
    if spec.block_size.is_some_and(|block| block.0 != made.block_size) {
        let has = ByteSize(made.block_size);
        let detail = format!("the snapshot has blocks of {has}, which its clones keep");
        return Err(StorageError::at("/block_size", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

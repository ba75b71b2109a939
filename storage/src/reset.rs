//! Factory reset: the node's own datasets, or whole pools, destroyed when the node starts.
//!
//! ```text
//! ordered   [`MARKER`] on a pool's topmost dataset: one transaction of ZFS, on the disk when the command returns
//! boot      pools imported, nothing mounted ─> other pools destroyed ─> POOL/axion destroyed ─> marker away
//!                                                                   └─> or the pool itself, and the marker with it
//! ```
//! Each step may be repeated, and what is gone is no error: a boot that is cut off is carried on by the next one. An installed
//! node keeps its order on the disk that it starts from instead, and gives it to [`Storage::with_reset`].

use std::time::{Duration, Instant};

use axion_api::recovery::ResetOrder;
use axion_api::storage::Dataset;

use crate::boot::in_time;
use crate::error::{StorageError, chain};
use crate::json::{member, members, property, text};
use crate::names;
use crate::storage::Storage;
use crate::wait::until;

/// The property of a pool's topmost dataset that keeps an order.
pub const MARKER: &str = "org.axion:reset";

/// How long a dataset may be busy.
const BUSY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);

/// What came of the orders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What was destroyed, for people.
    pub(crate) done: Vec<String>,
    /// What was not, for people.
    pub(crate) problems: Vec<String>,
    /// The order that was given is not done.
    pub(crate) waits: bool,
}

impl Storage {
    /// The same with an order that is kept elsewhere.
    #[must_use]
    pub fn with_reset(mut self, order: Option<ResetOrder>) -> Self {
        self.reset = order;
        self
    }

    /// The node's own datasets on a pool.
    ///
    /// # Errors
    /// ZFS does not answer.
    pub fn own(&self, pool: &str) -> Result<Vec<Dataset>, StorageError> {
        let mut own = self.datasets(Some(pool))?;
        own.retain(|dataset| names::is_system(&dataset.name));
        Ok(own)
    }

    /// Keeps an order on a pool until it is done.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn order_reset(&self, pool: &str, order: &ResetOrder) -> Result<(), StorageError> {
        names::pool(pool)?;
        let order = serde_json::to_string(order)
            .map_err(|error| StorageError::Conflict(format!("the order cannot be written: {error}")))?;
        let setting = format!("{MARKER}={order}");
        Ok(self.tools.zfs(["set", &setting, pool]).done()?)
    }

    /// Orders that imported pools keep.
    fn orders(&self) -> Result<Vec<(String, String)>, StorageError> {
        let properties = format!("name,{MARKER}");
        let list = ["list", "-j", "--json-int", "-p", "-d", "0", "-o", &properties];
        let list = self.tools.zfs(list).json()?;
        let read = |(name, dataset): (&String, &serde_json::Value)| {
            Some((name.clone(), text(property(dataset, MARKER))?))
        };
        Ok(members(member(&list, "datasets"))
            .filter(|(name, _)| !name.contains('/'))
            .filter_map(read)
            .collect())
    }

    /// Carries out what was ordered. Nothing of the pools is mounted yet.
    pub(crate) fn carry_out_resets(&self, deadline: Instant) -> Carried {
        let mut carried = Carried::default();
        if let Some(order) = &self.reset {
            match self.carry_out(order, None, deadline, &mut carried.done) {
                Ok(()) => {}
                Err(error) => {
                    carried.waits = true;
                    carried
                        .problems
                        .push(format!("the factory reset is not done: {}", chain(&error)));
                }
            }
        }
        let orders = self.orders().unwrap_or_else(|error| {
            let why = chain(&error);
            carried
                .problems
                .push(format!("cannot look for orders of a factory reset: {why}"));
            Vec::new()
        });
        for (pool, order) in orders {
            let done = match serde_json::from_str(&order) {
                Ok(order) => self.carry_out(&order, Some(&pool), deadline, &mut carried.done),
                // It was none of ours.
                Err(_) => Err(StorageError::Conflict(format!("`{order}` is no order"))),
            };
            if let Err(error) = done {
                let why = chain(&error);
                carried
                    .problems
                    .push(format!("the factory reset of pool `{pool}` is not done: {why}"));
            }
        }
        carried
    }

    /// Carries out an order, which the pool `keeper` keeps.
    fn carry_out(
        &self,
        order: &ResetOrder,
        keeper: Option<&str>,
        deadline: Instant,
        done: &mut Vec<String>,
    ) -> Result<(), StorageError> {
        let imported: Vec<String> = self.pools()?.into_iter().map(|pool| pool.name).collect();
        let is_there = |pool: &str| imported.iter().any(|name| name == pool);
        let (last, others): (Vec<&String>, Vec<&String>) =
            order.pools.iter().partition(|pool| Some(pool.as_str()) == keeper);
        for pool in others.into_iter().filter(|pool| is_there(pool)) {
            in_time(deadline)?;
            self.destroy_whole(pool, done)?;
        }
        if let Some(pool) = order.state.as_ref().filter(|pool| !order.pools.contains(pool)) {
            if !is_there(pool) {
                let missing = format!("pool `{pool}`, which has the node's state, is not imported");
                return Err(StorageError::Conflict(missing));
            }
            in_time(deadline)?;
            let above = names::system(pool, "");
            if self.own(pool)?.iter().any(|dataset| dataset.name == above) {
                self.destroy_own(&above, deadline)?;
                done.push(format!(
                    "factory reset: the node's state on `{pool}` is destroyed"
                ));
            }
        }
        in_time(deadline)?;
        match (last.first(), keeper) {
            (Some(pool), _) => self.destroy_whole(pool, done),
            (None, Some(pool)) => Ok(self.tools.zfs(["inherit", MARKER, pool]).done()?),
            (None, None) => Ok(()),
        }
    }

    /// Destroys datasets of the node. The kernel holds each zvol for a moment after an import, while it makes its device.
    fn destroy_own(&self, above: &str, deadline: Instant) -> Result<(), StorageError> {
        let destroy =
            || -> Result<(), StorageError> { Ok(self.tools.zfs(["destroy", "-r", "-f", above]).done()?) };
        let patience = deadline.min(Instant::now() + BUSY);
        let destroyed = until(patience, AGAIN, || match destroy() {
            Err(error) if chain(&error).contains("busy") => None,
            other => Some(other),
        });
        destroyed.unwrap_or_else(destroy)
    }

    fn destroy_whole(&self, pool: &str, done: &mut Vec<String>) -> Result<(), StorageError> {
        names::pool(pool)?;
        self.tools.zpool(["destroy", "-f", pool]).done()?;
        done.push(format!("factory reset: pool `{pool}` is destroyed"));
        Ok(())
    }
}

#[cfg(test)]
mod tests;

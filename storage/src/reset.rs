//! Factory reset: the node's own datasets, or whole pools, destroyed when the node starts.
//!
//! ```text
//! ordered   [`MARKER`] on a pool's topmost dataset: one transaction of ZFS, on the disk when the command returns
//! boot      pools imported, nothing mounted ─> other pools destroyed ─> POOL/axion destroyed ─> marker away
//!                                                                   └─> or the pool itself, and the marker with it
//! ```
//! Each step may be repeated, and what is gone is no error: a boot that is cut off is carried on by the next one. An installed
//! node keeps its order on the disk that it starts from instead, and gives it to [`Storage::with_reset`].
//!
//! An order is done when each of its pools was destroyed, or was emptied, or says on its disks that it was destroyed. One that is not
//! there is waited for, boot by boot, by its id, so that another pool of its name is left alone. As long as an order waits, nothing is
//! begun that it would take away: no pool of such a name is made, and no state on a pool that it means.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axion_api::recovery::ResetOrder;
use axion_api::storage::{Dataset, Pool};

use crate::boot::in_time;
use crate::error::{StorageError, chain};
use crate::json::{member, members, property, text};
use crate::label::Label;
use crate::names;
use crate::storage::Storage;
use crate::wait::until;

/// The property of a pool's topmost dataset that keeps an order.
pub const MARKER: &str = "org.axion:reset";

/// How long a dataset may be busy.
const BUSY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);

/// Keeps what is left of an order; says for people why it failed.
pub type Keep = Box<dyn Fn(&ResetOrder) -> Result<(), String> + Send + Sync>;

/// An order that is kept elsewhere than on a pool.
pub struct GivenOrder {
    /// What was ordered.
    pub order: ResetOrder,
    /// Where what is left names no pool any more, the order is done and is forgotten.
    pub keep: Keep,
}

impl fmt::Debug for GivenOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.order.fmt(f)
    }
}

/// What came of the orders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What was destroyed, for people.
    pub(crate) done: Vec<String>,
    /// What was not, for people.
    pub(crate) problems: Vec<String>,
    /// What is still to be done.
    pub(crate) pending: Vec<ResetOrder>,
}

/// Where a pool of an order is.
enum Fate {
    /// It is imported, by this name.
    Imported(String),
    /// Its disks say that it was destroyed.
    Destroyed,
    /// Nobody knows.
    Missing,
}

fn fate(order: &ResetOrder, name: &str, imported: &[Pool], labels: &[(String, Label)]) -> Fate {
    let pool = imported
        .iter()
        .find(|pool| order.means(name, (&pool.name, &pool.guid)));
    if let Some(pool) = pool {
        return Fate::Imported(pool.name.clone());
    }
    let means = |label: &&Label| order.means(name, (&label.pool, &label.pool_guid.to_string()));
    let mut own = labels.iter().map(|(_, label)| label).filter(means).peekable();
    if own.peek().is_some() && own.all(Label::is_destroyed) {
        Fate::Destroyed
    } else {
        Fate::Missing
    }
}

impl Storage {
    /// The same with an order that is kept elsewhere.
    #[must_use]
    pub fn with_reset(mut self, given: Option<GivenOrder>) -> Self {
        let pending = given.iter().map(|given| given.order.clone()).collect();
        self.set_pending(pending);
        self.reset = given;
        self
    }

    pub(crate) fn set_pending(&self, orders: Vec<ResetOrder>) {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = orders;
    }

    /// Refuses what an order that waits is about: a pool of this name, where it is to be made, or where it is there and has this id.
    pub(crate) fn not_ordered(&self, name: &str, guid: Option<&str>) -> Result<(), StorageError> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = |order: &ResetOrder| {
            let mut names = order.names();
            let found = names.find(|ordered| match guid {
                Some(guid) => order.means(ordered, (name, guid)),
                None => *ordered == name,
            });
            found.map(|ordered| order.call(ordered))
        };
        let Some(pool) = pending.iter().find_map(meant) else {
            return Ok(());
        };
        let waits = format!("a factory reset that is not done waits for the pool {pool}");
        Err(StorageError::Conflict(waits))
    }

    /// Whether each pool of the order that was given is on a disk.
    pub(crate) fn ordered_are_there(&self) -> bool {
        let Some(GivenOrder { order, .. }) = &self.reset else {
            return true;
        };
        let labels = self.labels();
        let is_there = |name: &str| {
            let mut labels = labels.iter().map(|(_, label)| label);
            labels.any(|label| order.means(name, (&label.pool, &label.pool_guid.to_string())))
        };
        order.names().all(is_there)
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

    /// Withdraws the orders that imported pools keep; whether there was one. One that is kept elsewhere is withdrawn there.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn cancel_resets(&self) -> Result<bool, StorageError> {
        let orders = self.orders()?;
        for (pool, _) in &orders {
            self.tools.zfs(["inherit", MARKER, pool]).done()?;
        }
        self.set_pending(Vec::new());
        Ok(!orders.is_empty())
    }

    /// Carries out what was ordered. Nothing of the pools is mounted yet.
    pub(crate) fn carry_out_resets(&self, deadline: Instant) -> Carried {
        let mut carried = Carried::default();
        if let Some(given) = &self.reset {
            let left = self.carry_out(&given.order, None, deadline, &mut carried);
            let kept = if left == given.order {
                Ok(())
            } else {
                (given.keep)(&left)
            };
            if let Err(why) = kept {
                carried
                    .problems
                    .push(format!("the order of the factory reset: {why}"));
                // The next boot has the whole of it again.
                carried.pending.push(given.order.clone());
            } else if left.names().next().is_some() {
                carried.pending.push(left);
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
            match serde_json::from_str(&order) {
                Ok(order) => self.carry_out_of(&pool, &order, deadline, &mut carried),
                // It was none of ours.
                Err(_) => carried.problems.push(format!(
                    "the factory reset of pool `{pool}` is not done: `{order}` is no order"
                )),
            }
        }
        carried
    }

    /// Carries out an order, which the pool `keeper` keeps; it goes last, and the order with it.
    fn carry_out_of(&self, keeper: &str, order: &ResetOrder, deadline: Instant, carried: &mut Carried) {
        let mut left = self.carry_out(order, Some(keeper), deadline, carried);
        let goes = left.pools.iter().any(|pool| pool == keeper);
        let is_last = left.names().all(|pool| goes && pool == keeper);
        let done = in_time(deadline).and_then(|()| match (is_last, goes) {
            (true, true) => self.destroy_whole(keeper, &mut carried.done),
            (true, false) => Ok(self.tools.zfs(["inherit", MARKER, keeper]).done()?),
            (false, _) if left == *order => Ok(()),
            (false, _) => self.order_reset(keeper, &left),
        });
        if let Err(error) = done {
            let why = chain(&error);
            carried
                .problems
                .push(format!("the factory reset of pool `{keeper}` is not done: {why}"));
            // The next boot has the whole of it again.
            left = order.clone();
        } else if is_last {
            return;
        }
        carried.pending.push(left);
    }

    /// Carries out an order but for destroying `keeper`; what is left of it.
    fn carry_out(
        &self,
        order: &ResetOrder,
        keeper: Option<&str>,
        deadline: Instant,
        carried: &mut Carried,
    ) -> ResetOrder {
        let mut left = order.clone();
        let not_done = |why: String| format!("the factory reset is not done: {why}");
        let imported = match self.pools() {
            Ok(imported) => imported,
            Err(error) => {
                carried.problems.push(not_done(chain(&error)));
                return left;
            }
        };
        let labels = self.labels();
        for pool in order.pools.iter().filter(|pool| Some(pool.as_str()) != keeper) {
            match fate(order, pool, &imported, &labels) {
                Fate::Destroyed => {}
                Fate::Imported(name) => {
                    let destroyed =
                        in_time(deadline).and_then(|()| self.destroy_whole(&name, &mut carried.done));
                    if let Err(error) = destroyed {
                        carried.problems.push(not_done(chain(&error)));
                        continue;
                    }
                }
                Fate::Missing => {
                    let missing = format!("pool {} is not imported", order.call(pool));
                    carried.problems.push(not_done(missing));
                    continue;
                }
            }
            left.pools.retain(|left| left != pool);
        }
        let Some(pool) = &order.state else { return left };
        // It goes with its pool, unless that has to wait for another one.
        if order.pools.contains(pool) && left.pools.iter().all(|left| Some(left.as_str()) == keeper) {
            left.state = None;
            return left;
        }
        let emptied = match fate(order, pool, &imported, &labels) {
            Fate::Destroyed => Ok(()),
            Fate::Imported(name) => self.empty(&name, deadline, &mut carried.done),
            Fate::Missing => {
                let pool = order.call(pool);
                let missing = format!("pool {pool}, which has the node's state, is not imported");
                Err(StorageError::Conflict(missing))
            }
        };
        match emptied {
            Ok(()) => left.state = None,
            Err(error) => carried.problems.push(not_done(chain(&error))),
        }
        left
    }

    /// Destroys the node's own datasets on a pool, where there are any.
    fn empty(&self, pool: &str, deadline: Instant, done: &mut Vec<String>) -> Result<(), StorageError> {
        in_time(deadline)?;
        let above = names::system(pool, "");
        if self.own(pool)?.iter().any(|dataset| dataset.name == above) {
            self.destroy_own(&above, deadline)?;
            done.push(format!(
                "factory reset: the node's state on `{pool}` is destroyed"
            ));
        }
        Ok(())
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

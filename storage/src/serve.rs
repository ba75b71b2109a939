//! What the agent asks for, done.

use axion_api::storage::{Answer, Call};

use crate::error::StorageError;
use crate::storage::Storage;

impl Storage {
    /// Does what a call asks for. Blocks until it is done.
    pub fn serve(&self, call: Call) -> Answer {
        self.perform(call)
            .unwrap_or_else(|error| Answer::Problem(error.into()))
    }

    fn perform(&self, call: Call) -> Result<Answer, StorageError> {
        let done = |()| Answer::Done;
        Ok(match call {
            Call::Pools => Answer::Pools(self.pools()?),
            Call::Pool { name } => Answer::Pool(Box::new(self.pool(&name)?), false),
            Call::FoundPools => {
                let found = self.found_pools()?;
                Answer::FoundPools(found.iter().map(|found| found.view(self.hostid)).collect())
            }
            Call::Disks => Answer::Disks(self.pool_disks()),
            Call::CreatePool { name, spec } => {
                let (pool, new) = self.create_pool(&name, &spec)?;
                Answer::Pool(Box::new(pool), new)
            }
            Call::ImportPool { pool, take_over } => {
                Answer::Pool(Box::new(self.import_pool(&pool, take_over)?), true)
            }
            Call::ExportPool { pool } => done(self.export_pool(&pool)?),
            Call::DestroyPool { pool } => done(self.destroy_pool(&pool)?),
            Call::Scrub { pool, action } => done(self.scrub(&pool, action)?),
            Call::Replace { pool, request } => done(self.replace(&pool, &request)?),
            Call::Device { pool, request } => done(self.device(&pool, &request)?),
            Call::Datasets { under } => Answer::Datasets(self.datasets(under.as_deref())?),
            Call::Dataset { name } => Answer::Dataset(Box::new(self.dataset(&name)?), false),
            Call::PutDataset { name, spec } => {
                let (dataset, new) = self.put_dataset(&name, &spec)?;
                Answer::Dataset(Box::new(dataset), new)
            }
            Call::DestroyDataset { name, recursive } => done(self.destroy_dataset(&name, recursive)?),
            Call::LoadKey { name, key } => done(self.load_key(&name, &key)?),
            Call::UnloadKey { name } => done(self.unload_key(&name)?),
            Call::Snapshots { dataset } => Answer::Snapshots(self.snapshots(dataset.as_deref())?),
            Call::PutSnapshot { name, recursive } => {
                let (snapshot, new) = self.put_snapshot(&name, recursive)?;
                Answer::Snapshot(snapshot, new)
            }
            Call::DestroySnapshot { name, recursive } => done(self.destroy_snapshot(&name, recursive)?),
            Call::Rollback { name, discard_newer } => done(self.rollback(&name, discard_newer)?),
            Call::AbortReceive { name } => done(self.abort_receive(&name)?),
            Call::Volumes => Answer::Datasets(self.volumes()?),
            Call::MakeVolume { pool, name, spec } => {
                Answer::Dataset(Box::new(self.make_volume(&pool, &name, &spec)?), true)
            }
            Call::GrowVolume { pool, name, size } => {
                Answer::Dataset(Box::new(self.grow_volume(&pool, &name, size)?), false)
            }
            Call::DestroyVolume { pool, name } => done(self.destroy_volume(&pool, &name)?),
            Call::RollbackVolume {
                pool,
                name,
                snapshot,
                discard_newer,
            } => done(self.roll_volume_back(&pool, &name, &snapshot, discard_newer)?),
            Call::Clone { name, spec } => Answer::Dataset(Box::new(self.clone_snapshot(&name, &spec)?), true),
        })
    }
}

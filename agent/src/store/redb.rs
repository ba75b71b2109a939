//! The store of a single node: redb, one file, each write a durable transaction.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::watch;

use super::{Answer, Entry, Expect, Store, StoreError};

/// Key to (revision, value).
const VALUES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("values");
/// One key, [`NEWEST`]: the newest revision.
const REVISION: TableDefinition<'_, &str, u64> = TableDefinition::new("revision");
const NEWEST: &str = "newest";

/// Page cache, bytes: the records of a node are few and small.
const CACHE: usize = 1 << 20;

/// A store in one file.
pub struct RedbStore {
    database: Arc<Database>,
    newest: watch::Sender<u64>,
}

fn engine<E>(operation: &'static str) -> impl Fn(E) -> StoreError
where
    redb::Error: From<E>,
{
    move |source| StoreError::Engine {
        operation,
        source: Box::new(redb::Error::from(source)),
    }
}

impl RedbStore {
    /// Opens the file at `path`, or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = "open its file";
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create(path)
            .map_err(engine(failed))?;
        let transaction = database.begin_write().map_err(engine(failed))?;
        let newest = {
            transaction.open_table(VALUES).map_err(engine(failed))?;
            let revisions = transaction.open_table(REVISION).map_err(engine(failed))?;
            revisions
                .get(NEWEST)
                .map_err(engine(failed))?
                .map_or(0, |revision| revision.value())
        };
        transaction.commit().map_err(engine(failed))?;
        Ok(Self {
            database: Arc::new(database),
            newest: watch::Sender::new(newest),
        })
    }

    /// Runs `work` where it may block.
    fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let database = self.database.clone();
        let task = tokio::task::spawn_blocking(move || work(&database));
        async move {
            task.await.unwrap_or_else(|lost| {
                Err(StoreError::Engine {
                    operation,
                    source: Box::new(lost),
                })
            })
        }
        .boxed()
    }

    /// Writes or removes (`None`) a key that is as expected.
    fn write(&self, key: &str, value: Option<Vec<u8>>, expect: Expect) -> Answer<'_, u64> {
        let (key, newest) = (key.to_owned(), self.newest.clone());
        // Said where it is done: whoever asked may be gone by then, and what is written has to be acted on.
        self.blocking("write", move |database| {
            let revision = write(database, key, value.as_deref(), expect)?;
            newest.send_modify(|newest| *newest = revision.max(*newest));
            Ok(revision)
        })
    }
}

fn write(database: &Database, key: String, value: Option<&[u8]>, expect: Expect) -> Result<u64, StoreError> {
    let failed = "write";
    let transaction = database.begin_write().map_err(engine(failed))?;
    let revision = {
        let mut values = transaction.open_table(VALUES).map_err(engine(failed))?;
        let found = values
            .get(key.as_str())
            .map_err(engine(failed))?
            .map(|entry| entry.value().0);
        if !expect.holds(found) {
            return Err(StoreError::Conflict { key, found });
        }
        let mut revisions = transaction.open_table(REVISION).map_err(engine(failed))?;
        let newest = revisions
            .get(NEWEST)
            .map_err(engine(failed))?
            .map_or(0, |newest| newest.value());
        let revision = newest + 1;
        revisions.insert(NEWEST, revision).map_err(engine(failed))?;
        match value {
            Some(value) => {
                values
                    .insert(key.as_str(), (revision, value))
                    .map_err(engine(failed))?;
            }
            None => {
                values.remove(key.as_str()).map_err(engine(failed))?;
            }
        }
        revision
    };
    transaction.commit().map_err(engine(failed))?;
    Ok(revision)
}

impl Store for RedbStore {
    fn get(&self, key: &str) -> Answer<'_, Option<Entry>> {
        let key = key.to_owned();
        self.blocking("read", move |database| {
            let read = engine::<redb::StorageError>("read");
            let transaction = database.begin_read().map_err(engine("read"))?;
            let values = transaction.open_table(VALUES).map_err(engine("read"))?;
            let entry = values.get(key.as_str()).map_err(read)?;
            Ok(entry.map(|entry| {
                let (revision, value) = entry.value();
                Entry {
                    key,
                    revision,
                    value: value.to_vec(),
                }
            }))
        })
    }

    fn list(&self, prefix: &str) -> Answer<'_, Vec<Entry>> {
        let prefix = prefix.to_owned();
        self.blocking("read", move |database| {
            let transaction = database.begin_read().map_err(engine("read"))?;
            let values = transaction.open_table(VALUES).map_err(engine("read"))?;
            let mut entries = Vec::new();
            for entry in values.range(prefix.as_str()..).map_err(engine("read"))? {
                let (key, value) = entry.map_err(engine("read"))?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                let (revision, value) = value.value();
                entries.push(Entry {
                    key: key.value().to_owned(),
                    revision,
                    value: value.to_vec(),
                });
            }
            Ok(entries)
        })
    }

    fn put(&self, key: &str, value: Vec<u8>, expect: Expect) -> Answer<'_, u64> {
        self.write(key, Some(value), expect)
    }

    fn delete(&self, key: &str, revision: u64) -> Answer<'_, ()> {
        let written = self.write(key, None, Expect::Revision(revision));
        async move { written.await.map(|_| ()) }.boxed()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

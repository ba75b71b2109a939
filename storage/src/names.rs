//! What datasets and snapshots may be called.
//!
//! Narrower than zfs(8) allows (no blanks, no `%`), so that a name is the same in a URL, a path and a table.

use axion_api::volume::{ZVOLS, zvol};
use axion_core::config::is_pool_name;

use crate::error::StorageError;

/// Longest whole name, bytes: ZFS_MAX_DATASET_NAME_LEN less the terminator.
const LONGEST: usize = 255;

const DATASET_FORM: &str = "a pool's name and parts of a-z, A-Z, 0-9, `_`, `-`, `.` and `:` joined by `/`, none starting with `-` \
                            or `.`, 255 bytes in all, as in `tank/scratch`";

fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    !part.is_empty() && part.chars().all(allowed) && !part.starts_with(['-', '.'])
}

/// Whether this can be a dataset's whole name.
pub fn is_dataset(name: &str) -> bool {
    let mut parts = name.split('/');
    name.len() <= LONGEST && parts.next().is_some_and(is_pool_name) && parts.all(is_part)
}

/// Checks the name of a pool.
///
/// # Errors
/// It is none; the message says what is allowed.
pub fn pool(name: &str) -> Result<(), StorageError> {
    if is_pool_name(name) {
        return Ok(());
    }
    let name = name.escape_debug();
    let form = axion_core::config::POOL_NAME_FORM;
    Err(StorageError::invalid(format!(
        "`{name}` is not a pool's name; allowed are {form}"
    )))
}

/// Checks the name of a dataset.
///
/// # Errors
/// It is none; the message says what is allowed.
pub fn dataset(name: &str) -> Result<(), StorageError> {
    if is_dataset(name) {
        return Ok(());
    }
    let name = name.escape_debug();
    Err(StorageError::invalid(format!(
        "`{name}` is not a dataset's name; allowed are {DATASET_FORM}"
    )))
}

/// Checks the name of a snapshot; its dataset and its own part.
///
/// # Errors
/// It is none; the message says what is allowed.
pub fn snapshot(name: &str) -> Result<(&str, &str), StorageError> {
    let parts = name
        .split_once('@')
        .filter(|(of, part)| name.len() <= LONGEST && is_dataset(of) && is_part(part));
    parts.ok_or_else(|| {
        let name = name.escape_debug();
        StorageError::invalid(format!(
            "`{name}` is not a snapshot's name; allowed are a dataset's name, `@` and a part of a-z, A-Z, 0-9, `_`, `-`, `.` \
             and `:`, as in `tank/scratch@monday`"
        ))
    })
}

/// The pool that a dataset is in.
pub fn pool_of(dataset: &str) -> &str {
    dataset.split(['/', '@']).next().unwrap_or(dataset)
}

/// Part of the name of what belongs to the node itself: `POOL/axion`.
const SYSTEM: &str = "axion";

/// Whether a dataset or snapshot belongs to the node itself.
pub fn is_system(name: &str) -> bool {
    name.split(['/', '@']).nth(1) == Some(SYSTEM)
}

/// Whether this is the zvol of a volume, or a snapshot of one.
pub fn is_volume(name: &str) -> bool {
    let dataset = name.split('@').next().unwrap_or(name);
    let within = dataset
        .split_once('/')
        .and_then(|(_, rest)| rest.strip_prefix(ZVOLS));
    within
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| !rest.contains('/'))
}

/// What the zvols of volumes in a pool are below.
pub fn volumes(pool: &str) -> String {
    format!("{pool}/{ZVOLS}")
}

/// The zvol of the volume `name` in a pool.
///
/// # Errors
/// One of the names is none.
pub fn volume(pool: &str, name: &str) -> Result<String, StorageError> {
    self::pool(pool)?;
    let whole = zvol(pool, name);
    if name.contains('/') {
        let name = name.escape_debug();
        return Err(StorageError::invalid(format!("`{name}` is not a volume's name")));
    }
    dataset(&whole)?;
    Ok(whole)
}

/// The node's own dataset of that name in a pool: `POOL/axion/NAME`; the one above them with an empty name.
pub fn system(pool: &str, name: &str) -> String {
    if name.is_empty() {
        format!("{pool}/{SYSTEM}")
    } else {
        format!("{pool}/{SYSTEM}/{name}")
    }
}

#[cfg(test)]
mod tests;

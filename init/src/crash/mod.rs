//! How the kernel before this one ended, where that was unexpected (pstore, Documentation/admin-guide/pstore-blk.rst).
//!
//! ```text
//! ready ─> mount pstore ─> read what firmware or memory kept ─> the last crash ─> stored, flushed ─> cleared in the backend
//! ```
//! A boot never waits for this: an NVRAM may take seconds to be read, and may hang. A node that keeps no state leaves its last
//! crash where it is, so that it is still there after the next start, and clears the older ones: an NVRAM that is full keeps
//! nothing more, and some machines do not start with one.

mod parse;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axion_api::recovery::{Crash, NoticeKind};
use axion_core::paths;

use self::parse::Record;
use crate::failure::chain;
use crate::files::{self, Access};
use crate::mounts;
use crate::node::Node;
use crate::sync::lock;

/// Records that are looked at; a backend keeps a few dozen.
const MOST_RECORDS: usize = 512;
/// Bytes of a record that are read.
const LARGEST_RECORD: u64 = 128 << 10;
/// The kernel's log is for the node's own services.
const ACCESS: Access = Access {
    uid: 0,
    gid: paths::GROUP_AXION,
    mode: 0o640,
};

/// Looks for a crash on a thread of its own: one that hangs in the firmware holds nothing up.
pub fn look_after_boot(node: &Arc<Node>) {
    let thread = std::thread::Builder::new()
        .name("crash".to_owned())
        .stack_size(256 * 1024);
    let told = node.clone();
    if let Err(error) = thread.spawn(move || look(&told)) {
        node.log
            .warning(&format!("cannot look for a crash of the kernel before: {error}"));
    }
}

fn look(node: &Node) {
    let place = Path::new(mounts::PSTORE.target);
    if !place.exists() {
        return;
    }
    if let Err(error) = mounts::PSTORE.perform() {
        node.log.warning(&chain(&error));
        return;
    }
    let persistent = lock(&node.status).persistent_state;
    match take(place, Path::new(paths::LAST_CRASH), persistent) {
        Ok(None) => {}
        Ok(Some(crash)) => {
            let text = format!(
                "the kernel before this one ended unexpectedly ({}): {}; its log is in {}",
                crash.summary.reason,
                crash.summary.headline,
                paths::LAST_CRASH
            );
            node.log.warning(&text);
            node.notice(NoticeKind::Crash, text);
        }
        Err(error) => node.log.error(&format!(
            "the crash of the kernel before stays in the firmware: {}",
            chain(&*error)
        )),
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Keeps the last crash of those at `from` in the file `to`, and then clears what need not stay.
fn take(from: &Path, to: &Path, persistent: bool) -> Result<Option<Crash>, Failed> {
    let records = read(from)?;
    let Some(found) = parse::last(&records) else {
        return Ok(None);
    };
    files::keep(to, &serde_json::to_vec(&found.crash)?, ACCESS)?;
    for name in parse::to_clear(&records, &found, persistent) {
        // Removing the file clears the record; one that cannot be cleared is found again, which harms nobody.
        let _ = fs::remove_file(from.join(name));
    }
    Ok(Some(found.crash))
}

fn read(from: &Path) -> Result<Vec<Record>, Failed> {
    use std::io::Read;
    let mut records = Vec::new();
    for entry in fs::read_dir(from)?.take(MOST_RECORDS) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let mut content = Vec::new();
        let Ok(file) = fs::File::open(entry.path()) else {
            continue;
        };
        let modified = file.metadata().and_then(|m| m.modified());
        if file.take(LARGEST_RECORD).read_to_end(&mut content).is_err() {
            continue;
        }
        let since = modified
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        records.push(Record {
            name,
            unix_s: since.unwrap_or_default().as_secs(),
            text: String::from_utf8_lossy(&content).into_owned(),
        });
    }
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}

#[cfg(test)]
mod tests;

//! Which `/dev/zdN` is which zvol.
//!
//! The kernel makes the nodes, named by number; the links `/dev/zvol/POOL/NAME` are udev's elsewhere. Here they are made from
//! what each device says of itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::wait::until;
use crate::{names, sys};

/// How long the kernel may take to show a zvol that was made.
const SHOWN: Duration = Duration::from_secs(10);

/// Every zvol: name of the dataset, node (`zd16`).
pub fn nodes(dev: &Path, sys: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(sys.join("block"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let zvols = names.filter(|name| name.strip_prefix("zd").is_some_and(|n| n.parse::<u32>().is_ok()));
    zvols
        .filter_map(|node| {
            let device = File::open(dev.join(&node)).ok()?;
            Some((sys::zvol_name(&device)?, node))
        })
        .collect()
}

/// Whether an open device is the zvol `name`.
pub fn is(device: &File, name: &str) -> bool {
    sys::zvol_name(device).as_deref() == Some(name)
}

/// The node of the zvol `name`.
pub fn node(dev: &Path, sys: &Path, name: &str) -> Option<PathBuf> {
    nodes(dev, sys).get(name).map(|node| dev.join(node))
}

/// Makes the links below `/dev/zvol` what they should be. Those that are right stay: a VM may be opening one.
pub fn link(dev: &Path, sys: &Path) {
    let links = dev.join("zvol");
    let wanted: BTreeMap<PathBuf, String> = nodes(dev, sys)
        .into_iter()
        .filter(|(name, _)| names::is_dataset(name))
        .map(|(name, node)| {
            let up = "../".repeat(name.split('/').count());
            (links.join(name), format!("{up}{node}"))
        })
        .collect();
    prune(&links, &wanted);
    for (path, target) in &wanted {
        if std::fs::read_link(path).is_ok() {
            continue;
        }
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let _ = std::os::unix::fs::symlink(target, path);
    }
}

/// Removes links that are not wanted, and directories that have none left.
fn prune(directory: &Path, wanted: &BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            prune(&path, wanted);
            // It stays where something is left in it.
            let _ = std::fs::remove_dir(&path);
        } else if std::fs::read_link(&path).ok().as_deref() != wanted.get(&path).map(Path::new) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Waits until the kernel shows the zvol `name`; its node.
pub fn wait(dev: &Path, sys: &Path, name: &str) -> Option<PathBuf> {
    until(Instant::now() + SHOWN, Duration::from_millis(50), || {
        node(dev, sys, name)
    })
}

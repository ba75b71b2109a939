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

/// Makes the links below `/dev/zvol` what they should be.
pub fn link(dev: &Path, sys: &Path) {
    let wanted = nodes(dev, sys);
    let links = dev.join("zvol");
    // What is gone leaves its link; the whole tree is small.
    let _ = std::fs::remove_dir_all(&links);
    for (name, node) in wanted.iter().filter(|(name, _)| names::is_dataset(name)) {
        let path = links.join(name);
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let up = "../".repeat(name.split('/').count());
        let _ = std::os::unix::fs::symlink(format!("{up}{node}"), path);
    }
}

/// Waits until the kernel shows the zvol `name`; its node.
pub fn wait(dev: &Path, sys: &Path, name: &str) -> Option<PathBuf> {
    until(Instant::now() + SHOWN, Duration::from_millis(50), || {
        nodes(dev, sys).get(name).map(|node| dev.join(node))
    })
}

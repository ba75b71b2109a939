//! What an initramfs may have besides `/init` and `/axion`. An image that was built with firmware: device firmware in `/lib/firmware`,
//! and the archive of CPU microcode, which the kernel has unpacked to `/kernel`. One that systemd-stub has started: what it leaves
//! in `/.extra`.
//!
//! Drivers ask for firmware before the root is there and afterwards, so it is shown at the same place in the root. What starts next,
//! the kernel once more or an installed disk, gets it too.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use crate::log::Log;

const FIRMWARE: &str = "lib/firmware";
const STUB: &str = ".extra";
const MICROCODE: &str = "kernel/x86/microcode";
/// Where the root shows firmware.
const IN_ROOT: &str = "/newroot/usr/lib/firmware";
const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

/// A file or directory of the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its name in an archive.
    pub name: String,
    /// Its kind and mode.
    pub mode: u32,
    /// The file; none: it is a directory.
    pub file: Option<PathBuf>,
}

/// Device firmware in the initramfs at `root`.
pub fn firmware(root: &Path) -> Vec<Extra> {
    below(root, FIRMWARE)
}

/// What systemd-stub left in the initramfs at `root`.
pub fn stub(root: &Path) -> Vec<Extra> {
    below(root, STUB)
}

/// CPU microcode in the initramfs at `root`.
pub fn microcode(root: &Path) -> Vec<Extra> {
    below(root, MICROCODE)
}

/// `place` and what is in it, with the directories above it; each directory before what is in it. Nothing where there is no such
/// directory.
fn below(root: &Path, place: &str) -> Vec<Extra> {
    if !root.join(place).is_dir() {
        return Vec::new();
    }
    let directory = |name: String| Extra {
        name,
        mode: DIRECTORY,
        file: None,
    };
    let parts: Vec<&str> = place.split('/').collect();
    let above = (1..parts.len()).map(|count| parts.iter().take(count).copied().collect::<Vec<_>>().join("/"));
    let mut found: Vec<Extra> = above.map(directory).collect();
    let mut waiting = vec![place.to_owned()];
    while let Some(name) = waiting.pop() {
        let path = root.join(&name);
        if path.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let mut names: Vec<String> = names.map(|below| format!("{name}/{below}")).collect();
            // The last is looked at first.
            names.sort_unstable_by(|a, b| b.cmp(a));
            waiting.extend(names);
            found.push(directory(name));
        } else {
            found.push(Extra {
                name,
                mode: FILE,
                file: Some(path),
            });
        }
    }
    found
}

/// Shows firmware in the root that is mounted; where that fails, drivers find it until the switch.
pub fn show(log: &Log) {
    let from = Path::new("/").join(FIRMWARE);
    if !from.is_dir() {
        return;
    }
    let flags = MsFlags::MS_BIND;
    if let Err(error) = mount(Some(&from), IN_ROOT, None::<&str>, flags, None::<&str>) {
        log.warning(&format!("firmware is not shown in the root: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them() {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in [("ti/b.zst", "b"), ("a.zst", "a"), ("ti/c/d.zst", "d")] {
            let path = root.path().join(FIRMWARE).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let found = below(root.path(), FIRMWARE);
        let names: Vec<(&str, bool)> = found
            .iter()
            .map(|extra| (extra.name.as_str(), extra.file.is_some()))
            .collect();
        assert_eq!(
            names,
            [
                ("lib", false),
                ("lib/firmware", false),
                ("lib/firmware/a.zst", true),
                ("lib/firmware/ti", false),
                ("lib/firmware/ti/b.zst", true),
                ("lib/firmware/ti/c", false),
                ("lib/firmware/ti/c/d.zst", true),
            ]
        );
        assert!(below(root.path(), MICROCODE).is_empty());
    }
}

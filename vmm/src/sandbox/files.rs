//! What of the file system is left.

use std::path::Path;

use axion_api::vmm::in_force::Coverage;
use axion_sandbox::files::{self, AccessFs, READ, RulesetError, RulesetStatus};

/// What the process still does with files: remove its sockets, and tell how many pages there are.
const SYSFS: [&str; 2] = ["/sys/devices/system/node", "/sys/kernel/mm/hugepages"];

/// Directories that are left.
pub fn kept(run_dir: &Path) -> Vec<&Path> {
    let sysfs = SYSFS.iter().map(Path::new);
    sysfs.chain([run_dir]).collect()
}

/// Restricts the calling thread, and those that it starts, to `run_dir` and [`SYSFS`]. What is open stays usable.
pub fn restrict(run_dir: &Path) -> Result<Coverage, RulesetError> {
    let sysfs = SYSFS.iter().map(|path| (Path::new(path), READ));
    let own = (run_dir, READ | AccessFs::RemoveFile);
    Ok(match files::restrict(sysfs.chain([own]))? {
        RulesetStatus::FullyEnforced => Coverage::Full,
        RulesetStatus::PartiallyEnforced => Coverage::Part,
        RulesetStatus::NotEnforced => Coverage::None,
    })
}

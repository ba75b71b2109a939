//! Landlock: what of the file system is left.

use std::path::Path;

use axion_api::vmm::in_force::Coverage;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// The newest rules that are asked for; an older kernel enforces what it knows.
const RULES: ABI = ABI::V6;
/// What the process still does with files: remove its sockets, and tell how many pages there are.
const SYSFS: [&str; 2] = ["/sys/devices/system/node", "/sys/kernel/mm/hugepages"];

/// Directories that are left.
pub fn kept(run_dir: &Path) -> Vec<&Path> {
    let sysfs = SYSFS.iter().map(Path::new);
    sysfs.chain([run_dir]).collect()
}

/// Restricts the calling thread, and those that it starts, to `run_dir` and [`SYSFS`]. What is open stays usable.
pub fn restrict(run_dir: &Path) -> Result<Coverage, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let own: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir | RemoveFile});
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let paths = SYSFS.iter().map(|path| (Path::new(path), read));
    for (path, access) in paths.chain([(run_dir, own)]) {
        // What is not there need not be allowed.
        if let Ok(path) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(path, access))?;
        }
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Coverage::Full,
        RulesetStatus::PartiallyEnforced => Coverage::Part,
        RulesetStatus::NotEnforced => Coverage::None,
    })
}

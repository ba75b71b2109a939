//! Landlock: what of the file system is left.

use std::path::Path;

use landlock::{
    ABI, Access, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    make_bitflags,
};
pub use landlock::{AccessFs, BitFlags, RulesetError, RulesetStatus};

/// The newest rules that are asked for; an older kernel enforces what it knows.
const RULES: ABI = ABI::V6;
/// Reading files, and listing directories.
pub const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Restricts the calling thread, and those that it starts, to what it may do below some paths; no TCP port, no connection, no
/// abstract socket, no signal to a process outside. What is open stays usable. Says how much of it the kernel enforces.
///
/// # Errors
/// The kernel knows Landlock and refuses the rules.
pub fn restrict<'p>(
    paths: impl IntoIterator<Item = (&'p Path, BitFlags<AccessFs>)>,
) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    for (path, access) in paths {
        // What is not there need not be allowed.
        if let Ok(path) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(path, access))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

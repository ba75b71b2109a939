//! Seccomp: lists of system calls, and a filter of them.

use std::collections::BTreeMap;

use nix::libc;
pub use seccompiler::{BackendError, BpfProgram, Error as ApplyError, SeccompAction as Action, apply_filter};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// A system call of a list.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// With any arguments.
    Any(libc::c_long),
    /// Where the low half of an argument has a value under a mask: number, argument from 0 to 5, mask, value. Of several for one
    /// call, one has to hold.
    If(libc::c_long, u8, u32, u32),
}

/// All bits of an argument, as a mask.
pub const EXACT: u32 = u32::MAX;
/// `PROT_EXEC`.
pub const EXECUTABLE: u32 = 4;
/// Flags of a clone that makes a thread: `CLONE_THREAD` and `CLONE_VM`.
pub const THREAD: u32 = 0x0001_0100;
/// `PR_SET_NAME`.
pub const SET_NAME: u32 = 15;
/// `FIONBIO`.
pub const SET_NONBLOCKING: u32 = 0x5421;

/// What a call fails with of which the kernel is to look as if it did not have it: glibc then takes an older one.
pub const MISSING: Action = Action::Errno(libc::ENOSYS.unsigned_abs());

/// A filter: what is done with calls that are in one of the lists, and with others.
///
/// # Errors
/// An argument that no call has, or more rules than a filter holds.
pub fn filter<'r>(
    lists: impl IntoIterator<Item = &'r [Rule]>,
    listed: Action,
    otherwise: Action,
) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in lists.into_iter().flatten() {
        match *rule {
            Rule::Any(call) => drop(rules.insert(call, Vec::new())),
            Rule::If(call, argument, mask, value) => {
                let operator = SeccompCmpOp::MaskedEq(mask.into());
                let condition =
                    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())?;
                rules
                    .entry(call)
                    .or_default()
                    .push(SeccompRule::new(vec![condition])?);
            }
        }
    }
    SeccompFilter::new(rules, otherwise, listed, TargetArch::x86_64)?.try_into()
}

#[cfg(test)]
mod tests;

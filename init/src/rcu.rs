//! Grace periods of the kernel's RCU during the boot.
//!
//! Cgroup moves, module loads and unmounts each wait for some. The kernel hurries them until it starts init
//! (`rcu_expedited`, Documentation/admin-guide/kernel-parameters.rst); for a node the boot ends when it is ready. After
//! that, the interrupts that hurrying costs would disturb isolated CPUs.

use std::path::Path;

use crate::failure::chain;
use crate::files;
use crate::log::Log;

/// Hurries grace periods, or stops doing so.
pub fn hurry(on: bool, log: &Log) {
    let value = if on { "1" } else { "0" };
    if let Err(e) = files::set(Path::new("/sys/kernel/rcu_expedited"), value) {
        log.warning(&chain(&e));
    }
}

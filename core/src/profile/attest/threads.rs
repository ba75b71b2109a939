//! Who of the host runs on the workloads' CPUs.

use super::{Finding, Probe};
use crate::config::ProfileMode;
use crate::profile::Plan;
use crate::threads::{Thread, strays};

/// Strays that are named.
const NAMED: usize = 4;

/// Threads of the host on the workloads' CPUs. Only `hpc` keeps those of the kernel away that it makes later.
pub(super) fn threads(probe: &Probe<'_>, plan: &Plan) -> Finding {
    let strays: Vec<&Thread> = strays(probe.threads(), &plan.isolated)
        .into_iter()
        .filter(|thread| plan.mode == ProfileMode::Hpc || !thread.kernel)
        .collect();
    if strays.is_empty() {
        return Finding::ok("none");
    }
    let mut named: Vec<String> = strays
        .iter()
        .take(NAMED)
        .map(|thread| format!("{} ({}) on {}", thread.name, thread.id, thread.last_cpu))
        .collect();
    if let Some(more @ 1..) = strays.len().checked_sub(NAMED) {
        named.push(format!("{more} more"));
    }
    let fix = "put the profile in force again; a service that pins itself there must not";
    Finding::drifted(named.join(", "), fix)
}

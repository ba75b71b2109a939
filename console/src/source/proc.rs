//! What the kernel says of CPUs, memory and time.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::node::Load;

/// Jiffies since the start, from `/proc/stat` (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    busy: u64,
    all: u64,
}

/// Time since the kernel started.
pub fn uptime(root: &Path) -> Duration {
    let text = std::fs::read_to_string(root.join("proc/uptime")).unwrap_or_default();
    let seconds = text
        .split(['.', ' '])
        .next()
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

/// Time since 1970 by the node's clock.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// CPU use since `before`, memory in use, and the CPU times for the next look.
pub fn load(root: &Path, before: Option<&CpuTimes>) -> (Load, Option<CpuTimes>) {
    let read = |name: &str| std::fs::read_to_string(root.join("proc").join(name)).unwrap_or_default();
    let (stat, meminfo) = (read("stat"), read("meminfo"));
    let times = cpu_times(&stat);
    let total = mebibytes(&meminfo, "MemTotal:");
    let used = total.saturating_sub(mebibytes(&meminfo, "MemAvailable:"));
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    };
    let load = Load {
        cpu_percent: before
            .zip(times.as_ref())
            .and_then(|(before, now)| percent(before, now)),
        cpus: stat.lines().filter(is_cpu).count(),
        memory_mib: total,
        used_mib: used,
    };
    (load, times)
}

fn cpu_times(stat: &str) -> Option<CpuTimes> {
    // user nice system idle iowait irq softirq steal; guest time is part of user and nice.
    let fields = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8);
    let jiffies: Vec<u64> = fields.filter_map(|n| n.parse().ok()).collect();
    let all = jiffies.iter().sum::<u64>();
    let idle = jiffies.get(3)? + jiffies.get(4)?;
    Some(CpuTimes {
        busy: all.saturating_sub(idle),
        all,
    })
}

fn percent(before: &CpuTimes, now: &CpuTimes) -> Option<u8> {
    let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
    u8::try_from(now.busy.saturating_sub(before.busy).min(all) * 100 / all).ok()
}

fn mebibytes(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_the_share_of_jiffies_that_were_not_idle() {
        let before = cpu_times("cpu  100 0 50 800 50 0 0 0 70 0\ncpu0 1\n").unwrap();
        let now = cpu_times("cpu  150 0 50 925 75 0 0 0 90 0\n").unwrap();
        assert_eq!(percent(&before, &now), Some(25));
        assert_eq!(percent(&now, &now), None);
        assert_eq!(percent(&now, &before), None);
        assert_eq!(cpu_times("intr 5\n"), None);
    }

    #[test]
    fn memory_is_in_mebibytes() {
        assert_eq!(
            mebibytes("MemTotal:  2048 kB\nMemAvailable: 1024 kB\n", "MemAvailable:"),
            1
        );
        assert_eq!(mebibytes("", "MemTotal:"), 0);
    }
}

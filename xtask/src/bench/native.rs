//! What the VMM's start costs this computer's own CPU: from the process's start to its API socket.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axion_api::vmm::{API_SOCKET, CONFIG_FILE};
use axion_vmm_bench::kernel;
use axion_vmm_bench::run::rest;

/// A VMM that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// CPU time of `rounds` starts of the VMM `program`; none where this computer has no `/dev/kvm`.
pub fn starts(program: &Path, rounds: usize) -> Result<Vec<Duration>> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Vec::new());
    }
    (0..rounds).map(|_| start(program)).collect()
}

fn start(program: &Path) -> Result<Duration> {
    let dir = tempfile::tempdir()?;
    let kernel_file = dir.path().join("byte.elf");
    fs::write(&kernel_file, kernel::file())?;
    let config = serde_json::json!({
        "name": "bench",
        "cpus": 1,
        "memory": { "size": 128 << 20 },
        "boot": { "kernel": kernel_file, "cmdline": "" },
    });
    fs::write(dir.path().join(CONFIG_FILE), config.to_string())?;
    let socket = dir.path().join(API_SOCKET);
    let mut child = Command::new(program)
        .arg("--run-dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let end = Instant::now() + PATIENCE;
    let time = loop {
        if socket.exists() {
            break cpu_time(child.id());
        }
        if Instant::now() > end || child.try_wait()?.is_some() {
            break Err(anyhow::anyhow!("it made no API socket"));
        }
        rest(Duration::from_micros(50));
    };
    let _ = child.kill();
    child.wait()?;
    time
}

/// CPU time of all threads of a process (Documentation/scheduler/sched-stats.rst: the first field of `schedstat`, ns).
fn cpu_time(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let file = task?.path().join("schedstat");
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let Some(time) = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<u64>().ok())
        else {
            bail!("{}: {text:?}", file.display());
        };
        sum += time;
    }
    Ok(Duration::from_nanos(sum))
}

//! Init of a measured guest: says that it is there, does its job, and waits to be killed.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use axion_vmm_bench::{DISK_SIZE, DONE, JOB, Job, MEASURED, Measured, USERSPACE, disk, net};
use nix::mount::{MsFlags, mount};

const NONE: Option<&str> = None;

fn main() {
    say(USERSPACE);
    match work() {
        Ok(measured) => {
            for one in measured {
                say(&format!(
                    "{MEASURED}{}",
                    serde_json::to_string(&one).unwrap_or_default()
                ));
            }
            say(DONE);
        }
        Err(error) => say(&format!("bench failed: {error:#}; {DONE}")),
    }
    loop {
        nix::unistd::pause();
    }
}

fn say(line: &str) {
    let mut console = std::io::stdout();
    // There is nobody to tell of a console that does not work.
    let _ = console.write_all(format!("{line}\n").as_bytes());
    let _ = console.flush();
}

fn work() -> Result<Vec<Measured>> {
    for (kind, place) in [("proc", "/proc"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(place)?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), NONE)
            .with_context(|| format!("mounting {kind}"))?;
    }
    let line = fs::read_to_string("/proc/cmdline")?;
    let job = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(JOB))
        .context("no job on the command line")?;
    match serde_json::from_value(job.into())? {
        Job::Byte | Job::Idle => Ok(Vec::new()),
        Job::Disk => disk::measure(Path::new("/dev/vda"), DISK_SIZE),
        Job::Net => {
            net::interface::bring_up("eth0", net::GUEST).context("eth0")?;
            net::measure()
        }
    }
}

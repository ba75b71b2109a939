//! Init of the host on which VMMs are measured: one after the other, in turns, results on the log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axion_vmm_bench::run::{Run, rest};
use axion_vmm_bench::vmm::Vmm;
use axion_vmm_bench::{
    DIRECTORY, DISK, DISK_SIZE, DONE, END, Figure, Job, MEASURED, MISSED, Measured, PLAN, Plan, SAMPLE,
    Sample, USERSPACE, kernel, net,
};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

const NONE: Option<&str> = None;
/// The serial port that the lab reads.
const LOG: &str = "/dev/ttyS1";
/// A guest that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// A guest that got to user space has touched what it needs after this.
const SETTLE: Duration = Duration::from_millis(500);

fn main() {
    if let Err(error) = measure() {
        say(&format!("bench failed: {error:#}"));
    }
    say(END);
    // What was printed is to leave the serial port before the machine does.
    rest(Duration::from_millis(200));
    // Only an error comes back; an init that then returns makes the kernel panic, which ends the machine too.
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

fn say(line: &str) {
    if let Ok(mut log) = File::options().write(true).open(LOG) {
        let _ = log.write_all(format!("{line}\n").as_bytes());
    }
}

fn measure() -> Result<()> {
    let mounts = [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
    ];
    for (kind, place) in mounts {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), NONE)
            .with_context(|| format!("mounting {kind}"))?;
    }
    load_kvm()?;
    net::interface::create_tap(net::TAP).context("making the tap device")?;
    net::interface::bring_up(net::TAP, net::HOST).context("bringing up the tap device")?;
    net::echo()?;
    // Written, so that reads find pages and not a hole.
    let mut disk = File::create(DISK)?;
    let piece = vec![0x5a; 1 << 20];
    for _ in 0..DISK_SIZE >> 20 {
        disk.write_all(&piece)?;
    }
    drop(disk);
    warm(Path::new(DIRECTORY))?;
    warm(Path::new(axion_vmm_bench::KERNEL))?;
    warm(Path::new(axion_vmm_bench::vmm::AXION))?;
    let plan: Plan = serde_json::from_slice(&fs::read(PLAN)?)?;
    let mut number = 0;
    for round in 0..=plan.rounds {
        for job in [Job::Byte, Job::Idle, Job::Disk, Job::Net] {
            // The first round only fills caches, and is for the short jobs.
            if round == 0 && job != Job::Byte && job != Job::Idle {
                continue;
            }
            for vmm in plan.vmms.iter().filter(|vmm| vmm.can(job)) {
                number += 1;
                let dir = PathBuf::from(format!("/run/vm{number}"));
                match one(*vmm, job, &dir) {
                    Ok(samples) if round > 0 => samples.iter().for_each(print),
                    Ok(_) => {}
                    Err(error) => say(&format!("{MISSED}{} {job:?}: {error:#}", vmm.name())),
                }
            }
        }
    }
    Ok(())
}

fn print(sample: &Sample) {
    say(&format!(
        "{SAMPLE}{}",
        serde_json::to_string(sample).unwrap_or_default()
    ));
}

/// Loads KVM for this processor.
fn load_kvm() -> Result<()> {
    let modules = fs::read_dir("/usr/lib/modules")?
        .next()
        .context("no modules")??
        .path()
        .join("kernel/arch/x86/kvm");
    for name in ["kvm.ko", "kvm-amd.ko", "kvm-intel.ko"] {
        let file = modules.join(name);
        let loaded = finit_module(File::open(&file)?, c"", ModuleInitFlags::empty());
        if let Err(errno) = loaded
            && name == "kvm.ko"
        {
            bail!("loading {}: {errno}", file.display());
        }
    }
    fs::metadata("/dev/kvm").context("the processor has no virtualization: no /dev/kvm")?;
    Ok(())
}

/// Reads everything once, so that nobody waits for the host's disk.
fn warm(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            warm(&entry?.path())?;
        }
    } else if path.is_file() {
        io::copy(&mut File::open(path)?, &mut io::sink())?;
    }
    Ok(())
}

/// One run of `vmm` for `job`.
fn one(vmm: Vmm, job: Job, dir: &Path) -> Result<Vec<Sample>> {
    let mut run = Run::start(vmm, job, dir)?;
    let sample = |figure, value| Sample { vmm, figure, value };
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    if job == Job::Byte {
        let text = char::from(kernel::BYTE).to_string();
        let time = run.wait_for(&text, PATIENCE)?;
        return Ok(vec![sample(Figure::FirstByte, micros(time))]);
    }
    let time = run.wait_for(USERSPACE, PATIENCE)?;
    if job == Job::Idle {
        rest(SETTLE);
        let overhead = run.overhead()?;
        return Ok(vec![
            sample(Figure::Userspace, micros(time)),
            sample(Figure::Overhead, overhead.resident as f64),
            sample(Figure::OverheadAnonymous, overhead.anonymous as f64),
        ]);
    }
    run.wait_for(DONE, PATIENCE)?;
    let lines = run.text().lines().filter_map(|line| line.split_once(MEASURED));
    let measured: Vec<Measured> = lines
        .map(|(_, json)| serde_json::from_str(json.trim()).context("what the guest measured"))
        .collect::<Result<_>>()?;
    if measured.is_empty() {
        let start = run.text().chars().count().saturating_sub(300);
        bail!("{:?}", run.text().chars().skip(start).collect::<String>());
    }
    Ok(measured.into_iter().map(|m| sample(m.figure, m.value)).collect())
}

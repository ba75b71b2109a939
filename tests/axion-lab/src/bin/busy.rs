//! What hits the CPUs of any kernel while each of them is kept busy: an init that pins a loop to each CPU but the first, counts
//! interrupts for a while, prints what came, and powers off.
//!
//! `busy.cpus=1,3` and `busy.seconds=10` on the kernel command line say where and how long.

use std::io::Write;
use std::time::{Duration, Instant};

use axion_core::cmdline::CommandLine;
use axion_core::proof::{Evidence, Sample, Spun, Table, prove};
use axion_core::topology::CpuSet;
use nix::mount::{MsFlags, mount};
use nix::sched::sched_setaffinity;
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::Pid;

/// Between the start of the loops and the window, and behind it.
const SETTLE: Duration = Duration::from_secs(2);

fn main() {
    let line = match run() {
        Ok(text) => text,
        Err(error) => format!("axion: busy: failed: {error}\n"),
    };
    let _ = std::io::stdout().write_all(line.as_bytes());
    // Only an error comes back; an init that then returns makes the kernel panic, which ends the machine too.
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let _ = std::fs::create_dir("/proc");
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    let cmdline = CommandLine::parse(&std::fs::read_to_string("/proc/cmdline")?);
    let wanted = |key: &str| cmdline.get(key).ok_or(format!("{key}= is not given"));
    let cpus: CpuSet = wanted("busy.cpus")?.parse()?;
    let window = Duration::from_secs(wanted("busy.seconds")?.parse()?);
    let until = Instant::now() + SETTLE + window + SETTLE;
    for cpu in cpus.iter() {
        std::thread::Builder::new()
            .name(format!("busy{cpu}"))
            .spawn(move || spin(cpu, until))?;
    }
    // This thread, which sleeps and reads, stays where nothing is measured.
    pin(0)?;
    wait(SETTLE);
    let before = sample();
    wait(window);
    let after = sample();
    let proof = prove(Evidence {
        window_ms: u64::try_from(window.as_millis())?,
        spun: cpus
            .iter()
            .map(|cpu| Spun {
                cpu,
                ..Spun::default()
            })
            .collect(),
        before,
        after,
        ..Evidence::default()
    });
    let lines = proof.cpus.iter().map(|cpu| {
        let counts = &cpu.counts;
        format!(
            "axion: busy: cpu {} ticks {} device {} ipis {} other {}\n",
            cpu.cpu, counts.ticks, counts.device_interrupts, counts.ipis, counts.other_interrupts
        )
    });
    Ok(lines.collect::<String>() + "axion: busy: done\n")
}

fn sample() -> Sample {
    let table = |path: &str| Table::parse(&std::fs::read_to_string(path).unwrap_or_default());
    Sample {
        interrupts: table("/proc/interrupts"),
        softirqs: table("/proc/softirqs"),
    }
}

fn pin(cpu: u32) -> nix::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(usize::try_from(cpu).unwrap_or(usize::MAX))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn spin(cpu: u32, until: Instant) {
    let mut state = u64::from(cpu);
    // One that cannot be pinned keeps some CPU busy; the counts then say so.
    let _ = pin(cpu);
    while Instant::now() < until {
        for _ in 0..10_000 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// The time that passes is what is measured; there is no event.
#[expect(clippy::disallowed_methods)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

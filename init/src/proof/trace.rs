//! The kernel's osnoise tracer, watching the probe (Documentation/trace/osnoise-tracer.rst), and timerlat, which wakes a thread on
//! each CPU and takes down how late that was (Documentation/trace/timerlat-tracer.rst).
//!
//! Osnoise usually runs a loop of its own; without `OSNOISE_WORKLOAD` it only tells what interrupts whatever runs, which is the
//! probe. An instance of its own keeps it apart from other users of tracefs. Switching it on and off patches the kernel's
//! code, which interrupts every CPU: it is done before the window and after it, and events are chosen by their time.

use std::path::{Path, PathBuf};

use axion_core::topology::CpuSet;

use crate::files::{self, FileError};

const TRACING: &str = "sys/kernel/tracing";
const INSTANCE: &str = "instances/axion-proof";
const EVENTS: [&str; 5] = [
    "osnoise/irq_noise",
    "osnoise/softirq_noise",
    "osnoise/thread_noise",
    "osnoise/nmi_noise",
    "sched/sched_switch",
];
/// Room for events of a CPU that is measured, KiB: some thousands.
const BUFFER_KIB: &str = "512";
/// Of one that is not.
const LEAST_KIB: &str = "4";

/// Which tracer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What runs instead of the work.
    Osnoise,
    /// How late timers are.
    Timerlat,
}

impl Kind {
    /// As the kernel has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Osnoise => "osnoise",
            Self::Timerlat => "timerlat",
        }
    }

    /// Whether the kernel's own loop, or its threads that a timer wakes, run.
    const fn workload(self) -> &'static str {
        match self {
            Self::Osnoise => "NO_OSNOISE_WORKLOAD",
            Self::Timerlat => "OSNOISE_WORKLOAD",
        }
    }

    const fn events(self) -> &'static [&'static str] {
        match self {
            Self::Osnoise => &EVENTS,
            Self::Timerlat => &[],
        }
    }
}

/// The tracer while it is on.
#[derive(Debug)]
pub struct Tracer {
    tracing: PathBuf,
    instance: PathBuf,
}

impl Tracer {
    /// Switches it on for `cpus`; `None` on a kernel without it.
    ///
    /// # Errors
    /// The kernel refuses one of its settings.
    pub fn open(root: &Path, kind: Kind, cpus: &CpuSet) -> Result<Option<Self>, FileError> {
        let tracing = root.join(TRACING);
        let text = |file: &str| std::fs::read_to_string(tracing.join(file)).unwrap_or_default();
        let has_tracer = text("available_tracers")
            .split_whitespace()
            .any(|name| name == kind.name());
        if !has_tracer || !text("osnoise/options").contains("OSNOISE_WORKLOAD") {
            return Ok(None);
        }
        let instance = tracing.join(INSTANCE);
        // Left by a proof that came to no end.
        let _ = std::fs::remove_dir(&instance);
        if std::fs::create_dir(&instance).is_err() {
            return Ok(None);
        }
        let tracer = Self { tracing, instance };
        tracer.switch_on(kind, cpus)?;
        Ok(Some(tracer))
    }

    fn switch_on(&self, kind: Kind, cpus: &CpuSet) -> Result<(), FileError> {
        let set = |file: &str, value: &str| files::set(&self.instance.join(file), value);
        files::set(&self.tracing.join("osnoise/cpus"), &cpus.to_string())?;
        files::set(&self.tracing.join("osnoise/options"), kind.workload())?;
        set("trace_clock", "mono")?;
        // Other CPUs switch all the time, and have no room for it.
        set("tracing_cpumask", &cpus.mask())?;
        set("buffer_size_kb", LEAST_KIB)?;
        for cpu in cpus.iter() {
            set(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), BUFFER_KIB)?;
        }
        for event in kind.events() {
            set(&format!("events/{event}/enable"), "1")?;
        }
        set("current_tracer", kind.name())
    }

    /// What it saw, as text; switches it off.
    pub fn read(self) -> Option<String> {
        std::fs::read_to_string(self.instance.join("trace")).ok()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // What cannot be undone does no harm: the instance goes with everything in it.
        let _ = files::set(&self.instance.join("current_tracer"), "nop");
        let _ = files::set(&self.tracing.join("osnoise/options"), "OSNOISE_WORKLOAD");
        let _ = std::fs::remove_dir(&self.instance);
    }
}

#[cfg(test)]
mod tests;

//! The kernel's osnoise tracer, watching the probe (Documentation/trace/osnoise-tracer.rst).
//!
//! It usually runs a loop of its own; without `OSNOISE_WORKLOAD` it only tells what interrupts whatever runs, which is the
//! probe. An instance of its own keeps it apart from other users of tracefs. Switching it on and off patches the kernel's
//! code, which interrupts every CPU: it is done before the window and after it, and events are chosen by their time.

use std::path::{Path, PathBuf};

use axion_core::topology::CpuSet;

use crate::files::{self, FileError};

const TRACING: &str = "sys/kernel/tracing";
const INSTANCE: &str = "instances/axion-proof";
const EVENTS: [&str; 4] = ["irq_noise", "softirq_noise", "thread_noise", "nmi_noise"];
/// Room for events of a CPU that is measured, KiB: some thousands.
const BUFFER_KIB: &str = "512";
/// Of one that is not.
const LEAST_KIB: &str = "4";

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
    pub fn open(root: &Path, cpus: &CpuSet) -> Result<Option<Self>, FileError> {
        let tracing = root.join(TRACING);
        let text = |file: &str| std::fs::read_to_string(tracing.join(file)).unwrap_or_default();
        let has_tracer = text("available_tracers")
            .split_whitespace()
            .any(|name| name == "osnoise");
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
        tracer.switch_on(cpus)?;
        Ok(Some(tracer))
    }

    fn switch_on(&self, cpus: &CpuSet) -> Result<(), FileError> {
        let set = |file: &str, value: &str| files::set(&self.instance.join(file), value);
        files::set(&self.tracing.join("osnoise/cpus"), &cpus.to_string())?;
        files::set(&self.tracing.join("osnoise/options"), "NO_OSNOISE_WORKLOAD")?;
        set("trace_clock", "mono")?;
        set("buffer_size_kb", LEAST_KIB)?;
        for cpu in cpus.iter() {
            set(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), BUFFER_KIB)?;
        }
        for event in EVENTS {
            set(&format!("events/osnoise/{event}/enable"), "1")?;
        }
        set("current_tracer", "osnoise")
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

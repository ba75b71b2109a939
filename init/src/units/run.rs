//! One run of a unit: its process, what that writes, and what is known once it has ended.

use std::sync::Arc;

use super::cgroup::{Cgroup, Shortages};
use super::output::Output;
use super::spawn::{SpawnError, spawn};
use super::spec::Spec;
use super::state::Exit;
use crate::failure::chain;
use crate::log::Log;

/// A run that was begun.
pub struct Run {
    /// Name of the unit.
    pub unit: String,
    cgroup: Cgroup,
    /// Where it goes to the log.
    output: Option<Arc<Output>>,
    /// What the cgroup, which outlives a run, had counted before.
    shortages: Shortages,
}

impl Run {
    /// Starts the process of a unit. Returns its id too.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start(spec: &Spec, log: &Log) -> Result<(u32, Self), SpawnError> {
        let cgroup = Cgroup::of(&spec.name, spec.transient);
        let shortages = cgroup.shortages();
        let process = spawn(spec)?;
        if let Some(missing) = &process.missing {
            log.warning(&format!("unit {}: {}", spec.name, chain(missing)));
        }
        let output = process.output.map(|pipe| {
            let output = Output::new(pipe, spec.name.clone(), spec.transient, log.clone());
            tokio::spawn(output.clone().copy());
            output
        });
        let run = Self {
            unit: spec.name.clone(),
            cgroup,
            output,
            shortages,
        };
        Ok((process.pid, run))
    }

    /// How the process ended, by its raw wait status, and the last line that it wrote.
    pub fn end(&self, status: i32) -> (Exit, Option<String>) {
        let last_line = self.output.as_ref().and_then(|output| output.last_line());
        let exit = Exit::from_raw(status).explained(self.shortages, self.cgroup.shortages());
        (exit, last_line)
    }
}

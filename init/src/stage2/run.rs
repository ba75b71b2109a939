//! Carrying phases out: timed, told to the log and to D-Bus, stopped by an essential task that fails.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::{Outcome, Phase, Task};

use crate::clock;
use crate::failure::{Failure, chain};
use crate::node::{Node, Signal};
use crate::sync::lock;

/// Why a task failed.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;
/// A task that runs.
pub type Running = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;
/// What a task does.
pub type Run = fn(Arc<Node>) -> Running;

/// A task that takes longer is named in the log.
const SLOW_US: u64 = 100_000;

/// A task.
pub struct TaskPlan {
    /// Name.
    pub name: &'static str,
    /// What an operator can do when it fails, for a task without which the boot stops.
    pub essential: Option<&'static str>,
    /// What it does.
    pub run: Run,
}

/// Tasks that run at the same time.
pub struct PhasePlan {
    /// Name.
    pub name: &'static str,
    /// Tasks.
    pub tasks: &'static [TaskPlan],
}

/// Runs every phase in order.
///
/// # Errors
/// The first essential task that failed.
pub async fn all(phases: &[PhasePlan], node: &Arc<Node>) -> Result<(), Failure> {
    for plan in phases {
        let phase = one(plan, node).await;
        tell(&phase, node);
        if let Some(failure) = failure(plan, &phase, node) {
            return Err(failure);
        }
    }
    Ok(())
}

async fn one(plan: &PhasePlan, node: &Arc<Node>) -> Phase {
    let start = clock::since_start();
    let started: Vec<_> = plan
        .tasks
        .iter()
        .map(|task| (task, tokio::spawn(timed((task.run)(node.clone())))))
        .collect();
    let mut tasks = Vec::new();
    for (task, running) in started {
        let (took, error) = match running.await {
            Ok((took, result)) => (took, result.err().map(|e| chain(&*e))),
            // The log has the panic's message.
            Err(e) => (
                clock::since_start().saturating_sub(start),
                Some(format!("internal error: {e}")),
            ),
        };
        tasks.push(Task {
            name: task.name.to_owned(),
            essential: task.essential.is_some(),
            duration_us: clock::micros(took),
            error,
        });
    }
    Phase {
        stage: 2,
        name: plan.name.to_owned(),
        start_us: clock::micros(start),
        duration_us: clock::micros(clock::since_start().saturating_sub(start)),
        outcome: outcome(&tasks),
        tasks,
    }
}

async fn timed(task: Running) -> (Duration, Result<(), TaskError>) {
    let start = clock::since_start();
    let result = task.await;
    (clock::since_start().saturating_sub(start), result)
}

fn outcome(tasks: &[Task]) -> Outcome {
    let failed = |t: &&Task| t.error.is_some();
    if tasks.iter().filter(failed).any(|t| t.essential) {
        Outcome::Failed
    } else if tasks.iter().any(|t| failed(&t)) {
        Outcome::Degraded
    } else {
        Outcome::Ok
    }
}

/// The phase between the stages: the switch to the root and the load of stage 2 from it.
pub fn entered(left_us: u64, began_us: u64) -> Phase {
    Phase {
        stage: 2,
        name: "enter-root".to_owned(),
        start_us: left_us,
        duration_us: began_us.saturating_sub(left_us),
        outcome: Outcome::Ok,
        tasks: Vec::new(),
    }
}

/// Tells the log and D-Bus of a phase that has ended.
pub fn tell(phase: &Phase, node: &Node) {
    for task in &phase.tasks {
        if task.duration_us > SLOW_US && phase.tasks.len() > 1 {
            node.log
                .info(&format!("task {} took {} ms", task.name, task.duration_us / 1000));
        }
        if let Some(error) = &task.error {
            node.log.error(&format!("{}: {error}", task.name));
        }
    }
    let word = match phase.outcome {
        Outcome::Ok => "ok",
        Outcome::Degraded => "degraded",
        Outcome::Failed => "failed",
    };
    node.log.info(&format!(
        "phase {} {word} in {} ms",
        phase.name,
        phase.duration_us / 1000
    ));
    lock(&node.boot).phases.push(phase.clone());
    // Nobody may be listening yet.
    let _ = node.signals.send(Signal::Phase(Box::new(phase.clone())));
}

fn failure(plan: &PhasePlan, phase: &Phase, node: &Node) -> Option<Failure> {
    let failed = phase.tasks.iter().find(|t| t.essential && t.error.is_some())?;
    let next_step = plan
        .tasks
        .iter()
        .find(|t| t.name == failed.name)
        .and_then(|t| t.essential);
    Some(Failure {
        task: format!("finish the task {} of the boot phase {}", failed.name, phase.name),
        cause: failed.error.clone().unwrap_or_default(),
        next_step: next_step.unwrap_or_default().to_owned(),
        boot: node.on_failure(),
    })
}

#[cfg(test)]
mod tests;

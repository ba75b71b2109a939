//! The routes of the control socket; see `axion_api::vmm` for the contract.

use axion_api::problem::{Kind, Problem};
use axion_api::vmm::{VmmMetrics, VmmStatus};

use super::http::{Answer, Request};
use crate::machine::lifecycle::{self, Refusal};

/// What the routes need of the machine.
pub trait Subject {
    /// What it is doing.
    fn status(&self) -> VmmStatus;
    /// What it has counted.
    fn metrics(&self) -> VmmMetrics;
    /// Asks something of it.
    ///
    /// # Errors
    /// [`Refusal`] where its state does not allow it.
    fn request(&self, request: lifecycle::Request) -> Result<(), Refusal>;
}

const VM: &str = "/v1/vm";

/// Answers `request`.
pub fn answer(subject: &impl Subject, request: &Request) -> Answer {
    let Some(rest) = request.path.strip_prefix(VM) else {
        return unknown(&request.path);
    };
    let verb = match rest {
        "" if request.method == "GET" => return Answer::json(&subject.status()),
        "/metrics" if request.method == "GET" => return Answer::json(&subject.metrics()),
        "" | "/metrics" => return Answer::not_allowed(&request.path, "GET"),
        "/power-button" => lifecycle::Request::PowerButton,
        "/reset" => lifecycle::Request::Reset,
        "/pause" => lifecycle::Request::Pause,
        "/resume" => lifecycle::Request::Resume,
        "/stop" => lifecycle::Request::Stop,
        _ => return unknown(&request.path),
    };
    if request.method != "PUT" {
        return Answer::not_allowed(&request.path, "PUT");
    }
    match subject.request(verb) {
        Ok(()) => Answer::done(),
        Err(refusal) => Answer::problem(&Problem::new(Kind::Conflict, refusal.to_string())),
    }
}

fn unknown(path: &str) -> Answer {
    let detail =
        format!("no {path}; there are {VM} and {VM}/metrics, power-button, reset, pause, resume, stop");
    Answer::problem(&Problem::new(Kind::NotFound, detail))
}

#[cfg(test)]
mod tests;

//! The routes of the control socket; see `axion_api::vmm` for the contract.

use axion_api::problem::{Kind, Problem};
use axion_api::vmm::{BalloonSize, MemorySize, VmmMetrics, VmmStatus};

use super::http::{Answer, Request};
use crate::machine::lifecycle;
use crate::machine::{BalloonError, RequestError, ResizeError};

/// What the routes need of the machine.
pub trait Subject {
    /// What it is doing.
    fn status(&self) -> VmmStatus;
    /// What it has counted.
    fn metrics(&self) -> VmmMetrics;
    /// Asks something of it.
    ///
    /// # Errors
    /// [`RequestError`] where its state does not allow it, or something keeps it from answering.
    fn request(&self, request: lifecycle::Request) -> Result<(), RequestError>;
    /// Asks the guest for so many bytes of its memory.
    ///
    /// # Errors
    /// [`BalloonError`].
    fn set_balloon(&self, size: u64) -> Result<(), BalloonError>;
    /// Asks the guest to have so many bytes of memory.
    ///
    /// # Errors
    /// [`ResizeError`].
    fn set_memory(&self, size: u64) -> Result<(), ResizeError>;
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
        "/balloon" if request.method == "PUT" => return balloon(subject, &request.body),
        "/memory" if request.method == "PUT" => return memory(subject, &request.body),
        "/power-button" => lifecycle::Request::PowerButton,
        "/reset" => lifecycle::Request::Reset,
        "/pause" => lifecycle::Request::Pause,
        "/resume" => lifecycle::Request::Resume,
        "/stop" => lifecycle::Request::Stop,
        "/balloon" | "/memory" => return Answer::not_allowed(&request.path, "PUT"),
        _ => return unknown(&request.path),
    };
    if request.method != "PUT" {
        return Answer::not_allowed(&request.path, "PUT");
    }
    match subject.request(verb) {
        Ok(()) => Answer::done(),
        Err(error) => {
            let kind = match error {
                RequestError::Refused(_) => Kind::Conflict,
                RequestError::Late(_) | RequestError::Busy(_) => Kind::Unavailable,
            };
            Answer::problem(&Problem::new(kind, error.to_string()))
        }
    }
}

fn balloon(subject: &impl Subject, body: &[u8]) -> Answer {
    let size = match serde_json::from_slice::<BalloonSize>(body) {
        Ok(BalloonSize { size }) => size,
        Err(error) => return Answer::problem(&Problem::new(Kind::Malformed, error.to_string())),
    };
    match subject.set_balloon(size) {
        Ok(()) => Answer::done(),
        Err(error @ BalloonError::None) => Answer::problem(&Problem::new(Kind::Conflict, error.to_string())),
        Err(error) => Answer::problem(&Problem::new(Kind::Invalid, error.to_string()).at("/size")),
    }
}

fn memory(subject: &impl Subject, body: &[u8]) -> Answer {
    let size = match serde_json::from_slice::<MemorySize>(body) {
        Ok(MemorySize { size }) => size,
        Err(error) => return Answer::problem(&Problem::new(Kind::Malformed, error.to_string())),
    };
    match subject.set_memory(size) {
        Ok(()) => Answer::done(),
        Err(error @ ResizeError::Fixed) => Answer::problem(&Problem::new(Kind::Conflict, error.to_string())),
        Err(error) => Answer::problem(&Problem::new(Kind::Invalid, error.to_string()).at("/size")),
    }
}

fn unknown(path: &str) -> Answer {
    let detail = format!(
        "no {path}; there are {VM} and {VM}/metrics, power-button, reset, pause, resume, stop, balloon, memory"
    );
    Answer::problem(&Problem::new(Kind::NotFound, detail))
}

#[cfg(test)]
mod tests;

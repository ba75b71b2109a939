//! QMP, QEMU's control protocol: JSON objects, one a line, over a socket (docs/interop/qmp-spec).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Error, Result, deadline};

/// Longest wait for an answer; a screen dump under load takes seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// A QMP session.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Greets the QEMU at the other end of `stream`.
    ///
    /// # Errors
    /// [`Error::Qmp`] when it does not answer as QEMU does.
    pub fn connect(stream: UnixStream) -> Result<Self> {
        stream
            .set_read_timeout(Some(deadline::scaled(ANSWER)))
            .map_err(|e| refused("(greeting)", e))?;
        let mut qmp = Self {
            reader: BufReader::new(stream),
        };
        let greeting = qmp.read("(greeting)")?;
        if greeting.get("QMP").is_none() {
            return Err(refused("(greeting)", greeting));
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; the answer is its `return` value. Events that come in between are dropped.
    ///
    /// # Errors
    /// [`Error::Qmp`] when QEMU refuses it or is gone.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let mut request = json!({"execute": command, "arguments": arguments}).to_string();
        request.push('\n');
        self.reader
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(|e| refused(command, e))?;
        loop {
            let answer = self.read(command)?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                return Err(refused(
                    command,
                    error
                        .get("desc")
                        .and_then(Value::as_str)
                        .unwrap_or("unknown error"),
                ));
            }
        }
    }

    /// Runs a command of the human monitor, for what QMP has no command; the answer is what it prints.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn human(&mut self, line: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", &json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn read(&mut self, command: &str) -> Result<Value> {
        let mut line = String::new();
        let read = self
            .reader
            .read_line(&mut line)
            .map_err(|e| refused(command, e))?;
        if read == 0 {
            return Err(refused(command, "QEMU has ended"));
        }
        serde_json::from_str(&line).map_err(|e| refused(command, e))
    }
}

fn refused(command: &str, problem: impl std::fmt::Display) -> Error {
    Error::Qmp {
        command: command.to_owned(),
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests;

//! Datasets on their way: `zfs send` and `zfs receive`, with a pipe that somebody else holds the other end of.
//!
//! Whoever holds it ends the stream by closing it: `zfs send` is killed by its next write, `zfs receive` finds the stream
//! incomplete, and takes back what it had received unless it was asked to keep that. A node that goes down in the middle does
//! the same when the pool is imported again.

use std::os::fd::OwnedFd;

use axion_api::storage::{Answer, Dataset, ReceiveOptions, SendOptions, Stream};

use crate::command::Ends;
use crate::datasets::{not_state, not_system};
use crate::error::StorageError;
use crate::names;
use crate::storage::Storage;

/// Longest token of a stream that broke off, bytes; they have some hundred.
const LONGEST_TOKEN: usize = 4096;

/// Arguments of `zfs send`.
fn sending(name: &str, options: &SendOptions) -> Result<Vec<String>, StorageError> {
    let (dataset, _) = names::snapshot(name)?;
    not_state(name)?;
    let mut arguments = vec!["send".to_owned()];
    if let Some(token) = &options.resume {
        let is_token = |b: u8| b.is_ascii_hexdigit() || b == b'-';
        if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(is_token) {
            let detail = "`resume` is no `resume_token` of a dataset";
            return Err(StorageError::invalid(detail));
        }
        arguments.extend(["-t".to_owned(), token.clone()]);
        return Ok(arguments);
    }
    // Blocks go as large and as compressed as they are: nothing is unpacked only to be packed again. Not embedded (`-e`): an
    // encrypted dataset does not receive such a stream.
    arguments.push("-Lc".to_owned());
    if options.raw {
        arguments.push("-w".to_owned());
    }
    if let Some(from) = &options.from {
        let whole = if from.contains('@') {
            from.clone()
        } else {
            format!("{dataset}@{from}")
        };
        names::snapshot(&whole)?;
        not_state(&whole)?;
        arguments.extend(["-i".to_owned(), whole]);
    }
    arguments.push(name.to_owned());
    Ok(arguments)
}

/// Arguments of `zfs receive`.
fn receiving(name: &str, options: ReceiveOptions) -> Result<Vec<String>, StorageError> {
    names::dataset(name)?;
    not_system(name)?;
    if !name.contains('/') {
        let detail = format!("`{name}` is a whole pool; name a dataset in it, as in `{name}/copy`");
        return Err(StorageError::Conflict(detail));
    }
    let mut arguments = vec!["receive".to_owned()];
    if options.resumable {
        arguments.push("-s".to_owned());
    }
    if options.discard_changes {
        arguments.push("-F".to_owned());
    }
    arguments.push(name.to_owned());
    Ok(arguments)
}

impl Storage {
    /// Sends or receives until the stream ends; `end` is the program's end of the pipe. Blocks.
    pub fn stream(&self, stream: Stream, end: OwnedFd) -> Answer {
        let done = match stream {
            Stream::Send { name, options } => self.send(&name, &options, end).map(|()| Answer::Done),
            Stream::Receive { name, options } => self
                .receive(&name, options, end)
                .map(|dataset| Answer::Dataset(Box::new(dataset), true)),
        };
        done.unwrap_or_else(|error| Answer::Problem(error.into()))
    }

    fn send(&self, name: &str, options: &SendOptions, to: OwnedFd) -> Result<(), StorageError> {
        let arguments = sending(name, options)?;
        if options.resume.is_none() {
            self.snapshot(name)?;
        }
        Ok(self.tools.zfs(arguments).piped(Ends::Output(to))?)
    }

    fn receive(&self, name: &str, options: ReceiveOptions, from: OwnedFd) -> Result<Dataset, StorageError> {
        let arguments = receiving(name, options)?;
        self.pool(names::pool_of(name))?;
        self.tools.zfs(arguments).piped(Ends::Input(from))?;
        let received = self.dataset(name)?;
        if received.volume_size.is_some() {
            self.show(name)?;
            return self.dataset(name);
        }
        Ok(received)
    }

    /// Forgets what was received of a dataset before its stream broke off; nothing of it is as good.
    ///
    /// # Errors
    /// There is no such dataset.
    pub fn abort_receive(&self, name: &str) -> Result<(), StorageError> {
        let dataset = self.dataset(name)?;
        not_system(name)?;
        if dataset.resume_token.is_none() {
            return Ok(());
        }
        Ok(self.tools.zfs(["receive", "-A", name]).done()?)
    }
}

#[cfg(test)]
mod tests;

//! An image in memory, as a file that can be handed over (memfd_create(2)).

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::update::LARGEST_IMAGE;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// How long an image may take to arrive: 60 MiB at 35 KiB/s.
const ARRIVAL: Duration = Duration::from_secs(1800);

/// An image in memory.
#[derive(Debug)]
pub struct Memory {
    file: File,
    size: u64,
}

impl Memory {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        let file = memfd_create("update", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC)?;
        Ok(Self {
            file: file.into(),
            size: 0,
        })
    }

    /// Adds a part; false where it would be too large then.
    fn add(&mut self, part: &[u8]) -> io::Result<bool> {
        self.size = self.size.saturating_add(part.len() as u64);
        if self.size > LARGEST_IMAGE {
            return Ok(false);
        }
        self.file.write_all(part)?;
        Ok(true)
    }

    /// The file, which nobody can change from now on.
    pub fn seal(self) -> io::Result<OwnedFd> {
        let seals =
            SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&self.file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(self.file.into())
    }
}

/// Gathers a body within [`ARRIVAL`]: nobody else's image is taken meanwhile.
pub async fn gather<E: Display>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Memory, Problem> {
    let gathered = tokio::time::timeout(ARRIVAL, whole(body)).await;
    gathered.unwrap_or_else(|_| {
        let detail = format!("the image did not arrive within {} min", ARRIVAL.as_secs() / 60);
        Err(Problem::new(Kind::Unavailable, detail))
    })
}

async fn whole<E: Display>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Memory, Problem> {
    let no_memory = |error: io::Error| {
        Problem::new(
            Kind::InsufficientCapacity,
            format!("no memory for the image: {error}"),
        )
    };
    let mut memory = Memory::new().map_err(no_memory)?;
    while let Some(part) = body.next().await {
        let part =
            part.map_err(|error| Problem::new(Kind::Malformed, format!("the image ended early: {error}")))?;
        if !memory.add(&part).map_err(no_memory)? {
            let detail = format!("the image is larger than {} MiB", LARGEST_IMAGE >> 20);
            return Err(Problem::new(Kind::TooLarge, detail));
        }
    }
    Ok(memory)
}

#[cfg(test)]
mod tests;

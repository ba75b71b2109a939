//! The host's side: the socket where clients ask for a port of the guest, and those where services wait for the guest.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use axion_api::vmm::VsockStatus;
use axion_api::vmm::metrics::PairLatencies;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::counters::Counters;

/// Longest line with which a client asks for a port: `CONNECT 4294967295`, and the end of the line.
pub const LONGEST_LINE: usize = 20;

/// The host's side. Outlives resets of the machine.
pub struct Host {
    /// Clients come here. It does not block.
    pub listener: UnixListener,
    /// Path of `listener`; with `_` and a port behind it, that of a service.
    path: PathBuf,
    /// Context id of the guest.
    pub cid: u32,
    /// What was done.
    pub counters: Counters,
}

impl Host {
    /// That of the guest `cid`, whose clients come to `listener` at `path`.
    pub fn new(listener: UnixListener, path: PathBuf, cid: u32) -> Self {
        Self {
            listener,
            path,
            cid,
            counters: Counters::default(),
        }
    }

    /// A client, without waiting for one. It does not block.
    ///
    /// # Errors
    /// None is there, or there is no descriptor left.
    pub fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Connects to the service that waits for the guest at `port`, without waiting for it.
    ///
    /// # Errors
    /// Nobody is there, or has no time.
    pub fn connect(&self, port: u32) -> io::Result<UnixStream> {
        let mut path = self.path.clone().into_os_string();
        path.push(format!("_{port}"));
        let address = UnixAddr::new(path.as_os_str())?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &address)?;
        Ok(socket.into())
    }

    /// What was done.
    pub fn status(&self) -> VsockStatus {
        self.counters.read(self.cid)
    }

    /// How long packets took.
    pub fn latencies(&self) -> PairLatencies {
        self.counters.times.read()
    }
}

/// The port that a client asks for.
pub fn parse_line(line: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(line.strip_prefix(b"CONNECT ")?).ok()?;
    // `parse` would also take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

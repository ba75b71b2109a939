//! The control thread: sockets and signals of a VM, in one epoll loop.
//!
//! ```text
//! api.sock      HTTP/1.1 (`http`), routes (`routes`) --request--> machine
//! console.sock  watchers: output from the console's ring, input to its queue
//! vsock.sock    is only made and removed here; the socket device serves its clients
//! SIGTERM       power button, pressed after a paused guest goes on; a second one, or one while the machine starts: stop
//! ```
//!
//! It has nothing to wait for but epoll and the machine's short answers. The sockets get the mode 0660, and the group of
//! the run directory where that has the set-group-id bit. A lock on the run directory keeps a second VMM out, so that
//! sockets found there are leftovers.

pub mod http;
mod peer;
pub mod routes;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axion_api::vmm::{API_SOCKET, CONSOLE_SOCKET, VSOCK_SOCKET, VmmMetrics, VmmStatus, VsockConfig};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};

use crate::Error;
use crate::devices::serial::Console;
use crate::devices::virtio::vsock::backing::Host as VsockHost;
use crate::machine::lifecycle::Request;
use crate::machine::{BalloonError, Exit, Handle, RequestError, ResizeError};
use peer::Peer;
use routes::Subject;

/// Most connections at a time; a further one takes the place of the oldest.
const MAX_PEERS: usize = 64;

/// What epoll reports; connections follow from [`FIRST_PEER`] on.
const API: u64 = 0;
const CONSOLE: u64 = 1;
const SIGNALS: u64 = 2;
const OUTPUT: u64 = 3;
const ENDED: u64 = 4;
const FIRST_PEER: u64 = 5;

/// Sockets or signals cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another VMM has the run directory.
    #[error("{} is in use by another axion-vmm", .0.display())]
    InUse(PathBuf),
    /// The run directory cannot be opened.
    #[error("cannot open {}", path.display())]
    RunDir {
        /// The directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A socket cannot be made.
    #[error("cannot make {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The kernel has no descriptor or thread left.
    #[error("out of descriptors or threads")]
    Resources(#[source] io::Error),
}

/// The control thread's state.
pub struct Control {
    epoll: Epoll,
    api: Socket,
    console_socket: Socket,
    /// Its clients come to the device's thread.
    vsock_socket: Option<Socket>,
    console: Arc<Console>,
    signals: SignalFd,
    peers: BTreeMap<u64, Peer>,
    next_peer: u64,
    terminated: bool,
    _lock: Flock<File>,
}

/// A listening socket, whose file goes with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn bind(path: PathBuf) -> Result<Self, ControlError> {
        let bound = match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => UnixListener::bind(&path),
        };
        let bound = bound.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        match bound {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(ControlError::Socket { path, source }),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone with the run directory, perhaps.
        let _ = fs::remove_file(&self.path);
    }
}

impl Subject for Handle {
    fn status(&self) -> VmmStatus {
        self.status()
    }

    fn metrics(&self) -> VmmMetrics {
        self.metrics()
    }

    fn request(&self, request: Request) -> Result<(), RequestError> {
        self.request(request)
    }

    fn set_balloon(&self, size: u64) -> Result<(), BalloonError> {
        self.set_balloon(size)
    }

    fn set_memory(&self, size: u64) -> Result<(), ResizeError> {
        self.set_memory(size)
    }
}

fn resources(errno: nix::Error) -> ControlError {
    ControlError::Resources(errno.into())
}

impl Control {
    /// Makes the sockets in `run_dir` and takes the signals. Sets the process's umask and blocks SIGTERM and SIGINT in
    /// this thread and those that it starts.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn new(run_dir: &Path, console: Arc<Console>) -> Result<Self, ControlError> {
        let directory = File::open(run_dir).map_err(|source| ControlError::RunDir {
            path: run_dir.to_owned(),
            source,
        })?;
        let lock = Flock::lock(directory, FlockArg::LockExclusiveNonblock)
            .map_err(|_| ControlError::InUse(run_dir.to_owned()))?;
        umask(Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IRWXO);
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        mask.thread_block().map_err(resources)?;
        let signals =
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(resources)?;
        let api = Socket::bind(run_dir.join(API_SOCKET))?;
        let console_socket = Socket::bind(run_dir.join(CONSOLE_SOCKET))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(resources)?;
        let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        epoll.add(&api.listener, readable(API)).map_err(resources)?;
        epoll
            .add(&console_socket.listener, readable(CONSOLE))
            .map_err(resources)?;
        epoll.add(&signals, readable(SIGNALS)).map_err(resources)?;
        epoll.add(console.wake(), readable(OUTPUT)).map_err(resources)?;
        Ok(Self {
            epoll,
            api,
            console_socket,
            vsock_socket: None,
            console,
            signals,
            peers: BTreeMap::new(),
            next_peer: FIRST_PEER,
            terminated: false,
            _lock: lock,
        })
    }

    /// Makes the socket of a socket device in `run_dir`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn add_vsock(&mut self, run_dir: &Path, config: VsockConfig) -> Result<VsockHost, ControlError> {
        let path = run_dir.join(VSOCK_SOCKET);
        let socket = Socket::bind(path.clone())?;
        let listener = socket.listener.try_clone();
        self.vsock_socket = Some(socket);
        let listener = listener.map_err(ControlError::Resources)?;
        Ok(VsockHost::new(listener, path, config.cid))
    }

    /// Serves until the machine has ended; says how.
    ///
    /// # Errors
    /// The machine's error.
    pub fn serve(mut self, machine: Handle) -> Result<Exit, Error> {
        self.epoll
            .add(machine.ended(), EpollEvent::new(EpollFlags::EPOLLIN, ENDED))
            .map_err(resources)?;
        let mut events = [EpollEvent::empty(); 16];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(nix::Error::EINTR) => continue,
                other => other.map_err(resources)?,
            };
            for event in events.get(..count).unwrap_or_default() {
                match event.data() {
                    API => self.accept(&machine, API),
                    CONSOLE => self.accept(&machine, CONSOLE),
                    SIGNALS => self.signal(&machine),
                    OUTPUT => self.refresh(&machine),
                    ENDED => {
                        // What the guest printed last.
                        self.refresh(&machine);
                        return Ok(machine.join()?);
                    }
                    token => self.serve_peer(&machine, token, event.events()),
                }
            }
            if machine.is_abandoned() {
                return Ok(Exit::Stopped);
            }
        }
    }

    fn accept(&mut self, machine: &Handle, socket: u64) {
        let listener = if socket == API {
            &self.api.listener
        } else {
            &self.console_socket.listener
        };
        let accepted = listener
            .accept()
            .and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream));
        match accepted {
            Ok(stream) => {
                let peer = if socket == API {
                    Peer::api(stream)
                } else {
                    Peer::console(stream)
                };
                self.admit(machine, peer);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted
                ) => {}
            // Out of descriptors: make room.
            Err(_) => drop(self.peers.pop_first()),
        }
    }

    fn admit(&mut self, machine: &Handle, peer: Peer) {
        if self.peers.len() >= MAX_PEERS {
            self.peers.pop_first();
        }
        let token = self.next_peer;
        self.next_peer += 1;
        if self
            .epoll
            .add(&peer, EpollEvent::new(peer.interest, token))
            .is_ok()
        {
            self.peers.insert(token, peer);
            self.serve_peer(machine, token, EpollFlags::empty());
        }
    }

    /// New output, or room for input: every watcher of the console; and what a vCPU has left of it.
    fn refresh(&mut self, machine: &Handle) {
        self.console.acknowledge();
        self.console.go_on();
        let watchers = self
            .peers
            .iter()
            .filter(|(_, peer)| matches!(peer.kind, peer::Kind::Console { .. }));
        let watchers: Vec<u64> = watchers.map(|(token, _)| *token).collect();
        for token in watchers {
            self.serve_peer(machine, token, EpollFlags::empty());
        }
    }

    fn serve_peer(&mut self, machine: &Handle, token: u64, events: EpollFlags) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        let outcome = peer.serve(machine, &self.console);
        let hung_up = events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let kept = match outcome {
            Ok(_) if hung_up => false,
            Ok(interest) if interest == peer.interest => true,
            Ok(interest) => {
                peer.interest = interest;
                self.epoll
                    .modify(&*peer, &mut EpollEvent::new(interest, token))
                    .is_ok()
            }
            Err(peer::Gone) => false,
        };
        if !kept {
            self.peers.remove(&token);
        }
    }

    fn signal(&mut self, machine: &Handle) {
        while let Ok(Some(_)) = self.signals.read_signal() {
            let again = std::mem::replace(&mut self.terminated, true);
            if !again {
                // A paused guest does not hear its button.
                let _ = machine.request(Request::Resume);
            }
            let pressed = !again && machine.request(Request::PowerButton).is_ok();
            if !pressed {
                // It is gone already, then.
                let _ = machine.request(Request::Stop);
            }
        }
    }
}

//! Waiting for descriptors to become ready, by edges: nothing has to be read for the next one.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Descriptors that are watched.
pub struct Edges(Epoll);

impl Edges {
    /// Watches `fds`, each under its number, for something to read, and for room where that is known.
    ///
    /// # Errors
    /// `errno` of epoll(7).
    pub fn of<'a>(fds: impl IntoIterator<Item = (u64, BorrowedFd<'a>)>) -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        for (number, fd) in fds {
            epoll.add(fd, EpollEvent::new(flags, number))?;
        }
        Ok(Self(epoll))
    }

    /// Waits, or only looks where `timeout` is zero; tells the numbers of those that are ready, and whether they are broken.
    ///
    /// # Errors
    /// `errno` of epoll(7).
    pub fn wait(&self, timeout: EpollTimeout, mut tell: impl FnMut(u64, bool)) -> Result<(), Errno> {
        let mut events = [EpollEvent::empty(); 8];
        let count = match self.0.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        for event in events.iter().take(count) {
            tell(event.data(), event.events().intersects(EpollFlags::EPOLLERR));
        }
        Ok(())
    }
}

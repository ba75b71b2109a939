//! A queue of a tap device: the unsafe part of what goes through this process.
//!
//! Frames go straight between the tap and guest memory, each with a `virtio_net_hdr_v1` before it that the kernel writes
//! and checks.
//!
//! What makes it safe: a [`Vector`] takes segments of guest memory only, keeps that memory, and is used by one call at a
//! time.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::{self, Ioctl, iovec};
use vm_memory::{GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::EventFd;

use crate::devices::virtio::queue::{MAX_CHAIN, Segment};
use crate::memory::GuestMemory;

/// Bytes of `virtio_net_hdr_v1` (§5.1.6).
pub const HEADER: usize = 12;
/// Where the device makes queues.
const TUN: &str = "/dev/net/tun";
/// Bytes of an interface's name, with a zero at the end.
const NAME: usize = 16;

/// Most frames that are dropped at once: more than a queue of a tap holds, unless somebody has made it longer.
const STALE: usize = 1024;

/// `struct ifreq` with flags (netdevice(7)).
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME],
    flags: i16,
    rest: [u8; 22],
}

/// The queue.
pub struct Tap(File);

impl Tap {
    /// Opens a queue of the tap device `name`, of several (`multi`) or its only one.
    ///
    /// # Errors
    /// `errno` of open(2) or TUNSETIFF.
    pub fn open(name: &str, multi: bool) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(TUN)?;
        let multi = if multi { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | multi;
        let mut request = request(flags);
        for (to, from) in request.name.iter_mut().take(NAME - 1).zip(name.bytes()) {
            *to = from;
        }
        let tap = Self(file);
        tap.interface_call(libc::TUNSETIFF, &mut request)?;
        let size: c_int = 12;
        const _: () = assert!(HEADER == 12);
        // SAFETY: the call reads an int.
        let result = unsafe { libc::ioctl(tap.0.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) };
        check(result)?;
        Ok(tap)
    }

    /// One whose frames are those of a socket, in which calls that only a tap knows fail.
    #[cfg(test)]
    pub fn of(socket: File) -> Self {
        Self(socket)
    }

    /// What the reader of the device can do (`TUN_F_*`).
    ///
    /// # Errors
    /// `errno` of TUNSETOFFLOAD.
    pub fn set_offload(&self, flags: u32) -> io::Result<()> {
        // SAFETY: the call takes a number.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::TUNSETOFFLOAD,
                libc::c_ulong::from(flags),
            )
        };
        check(result)
    }

    /// Lets the device give frames to this one of its queues, or not.
    ///
    /// # Errors
    /// `errno` of TUNSETQUEUE.
    pub fn attach(&self, attached: bool) -> io::Result<()> {
        let mut request = request(if attached {
            libc::IFF_ATTACH_QUEUE
        } else {
            libc::IFF_DETACH_QUEUE
        });
        match self.interface_call(libc::TUNSETQUEUE, &mut request) {
            // It is so already.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result,
        }
    }

    /// Reads a frame into `vector`, and what does not fit there into `spill`; returns the bytes of both.
    ///
    /// # Errors
    /// `errno` of readv(2): EAGAIN where there is none.
    pub fn receive(&self, vector: &mut Vector, spill: &mut [u8]) -> io::Result<usize> {
        vector.entries.push(iovec {
            iov_base: spill.as_mut_ptr().cast(),
            iov_len: spill.len(),
        });
        let count = c_int::try_from(vector.entries.len()).unwrap_or(c_int::MAX);
        // SAFETY: the entries are guest memory that the vector keeps, and a slice that is borrowed for writing.
        let result = unsafe { libc::readv(self.0.as_raw_fd(), vector.entries.as_ptr(), count) };
        vector.entries.pop();
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }

    /// Writes the frame in `vector`.
    ///
    /// # Errors
    /// `errno` of writev(2): EAGAIN where there is no room.
    pub fn send(&self, vector: &Vector) -> io::Result<()> {
        let count = c_int::try_from(vector.entries.len()).unwrap_or(c_int::MAX);
        // SAFETY: the entries are guest memory that the vector keeps.
        let result = unsafe { libc::writev(self.0.as_raw_fd(), vector.entries.as_ptr(), count) };
        usize::try_from(result)
            .map(drop)
            .map_err(|_| io::Error::last_os_error())
    }

    /// Drops the frames that are there.
    pub fn discard(&self) {
        // The rest of a frame is dropped with its beginning.
        let mut beginning = [0; 64];
        for _ in 0..STALE {
            if (&self.0).read(&mut beginning).is_err() {
                break;
            }
        }
    }

    fn interface_call(&self, call: Ioctl, request: &mut InterfaceRequest) -> io::Result<()> {
        // SAFETY: the call reads and writes a `struct ifreq`.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), call, std::ptr::from_mut(request)) })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The descriptor of an eventfd, for who takes no number.
pub fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: it stays open while the eventfd is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

fn request(flags: c_int) -> InterfaceRequest {
    InterfaceRequest {
        name: [0; NAME],
        flags: i16::try_from(flags).unwrap_or(0),
        rest: [0; 22],
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Guest memory that one call reads or writes.
pub struct Vector {
    memory: GuestMemory,
    entries: Vec<iovec>,
}

impl Vector {
    /// An empty one of `memory`.
    pub fn new(memory: &GuestMemory) -> Self {
        Self {
            memory: memory.clone(),
            entries: Vec::with_capacity(MAX_CHAIN),
        }
    }

    /// Makes it empty.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds segments, as many as go into a call with one more entry; returns their bytes.
    pub fn extend(&mut self, segments: &[Segment]) -> usize {
        let mut bytes = 0;
        for segment in segments.iter().take(MAX_CHAIN - 1 - self.entries.len()) {
            let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
            // It was guest memory when it was taken, and guest memory stays.
            let Ok(slice) = self.memory.get_slice(GuestAddress(segment.address), len) else {
                break;
            };
            self.entries.push(iovec {
                iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                iov_len: len,
            });
            bytes += len;
        }
        bytes
    }
}

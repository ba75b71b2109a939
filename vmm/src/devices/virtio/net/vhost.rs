//! The kernel's network device, vhost-net (`linux/vhost.h`): its calls.
//!
//! It reads and writes guest memory and rings by itself, in a thread of the kernel that belongs to this process, and hears
//! of buffers and tells of used ones by eventfds.
//!
//! What makes it safe: the memory that it is told of is kept by a [`Session`], whose drop takes the tap away from it, which
//! returns when nothing is in flight any more.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_ulong};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::libc;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

use super::tap::Tap;
use crate::devices::virtio::queue::Setup;
use crate::memory::GuestMemory;

/// Where the kernel makes such devices.
const DEVICE: &str = "/dev/vhost-net";

/// Numbers of the calls: direction, size of the argument, type 0xaf, number.
const GET_FEATURES: c_ulong = 0x8008_af00;
const SET_FEATURES: c_ulong = 0x4008_af00;
const SET_OWNER: c_ulong = 0x0000_af01;
const SET_MEM_TABLE: c_ulong = 0x4008_af03;
const SET_VRING_NUM: c_ulong = 0x4008_af10;
const SET_VRING_ADDR: c_ulong = 0x4028_af11;
const SET_VRING_BASE: c_ulong = 0x4008_af12;
const GET_VRING_BASE: c_ulong = 0xc008_af12;
const SET_VRING_KICK: c_ulong = 0x4008_af20;
const SET_VRING_CALL: c_ulong = 0x4008_af21;
const NET_SET_BACKEND: c_ulong = 0x4008_af30;

/// `struct vhost_vring_state`.
#[repr(C)]
struct RingState {
    index: u32,
    number: u32,
}

/// `struct vhost_vring_file`.
#[repr(C)]
struct RingFile {
    index: u32,
    fd: c_int,
}

/// `struct vhost_vring_addr`.
#[repr(C)]
struct RingAddress {
    index: u32,
    flags: u32,
    descriptors: u64,
    used: u64,
    available: u64,
    log: u64,
}

/// `struct vhost_memory_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    guest: u64,
    size: u64,
    host: u64,
    flags: u64,
}

/// Most regions of a table: what the kernel takes where nobody has set `max_mem_regions`.
const REGIONS: usize = 64;

/// `struct vhost_memory`.
#[repr(C)]
struct Table {
    count: u32,
    padding: u32,
    regions: [Region; REGIONS],
}

/// A ring that the kernel is to work on.
pub struct Ring {
    /// What the driver set up.
    pub setup: Setup,
    /// Becomes readable when the driver has offered buffers.
    pub kick: Arc<EventFd>,
    /// Is signalled when the driver is to be told of used ones. Without it, it is not told.
    pub call: Option<Arc<EventFd>>,
}

/// The kernel's device for a queue pair, opened once and kept over resets.
pub struct Vhost(File);

impl Vhost {
    /// Opens one.
    ///
    /// # Errors
    /// `errno` of open(2).
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        Ok(Self(file))
    }

    /// Has the kernel start its thread, unless it has: on the CPUs of the calling thread.
    ///
    /// # Errors
    /// `errno` of `VHOST_SET_OWNER`.
    pub fn own(&self) -> io::Result<()> {
        // SAFETY: the call has no argument.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SET_OWNER) };
        match check(result) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
            result => result,
        }
    }

    fn call<T>(&self, call: c_ulong, argument: &mut T) -> io::Result<()> {
        // SAFETY: each call of this module reads, and at most writes, the structure that its number is for, which callers
        // pass; what the structures say of guest memory is true for as long as a `Session` keeps it.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), call, std::ptr::from_mut(argument)) })
    }

    fn set_memory(&self, memory: &GuestMemory) -> io::Result<()> {
        let mut table = Table {
            count: 0,
            padding: 0,
            regions: [Region::default(); REGIONS],
        };
        let mut places = table.regions.iter_mut();
        for region in memory.iter() {
            let place = places
                .next()
                .ok_or_else(|| io::Error::other("guest memory is in too many pieces"))?;
            *place = Region {
                guest: region.start_addr().0,
                size: region.len(),
                host: host(memory, region.start_addr().0, region.len())?,
                flags: 0,
            };
            table.count += 1;
        }
        self.call(SET_MEM_TABLE, &mut table)
    }

    fn set_ring(&self, index: u32, memory: &GuestMemory, ring: &Ring) -> io::Result<()> {
        let size = u64::from(ring.setup.size);
        let number = u32::from(ring.setup.size);
        self.call(SET_VRING_NUM, &mut RingState { index, number })?;
        let mut address = RingAddress {
            index,
            flags: 0,
            descriptors: host(memory, ring.setup.descriptors, size * 16)?,
            used: host(memory, ring.setup.used, size * 8 + 6)?,
            available: host(memory, ring.setup.available, size * 2 + 6)?,
            log: 0,
        };
        self.call(SET_VRING_ADDR, &mut address)?;
        let fd = ring.kick.as_raw_fd();
        self.call(SET_VRING_KICK, &mut RingFile { index, fd })?;
        let fd = ring.call.as_ref().map_or(-1, |call| call.as_raw_fd());
        self.call(SET_VRING_CALL, &mut RingFile { index, fd })
    }

    fn set_backend(&self, tap: Option<&Tap>) -> io::Result<()> {
        let fd = tap.map_or(-1, |tap| tap.as_fd().as_raw_fd());
        for index in 0..2 {
            self.call(NET_SET_BACKEND, &mut RingFile { index, fd })?;
        }
        Ok(())
    }
}

/// Host address of `len` bytes of guest memory that lie in one region.
fn host(memory: &GuestMemory, address: u64, len: u64) -> io::Result<u64> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let slice = memory.get_slice(GuestAddress(address), len);
    let slice = slice.map_err(|_| io::Error::other("a ring goes on behind the border of a guest node"))?;
    Ok(slice.ptr_guard_mut().as_ptr().expose_provenance() as u64)
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The kernel's device at work on two rings, receive and send. Its drop ends the work.
pub struct Session {
    vhost: Arc<Vhost>,
    tap: Arc<Tap>,
    memory: GuestMemory,
    /// Keeps the descriptors.
    _rings: [Ring; 2],
    /// Where each ring was when it was paused.
    bases: Option<[u32; 2]>,
}

impl Session {
    /// Begins, with the features that the driver took.
    ///
    /// # Errors
    /// `errno` of the call that failed.
    pub fn begin(
        vhost: Arc<Vhost>,
        tap: Arc<Tap>,
        memory: &GuestMemory,
        features: u64,
        rings: [Ring; 2],
    ) -> io::Result<Self> {
        let mut known = 0u64;
        vhost.call(GET_FEATURES, &mut known)?;
        // The others are between driver and tap.
        vhost.call(SET_FEATURES, &mut (features & known))?;
        vhost.set_memory(memory)?;
        for (index, ring) in (0..).zip(&rings) {
            vhost.set_ring(index, memory, ring)?;
        }
        let mut session = Self {
            vhost,
            tap,
            memory: memory.clone(),
            _rings: rings,
            bases: Some([0; 2]),
        };
        session.resume()?;
        Ok(session)
    }

    /// Stops; returns when nothing is in flight any more.
    ///
    /// # Errors
    /// `errno` of the call that failed.
    pub fn pause(&mut self) -> io::Result<()> {
        if self.bases.is_some() {
            return Ok(());
        }
        self.vhost.set_backend(None)?;
        let mut bases = [0; 2];
        for (index, base) in (0..).zip(&mut bases) {
            let mut state = RingState { index, number: 0 };
            self.vhost.call(GET_VRING_BASE, &mut state)?;
            *base = state.number;
        }
        self.bases = Some(bases);
        Ok(())
    }

    /// Goes on where it was paused, with what was offered in the meantime.
    ///
    /// # Errors
    /// `errno` of the call that failed.
    pub fn resume(&mut self) -> io::Result<()> {
        let Some(bases) = self.bases else {
            return Ok(());
        };
        for (index, number) in (0..).zip(bases) {
            self.vhost
                .call(SET_VRING_BASE, &mut RingState { index, number })?;
        }
        self.vhost.set_backend(Some(&self.tap))?;
        self.bases = None;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.vhost.set_backend(None).is_err() {
            // It may still write to this memory: that stays.
            std::mem::forget(self.memory.clone());
        }
    }
}

const _: () = assert!(size_of::<RingAddress>() == 0x28 && size_of::<Table>() == 8 + REGIONS * 32);

//! Network interfaces by ioctl(2): netdevice(7), `linux/if_tun.h`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use libc::{c_short, c_ulong, ifreq, sockaddr};

/// An `ifreq` with nothing but a name.
fn request(name: &str) -> ifreq {
    // SAFETY: an ifreq is plain data, of which zero is a valid value.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *to = from.cast_signed();
    }
    request
}

fn call(fd: RawFd, code: c_ulong, request: &mut ifreq) -> io::Result<()> {
    // SAFETY: each code given here takes a pointer to an ifreq.
    let result = unsafe { libc::ioctl(fd, code, request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes a tap device that stays.
///
/// # Errors
/// The kernel has none.
pub fn create_tap(name: &str) -> io::Result<()> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request(name);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = c_short::try_from(flags).unwrap_or_default();
    call(file.as_raw_fd(), libc::TUNSETIFF, &mut request)?;
    // SAFETY: the call has no memory arguments.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETPERSIST, 1) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives an interface its address (with the mask of its class) and brings it up.
///
/// # Errors
/// There is no such interface.
pub fn bring_up(name: &str, address: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let [a, b, c, d] = address.octets();
    let mut family = sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default(),
        sa_data: [0; 14],
    };
    // Two bytes of a port come before the address (`sockaddr_in`).
    for (to, from) in family.sa_data.iter_mut().skip(2).zip([a, b, c, d]) {
        *to = from.cast_signed();
    }
    let mut with_address = request(name);
    with_address.ifr_ifru.ifru_addr = family;
    call(socket.as_raw_fd(), libc::SIOCSIFADDR, &mut with_address)?;
    let mut up = request(name);
    up.ifr_ifru.ifru_flags = c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    call(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &mut up)
}

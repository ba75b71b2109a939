//! Sockets on one interface, with errors that say what to do.
//!
//! An address alone would be reached from every network that this machine is connected to, that of a node's guests among them: Linux
//! takes a packet for any of its addresses by any interface. What is served is for the machines of one network.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{BindToDevice, Broadcast};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};

use tokio::net::{TcpListener, TcpSocket};

use crate::Error;
use crate::connections::{HEARING, SENDING};

/// Connections that wait to be accepted.
const WAITING: u32 = 1024;

/// What a port is for.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// What for.
    pub purpose: &'static str,
}

impl Port {
    /// Why it could not be opened on `at`.
    pub fn error(self, at: String, source: io::Error) -> Error {
        let Self {
            number: port,
            protocol,
            purpose,
        } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse {
                port,
                protocol,
                purpose,
                at,
            },
            io::ErrorKind::PermissionDenied => Error::Permission {
                port,
                protocol,
                purpose,
            },
            _ => Error::io(format!("open port {port}/{protocol} ({purpose}) on {at}"))(source),
        }
    }
}

/// A UDP socket that hears and speaks on `interface` only, broadcasts included: those of another network are none of ours.
///
/// # Errors
/// The port is taken, or may not be opened.
pub fn on_interface(interface: &str, port: Port) -> Result<tokio::net::UdpSocket, Error> {
    let open = || -> Result<UdpSocket, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        setsockopt(&fd, BindToDevice, &OsString::from(interface))?;
        setsockopt(&fd, Broadcast, &true)?;
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port.number));
        bind(fd.as_raw_fd(), &any)?;
        Ok(fd.into())
    };
    let socket = open().map_err(io::Error::from);
    socket
        .and_then(tokio::net::UdpSocket::from_std)
        .map_err(|source| port.error(interface.to_owned(), source))
}

/// A UDP socket of the address `at` on `interface`.
///
/// # Errors
/// The port is taken, or may not be opened.
pub fn udp(interface: &str, at: Ipv4Addr, port: Port) -> Result<tokio::net::UdpSocket, Error> {
    udp_at(interface, SocketAddrV4::new(at, port.number)).map_err(|source| port.error(at.to_string(), source))
}

/// A UDP socket of the address `at` on `interface`, of a port that is free.
///
/// # Errors
/// There is none, or the interface has gone.
pub fn any_udp(interface: &str, at: Ipv4Addr) -> io::Result<tokio::net::UdpSocket> {
    udp_at(interface, SocketAddrV4::new(at, 0))
}

fn udp_at(interface: &str, at: SocketAddrV4) -> io::Result<tokio::net::UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&fd, BindToDevice, &OsString::from(interface))?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(at))?;
    tokio::net::UdpSocket::from_std(fd.into())
}

/// A TCP listener of the address `at` on `interface`.
///
/// # Errors
/// The port is taken, or may not be opened.
pub fn tcp(interface: &str, at: Ipv4Addr, port: Port) -> Result<TcpListener, Error> {
    let open = || {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_reuseaddr(true)?;
        // Connections have it from here.
        socket.set_send_buffer_size(SENDING)?;
        socket.set_recv_buffer_size(HEARING)?;
        socket.bind((at, port.number).into())?;
        socket.listen(WAITING)
    };
    open().map_err(|source| port.error(at.to_string(), source))
}

#[cfg(test)]
mod tests;

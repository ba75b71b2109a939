//! Round trips between a guest and its host over a tap device.

pub mod interface;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{Figure, Measured};

/// The host's tap device.
pub const TAP: &str = "bench0";
/// The guest's MAC address.
pub const MAC: &str = "02:00:00:00:00:01";
/// The host's address.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// The guest's address.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const PORT: u16 = 7;
/// Bytes of a packet.
const SIZE: usize = 64;
const WARM_UP: u32 = 50;
const COUNT: u32 = 500;

/// Sends every packet back, on a thread of its own.
///
/// # Errors
/// The address is not there.
pub fn echo() -> Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(HOST, PORT))?;
    thread::spawn(move || {
        let mut packet = [0; SIZE];
        while let Ok((count, from)) = socket.recv_from(&mut packet) {
            let _ = socket.send_to(packet.get(..count).unwrap_or_default(), from);
        }
    });
    Ok(())
}

/// The median of many round trips.
///
/// # Errors
/// Nobody answers.
pub fn measure() -> Result<Vec<Measured>> {
    let socket = UdpSocket::bind(SocketAddrV4::new(GUEST, 0))?;
    socket.connect(SocketAddrV4::new(HOST, PORT))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut times = Vec::new();
    let mut lost = 0;
    let mut number = 0u32;
    while number < WARM_UP + COUNT {
        number += 1;
        let mut packet = [0; SIZE];
        let began = Instant::now();
        socket.send(&packet)?;
        if socket.recv(&mut packet).is_err() {
            lost += 1;
            ensure!(lost < 10, "{lost} packets of {number} were lost");
            continue;
        }
        if number > WARM_UP {
            times.push(began.elapsed().as_nanos());
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(vec![Measured {
        figure: Figure::RoundTrip,
        value: median as f64,
    }])
}

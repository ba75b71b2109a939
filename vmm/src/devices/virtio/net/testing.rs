//! A tap device in a network namespace of its own, and its other end, for tests.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` where a tap device `t0` is up, of several queues or one. Without the right to that it is not run.
pub fn with_tap(multi: bool, test: impl FnOnce(Wire) + Send + 'static) {
    let run = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() || !std::path::Path::new("/dev/net/tun").exists() {
            eprintln!("not run: no network namespace, or no /dev/net/tun");
            return;
        }
        // The host would say things of its own. Where it has no IPv6 it does not.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        let queues = if multi { " multi_queue" } else { "" };
        for words in [
            format!("tuntap add t0 mode tap{queues}"),
            "link set t0 up".to_owned(),
        ] {
            let status = Command::new("ip").args(words.split(' ')).status().unwrap();
            assert!(status.success(), "ip {words}");
        }
        test(Wire::new());
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Whether the kernel moves frames of the device.
fn runs() -> bool {
    let mut interfaces = getifaddrs().unwrap();
    interfaces.any(|own| own.interface_name == "t0" && own.flags.contains(InterfaceFlags::IFF_RUNNING))
}

/// The host's end of the device: a packet socket.
pub struct Wire(OwnedFd);

impl Wire {
    fn new() -> Self {
        let protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        // SAFETY: the call has no memory arguments.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol.into()) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a sockaddr of zeros is one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = protocol;
        address.sll_ifindex = if_nametoindex("t0").unwrap().try_into().unwrap();
        let size = u32::try_from(size_of_val(&address)).unwrap();
        // SAFETY: the call reads the address.
        let result = unsafe { libc::bind(fd, (&raw const address).cast(), size) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        Self(socket)
    }

    /// Gives the guest a frame, once the link is there: the kernel drops frames until a while after the device has opened the tap
    /// (Linux net/core/link_watch.c).
    pub fn send(&self, frame: &[u8]) {
        let start = Instant::now();
        while !runs() && start.elapsed().as_secs() < 20 {
            thread::park_timeout(Duration::from_micros(200));
        }
        // SAFETY: the call reads the frame.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(
            usize::try_from(sent).ok(),
            Some(frame.len()),
            "{}",
            io::Error::last_os_error()
        );
    }

    /// The next frame of the guest with ethertype `kind`.
    pub fn receive(&self, kind: u16) -> Vec<u8> {
        let start = Instant::now();
        let mut frame = vec![0; 1 << 17];
        loop {
            let fd = self.0.as_raw_fd();
            // SAFETY: the call writes at most the length of the buffer.
            let got = unsafe { libc::recv(fd, frame.as_mut_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
            match usize::try_from(got) {
                Ok(len) if frame[12..14] == kind.to_be_bytes() => {
                    frame.truncate(len);
                    return frame;
                }
                Ok(_) => {}
                Err(_) => thread::park_timeout(Duration::from_micros(200)),
            }
            assert!(start.elapsed().as_secs() < 20, "no frame");
        }
    }
}

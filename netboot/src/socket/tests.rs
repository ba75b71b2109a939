use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::*;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PORT: Port = Port {
    number: 8069,
    protocol: "tcp",
    purpose: "HTTP",
};

/// Runs `test` in a network of its own with the interface `own0`, which has the address [`HERE`]: needs root.
fn with_network(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("not run: no network namespace");
            return;
        }
        for words in [
            "link set lo up",
            "link add own0 type veth peer name far0",
            "address add 10.9.0.1/24 dev own0",
            "link set own0 up",
            "link set far0 up",
        ] {
            let status = Command::new("ip").args(words.split(' ')).status().unwrap();
            assert!(status.success(), "ip {words}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { test() });
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn connect() -> Result<TcpStream, ErrorKind> {
    TcpStream::connect((HERE, PORT.number)).map_err(|error| error.kind())
}

/// Whether a packet to this port is taken: one that nobody takes is answered so.
fn is_heard(port: u16) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((HERE, port)).unwrap();
    socket.send(b"x").unwrap();
    let patience = std::time::Duration::from_millis(100);
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.recv(&mut [0]).unwrap_err().kind() != ErrorKind::ConnectionRefused
}

/// This machine reaches its own addresses by the loopback interface, which is another network than the one that is served.
#[test]
fn another_network_does_not_reach_the_address() {
    with_network(|| {
        let tftp = Port { number: 69, ..PORT };
        let web = tcp("own0", HERE, PORT).unwrap();
        let files = udp("own0", HERE, tftp).unwrap();
        let transfer = any_udp("own0", HERE).unwrap().into_std().unwrap();
        assert_eq!(connect().err(), Some(ErrorKind::ConnectionRefused));
        assert!(!is_heard(69) && !is_heard(transfer.local_addr().unwrap().port()));
        let taken = udp("own0", HERE, tftp).unwrap_err().to_string();
        assert_eq!(taken, "port 69/tcp (HTTP) is in use on 10.9.0.1");
        drop((web, files));
        let (_web, _files) = (tcp("lo", HERE, PORT).unwrap(), udp("lo", HERE, tftp).unwrap());
        assert!(connect().is_ok() && is_heard(69));
    });
}

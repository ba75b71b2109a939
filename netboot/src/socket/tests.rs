use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::gettid;

use super::*;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const WEB: Port = Port {
    number: 8069,
    protocol: "tcp",
    purpose: "HTTP",
};
const TFTP: Port = Port {
    number: 69,
    protocol: "udp",
    purpose: "TFTP",
};

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

/// Runs `test` where a machine has the interface `own0` with the address [`HERE`], and `other0` to a guest, whose network it is
/// given. Needs root.
fn with_guest(test: impl FnOnce(File) + Send + 'static) {
    let run = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("not run: no network namespace");
            return;
        }
        let (ready, guest) = mpsc::channel();
        let (go, cabled) = mpsc::channel();
        let other = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let network = File::open("/proc/thread-self/ns/net").unwrap();
            ready.send((gettid(), network)).unwrap();
            cabled.recv().unwrap();
            for words in [
                "address add 10.8.0.2/24 dev guest0",
                "link set guest0 up",
                "route add default via 10.8.0.1",
            ] {
                ip(words);
            }
        });
        let (id, network) = guest.recv().unwrap();
        for words in [
            "link add own0 type veth peer name far0".to_owned(),
            "address add 10.9.0.1/24 dev own0".to_owned(),
            "link set own0 up".to_owned(),
            format!("link add other0 type veth peer name guest0 netns {id}"),
            "address add 10.8.0.1/24 dev other0".to_owned(),
            "link set other0 up".to_owned(),
        ] {
            ip(&words);
        }
        go.send(()).unwrap();
        other.join().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { test(network) });
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Whether a guest in `network` reaches these ports, TCP and UDP.
fn reach(network: &File, web: u16, files: u16) -> [bool; 2] {
    let network = network.try_clone().unwrap();
    let guest = thread::spawn(move || {
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        let patience = std::time::Duration::from_secs(20);
        let connected = match TcpStream::connect_timeout(&(HERE, web).into(), patience) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                false
            }
        };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect((HERE, files)).unwrap();
        socket.send(b"x").unwrap();
        // A packet that nobody takes is answered so.
        let soon = std::time::Duration::from_millis(300);
        socket.set_read_timeout(Some(soon)).unwrap();
        let answer = socket.recv(&mut [0]).unwrap_err().kind();
        [connected, answer != ErrorKind::ConnectionRefused]
    });
    guest.join().unwrap()
}

#[test]
fn guests_do_not_reach_the_address_by_their_own_network() {
    with_guest(|network| {
        let web = tcp("own0", HERE, WEB).unwrap();
        let files = udp("own0", HERE, TFTP).unwrap();
        let transfer = any_udp("own0", HERE).unwrap();
        assert_eq!(reach(&network, 8069, 69), [false, false]);
        let port = transfer.local_addr().unwrap().port();
        assert_eq!(reach(&network, 8069, port), [false, false]);
        let taken = udp("own0", HERE, TFTP).unwrap_err().to_string();
        assert_eq!(taken, "port 69/udp (TFTP) is in use on 10.9.0.1");
        drop((web, files));
        let _served = (
            tcp("other0", HERE, WEB).unwrap(),
            udp("other0", HERE, TFTP).unwrap(),
        );
        assert_eq!(reach(&network, 8069, 69), [true, true]);
    });
}

//! A server in the sandbox, on the loopback interface of a network of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use axion_netboot::interface::{self, Place};
use axion_netboot::{Content, Event, Held, Options, Part, Server, UefiLoader};
use nix::sched::{CloneFlags, setns, unshare};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::unbounded_channel;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn write(directory: &Path) -> Held {
    let (kernel, initramfs) = (b"the kernel".repeat(100), b"the root".repeat(300_000));
    let image = [kernel.as_slice(), &initramfs].concat();
    std::fs::write(directory.join("image"), &image).unwrap();
    let mut sums = String::new();
    for name in ["undionly.kpxe", "snponly.efi"] {
        std::fs::write(directory.join(name), name.repeat(400)).unwrap();
        sums += &format!("{}  {name}\n", hex::encode(Sha256::digest(name.repeat(400))));
    }
    std::fs::write(directory.join("SHA256SUMS"), sums).unwrap();
    std::fs::create_dir(directory.join("configs")).unwrap();
    Held {
        image: directory.join("image"),
        sha256: Sha256::digest(&image).into(),
        kernel: Part {
            start: 0,
            length: 1000,
        },
        initramfs: Part {
            start: 1000,
            length: 2_400_000,
        },
        cmdline: "console=tty0".to_owned(),
        ipxe: directory.to_owned(),
    }
}

fn get(path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 8069)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn what_is_served_is_served_in_the_sandbox_and_nothing_else_is_left() {
    // A network of one's own needs root, as in the node's init.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let held = write(directory.path());
    let configs = directory.path().join("configs");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let (ready, served) = mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let own = configs.clone();
    let server = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let up = std::process::Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = Options {
                place: Place {
                    interface: "lo".to_owned(),
                    address: Ipv4Addr::LOCALHOST,
                    mask: [255, 0, 0, 0].into(),
                },
                content: Content::Held(held),
                configs: Some(own.clone()),
                uefi: UefiLoader::Ipxe,
                range: None,
                router: None,
                dns: Vec::new(),
                http_port: 8069,
                tls: None,
                kernel_arguments: String::new(),
            };
            let (events, mut happened) = unbounded_channel();
            let server = Server::open(options, events).await.unwrap();
            enter(&own).unwrap();
            assert!(std::fs::read(&secret).is_err() && std::fs::read("/etc/hostname").is_err());
            assert!(std::fs::write(own.join("x.toml"), "").is_err());
            assert!(std::process::Command::new("/bin/true").status().is_err());
            assert!(interface::list().is_ok());
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("CapPrm:\t0000000000000000\n"), "{status}");
            ready
                .send(std::fs::File::open("/proc/thread-self/ns/net").unwrap())
                .unwrap();
            let ended = async {
                let _ = ended.await;
            };
            server.serve(ended).await.unwrap();
            let mut events = Vec::new();
            while let Ok(event) = happened.try_recv() {
                events.push(event);
            }
            events
        })
    });
    let Ok(network) = served.recv_timeout(PATIENCE) else {
        panic!("{:?}", server.join())
    };
    let client = std::thread::spawn(move || {
        setns(network.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
        // A config that came after the start.
        std::fs::write(configs.join("default.toml"), "hostname = \"late\"\n").unwrap();
        assert!(get("/boot.ipxe").contains("chain --replace"));
        let script = get("/node.ipxe?mac=52:54:00:12:34:56");
        assert!(
            script.contains("axion.config=http://127.0.0.1:8069/config.toml"),
            "{script}"
        );
        assert!(get("/config.toml?mac=52:54:00:12:34:56").ends_with("hostname = \"late\"\n"));
        assert!(get("/vmlinuz").ends_with(&"the kernel".repeat(100)));
        assert!(get("/initramfs.cpio").ends_with(&"the root".repeat(300_000)));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
            .send_to(b"\0\x01undionly.kpxe\0octet\0", (Ipv4Addr::LOCALHOST, 69))
            .unwrap();
        let mut block = [0; 600];
        let (length, from) = socket.recv_from(&mut block).unwrap();
        assert_eq!((length, &block[..4]), (516, [0, 3, 0, 1].as_slice()));
        socket.send_to(&[0, 5, 0, 0, b'x', 0], from).unwrap();
    });
    let client = client.join();
    let _ = end.send(());
    let events = server.join().unwrap();
    client.unwrap();
    let served = |wanted: &str| {
        let mut transfers = events.iter();
        transfers.any(|event| matches!(event, Event::Transfer { file, percent: 100, .. } if file == wanted))
    };
    assert!(served("vmlinuz") && served("initramfs.cpio"), "{events:?}");
}

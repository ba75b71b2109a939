use std::net::Ipv4Addr;

use super::*;
use crate::fixture::{media, shared};

/// A client that takes `name` in blocks of 1468 and loses every `lost`th packet; `None`: it is refused.
async fn fetch(server: SocketAddr, name: &str, window: u16, lost: usize) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let words = format!("{name}\0octet\0blksize\01468\0windowsize\0{window}\0tsize\00\0");
    let request = [&[0, 1], words.as_bytes()].concat();
    socket.send_to(&request, server).await.unwrap();
    let (mut content, mut buffer, mut block, mut count) = (Vec::new(), [0; 2000], 0_u16, 0);
    loop {
        let (length, peer) = timeout(Duration::from_secs(5), socket.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        let ack = |block: u16| [&[0, 4][..], &block.to_be_bytes()].concat();
        count += 1;
        if lost > 0 && count % lost == 0 {
            continue;
        }
        match &buffer[..length] {
            [0, 5, ..] => return None,
            [0, 6, ..] => drop(socket.send_to(&ack(0), peer).await.unwrap()),
            [0, 3, high, low, data @ ..] => {
                let number = u16::from_be_bytes([*high, *low]);
                if number == block.wrapping_add(1) {
                    block = number;
                    content.extend_from_slice(data);
                    if data.len() < 1468 {
                        socket.send_to(&ack(block), peer).await.unwrap();
                        return Some(content);
                    }
                }
                if number % window == 0 || number != block {
                    socket.send_to(&ack(block), peer).await.unwrap();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn files_come_whole_with_windows_and_with_losses() {
    let dir = media();
    let (shared, mut events) = shared(dir.path(), None, Ipv4Addr::LOCALHOST);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let task = tokio::spawn(serve(socket, shared, LIMITS));
    let loader = std::fs::read(dir.path().join("undionly.kpxe")).unwrap();
    // Its length is a multiple of the block, so that the last one is empty.
    assert_eq!(loader.len() % 1468, 0);
    assert_eq!(fetch(server, "undionly.kpxe", 1, 0).await, Some(loader.clone()));
    assert_eq!(fetch(server, "/undionly.kpxe", 4, 0).await, Some(loader.clone()));
    assert_eq!(fetch(server, "undionly.kpxe", 1, 30).await, Some(loader));
    assert_eq!(fetch(server, "SHA256SUMS", 1, 0).await, None);
    task.abort();
    let mut lines = Vec::new();
    while let Ok(event) = events.try_recv() {
        lines.push(event.to_string());
    }
    assert!(lines[3].ends_with("undionly.kpxe  100 %"), "{lines:?}");
    assert!(
        lines.last().unwrap().ends_with("refused: there is no SHA256SUMS"),
        "{lines:?}"
    );
}

const SOON: Duration = Duration::from_millis(500);
const ASKS: &[u8] = b"\0\x01undionly.kpxe\0octet\0";

/// A server with these limits; what happens.
async fn serving(
    limits: Limits,
) -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<Event>,
    tempfile::TempDir,
) {
    let dir = media();
    let (shared, events) = shared(dir.path(), None, Ipv4Addr::LOCALHOST);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    tokio::spawn(serve(socket, shared, limits));
    (server, events, dir)
}

/// Where each packet is from that comes within `time`.
async fn heard(socket: &UdpSocket, time: Duration) -> Vec<SocketAddr> {
    let mut from = Vec::new();
    let _ = timeout(time, async {
        loop {
            from.push(socket.recv_from(&mut [0; 2000]).await.unwrap().1);
        }
    })
    .await;
    from
}

#[tokio::test]
async fn an_address_has_a_few_transfers_and_a_port_one() {
    let (server, _events, _dir) = serving(LIMITS).await;
    let mut sockets = Vec::new();
    for _ in 0..LIMITS.each + 3 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..3 {
            socket.send_to(ASKS, server).await.unwrap();
        }
        sockets.push(socket);
    }
    let (mut answered, time) = (0, SOON / 10);
    for socket in &sockets {
        let mut from = heard(socket, time).await;
        // The same once more, where that took long.
        from.dedup();
        assert!(from.len() <= 1, "{from:?}");
        answered += from.len();
    }
    assert_eq!(answered, LIMITS.each);
}

/// An address that was made up is sent little.
#[tokio::test]
async fn who_confirms_nothing_is_given_up_soon() {
    let (server, mut events, _dir) = serving(LIMITS).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(ASKS, server).await.unwrap();
    let told = timeout(PATIENCE * 5, events.recv()).await.unwrap().unwrap();
    assert!(told.to_string().contains("does not answer"), "{told}");
    assert_eq!(heard(&socket, SOON).await.len(), 3);
}

#[tokio::test]
async fn a_transfer_does_not_go_on_for_ever() {
    let (server, mut events, _dir) = serving(Limits {
        whole: SOON,
        ..LIMITS
    })
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(ASKS, server).await.unwrap();
    let mut packet = [0; 2000];
    // It confirms each block, slowly.
    let end = async {
        loop {
            let (_, from) = socket.recv_from(&mut packet).await.unwrap();
            tokio::time::sleep(SOON / 5).await;
            socket.send_to(&[0, 4, packet[2], packet[3]], from).await.unwrap();
        }
    };
    let told = async {
        loop {
            match events.recv().await.unwrap() {
                Event::Refused { reason, .. } => return reason,
                _ => continue,
            }
        }
    };
    let reason = tokio::select! {
        () = end => unreachable!(),
        reason = timeout(SOON * 20, told) => reason.unwrap(),
    };
    assert!(reason.contains("broke off"), "{reason}");
}

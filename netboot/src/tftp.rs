//! The TFTP server: a task for each transfer, on a socket of its own (RFC 1350 §4).
//!
//! Only firmware is served this way, with some hundred KiB of iPXE or the UKI. A transfer that hears nothing repeats what it has
//! sent a few times and is given up.
//!
//! Anybody can ask, and in another's name: until a machine has confirmed something, little is sent to it and not for long. An address has
//! a few transfers at a time, a port of it one, and no transfer goes on for ever, however slowly it is confirmed.

mod packet;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::event::{Event, Progress, shown};
use crate::files::Served;
use crate::interface::Place;
use crate::server::Shared;
use crate::socket;
use crate::turns::Turns;
use packet::{Read, Refusal, Request};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the same is sent.
const TRIES: u32 = 8;
/// The same before anything has been confirmed.
const FIRST_TRIES: u32 = 3;
/// Bytes of the largest request that is read.
const REQUEST: usize = 1024;

/// What machines may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Transfers at once: a rack that is switched on, and a bound for whoever asks in bulk.
    pub all: usize,
    /// The same to one address.
    pub each: usize,
    /// Time for a transfer: that of the UKI to firmware that takes a block in 10 ms.
    pub whole: Duration,
}

/// The server's.
pub const LIMITS: Limits = Limits {
    all: 256,
    each: 4,
    whole: Duration::from_secs(15 * 60),
};

/// Serves until the socket fails.
pub async fn serve(socket: UdpSocket, shared: Arc<Shared>, limits: Limits) -> io::Result<()> {
    let turns = Turns::new(limits.all, limits.each);
    let mut buffer = [0; REQUEST];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let read = match packet::parse(buffer.get(..length).unwrap_or_default()) {
            Ok(Some(Request::Read(read))) => read,
            Ok(_) => continue,
            Err(refusal) => {
                let _ = socket.send_to(&packet::error(refusal), peer).await;
                continue;
            }
        };
        // A client whose turn does not come asks again; one that has asked again is being answered.
        let Some(turn) = turns.take(peer) else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            answer(&read, peer, &shared, limits.whole).await;
            drop(turn);
        });
    }
}

async fn answer(read: &Read, peer: SocketAddr, shared: &Shared, whole: Duration) {
    let who = shared.who(peer.ip());
    let refuse = |reason: String| shared.say(Event::Refused { who, reason });
    let socket = match connect(shared.place(), peer).await {
        Ok(socket) => socket,
        Err(error) => return refuse(format!("no socket for {}: {error}", shown(&read.name))),
    };
    let Some((name, served)) = shared.files.get(&read.name) else {
        let _ = socket.send(&packet::error(Refusal::NotFound)).await;
        return refuse(format!("there is no {}", shown(&read.name)));
    };
    if let Some(problem) = served.problem() {
        let _ = socket.send(&packet::error(Refusal::Denied)).await;
        return refuse(problem);
    }
    let mut progress = Progress::new(who, name.to_owned(), served.size);
    let transfer = transfer(&socket, read, &served, |sent| {
        if let Some(event) = progress.reach(sent) {
            shared.say(event);
        }
    });
    match timeout(whole, transfer).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => refuse(format!("{name} broke off: {error}")),
        Err(_) => refuse(format!("{name} broke off: it has taken {} s", whole.as_secs())),
    }
}

async fn connect(from: &Place, peer: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket::any_udp(&from.interface, from.address)?;
    socket.connect(peer).await?;
    Ok(socket)
}

/// Sends `served`; `sent` hears how many bytes have come. A client that ends the transfer has had what it wanted: UEFI asks for
/// the size alone first.
async fn transfer(
    socket: &UdpSocket,
    read: &Read,
    served: &Served,
    mut sent: impl FnMut(u64),
) -> io::Result<()> {
    let mut tries = FIRST_TRIES;
    if let Some(confirmation) = read.confirmation(served.size) {
        match exchange(socket, &[confirmation], tries, 0, 0).await? {
            Some(_) => tries = TRIES,
            None => return Ok(()),
        }
    }
    let block = u64::from(read.block);
    let last = read.blocks(served.size);
    let mut base = 0;
    while base < last {
        let count = u64::from(read.window).min(last - base);
        let mut packets = Vec::new();
        for number in base + 1..=base + count {
            let from = (number - 1) * block;
            let length = block.min(served.size.saturating_sub(from));
            let mut content = vec![0; usize::try_from(length).unwrap_or_default()];
            // From the page cache: these files have just been hashed.
            served.read(&mut content, from)?;
            packets.push(packet::data(number, &content));
        }
        let window = u16::try_from(count).unwrap_or(u16::MAX);
        let Some(confirmed) = exchange(socket, &packets, tries, base, window).await? else {
            return Ok(());
        };
        tries = TRIES;
        base += confirmed;
        sent(base.saturating_mul(block).min(served.size));
    }
    Ok(())
}

/// Sends `packets` until some of them are confirmed, `tries` times at most; gives how many. The confirmation of options is the block 0 behind which a
/// window of none begins. `None`: the client ends it.
async fn exchange(
    socket: &UdpSocket,
    packets: &[Vec<u8>],
    tries: u32,
    base: u64,
    window: u16,
) -> io::Result<Option<u64>> {
    let mut buffer = [0; REQUEST];
    for _ in 0..tries {
        for packet in packets {
            socket.send(packet).await?;
        }
        let heard = timeout(PATIENCE, async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                match packet::parse(buffer.get(..length).unwrap_or_default()) {
                    Ok(Some(Request::Error)) => return Ok::<_, io::Error>(None),
                    Ok(Some(Request::Ack(0))) if window == 0 => return Ok(Some(0)),
                    Ok(Some(Request::Ack(ack))) => {
                        let confirmed = packet::confirmed(base, ack, window);
                        if confirmed > 0 {
                            return Ok(Some(confirmed));
                        }
                    }
                    _ => {}
                }
            }
        });
        if let Ok(answer) = heard.await {
            return answer;
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the machine does not answer any more",
    ))
}

#[cfg(test)]
mod tests;

//! The whole way in: sockets, TLS, HTTP, by the typed client.

use std::net::SocketAddr;

use axion_api::client::{Client, Endpoint, Error, ImageFile, Precondition, Trust};
use axion_api::event::What;
use axion_api::vm::{VmSpec, VmState, VmVsock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::routes::router;
use crate::testing::{Agent, FakeVmm, TOKEN};
use crate::tls::{Ca, Identity, Subjects};

/// Serves `agent` over HTTPS. Answers the address and the CA's fingerprint.
async fn serve(agent: &Agent) -> (SocketAddr, String) {
    let server = Server::new(
        router(&agent.app),
        agent.app.closing.clone(),
        agent.app.tasks.clone(),
    );
    let ca = Ca::load_or_create(&agent.directory.path().join("tls"), "node1").unwrap();
    let identity = Arc::new(Identity::new(ca, &Subjects::new("node1", [])).unwrap());
    let listener = bind_https(([127, 0, 0, 1], 0).into()).await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.https(listener, identity.server_config().unwrap()));
    (address, identity.fingerprint())
}

fn client(address: SocketAddr, fingerprint: &str, token: &str) -> Client {
    let endpoint = Endpoint {
        address: address.to_string().parse().unwrap(),
        token: token.to_owned(),
        trust: Trust::Pin(fingerprint.parse().unwrap()),
    };
    Client::tls(&endpoint).unwrap()
}

#[tokio::test]
async fn a_client_with_pin_and_token_runs_a_vm_and_talks_to_it() {
    let agent = Agent::new().await;
    let _vmm = FakeVmm::new(&agent.vm_directory("hello"));
    let (address, fingerprint) = serve(&agent).await;
    let client = client(address, &fingerprint, TOKEN);
    client.health().await.unwrap();
    assert_eq!(client.host().await.unwrap().hostname, "node1");
    assert_eq!(client.openapi().await.unwrap()["info"]["title"], "Axion node");

    let file = agent.directory.path().join("kernel");
    std::fs::write(&file, vec![7; 3 << 20]).unwrap();
    let image = client
        .put_image(&ImageFile::open(&file).await.unwrap(), |_| {})
        .await
        .unwrap();
    assert_eq!(client.images().await.unwrap(), std::slice::from_ref(&image));
    client.delete_image(&image.digest).await.unwrap();

    let mut events = client.events(None).await.unwrap();
    let spec = VmSpec {
        vsock: Some(VmVsock::default()),
        ..VmSpec::default()
    };
    let vm = client.put_vm("hello", &spec, Precondition::Absent).await.unwrap();
    let stale = client
        .put_vm(
            "hello",
            &VmSpec::default(),
            Precondition::Revision(vm.revision + 1),
        )
        .await;
    assert!(matches!(stale, Err(Error::Problem(problem)) if problem.status == 412));
    client.start_vm("hello").await.unwrap();
    loop {
        let event = events.next().await.unwrap().unwrap();
        if matches!(event.what, What::Vm(vm) if vm.status.state == VmState::Running) {
            break;
        }
    }

    let mut console = client.console("hello").await.unwrap();
    let mut text = [0; 5];
    console.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"hello");
    let typed: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut from, mut to) = tokio::io::split(console);
    let echo = async {
        let mut echo = vec![0; typed.len()];
        from.read_exact(&mut echo).await.unwrap();
        echo
    };
    let (sent, echo) = tokio::join!(to.write_all(&typed), echo);
    sent.unwrap();
    assert!(echo == typed, "all comes back, in order");

    let mut port = client.vsock("hello", 22).await.unwrap();
    let mut text = [0; 4];
    port.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"ssh:");
    port.write_all(b"echo").await.unwrap();
    port.flush().await.unwrap();
    port.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"echo");
    let nobody = client.vsock("hello", 23).await;
    assert!(
        matches!(&nobody, Err(Error::Problem(problem)) if problem.status == 503 && problem.detail.contains("port 23")),
        "{nobody:?}"
    );

    agent.app.closing.cancel();
    assert_eq!(
        from.read(&mut [0]).await.unwrap_or(0),
        0,
        "the console ends with the agent"
    );
    agent.app.tasks.close();
    timeout(Duration::from_secs(10), agent.app.tasks.wait())
        .await
        .unwrap();
}

#[tokio::test]
async fn without_the_token_or_the_pin_there_is_no_way_in() {
    let agent = Agent::alone();
    let (address, fingerprint) = serve(&agent).await;
    let guess = client(address, &fingerprint, "guess").images().await;
    assert!(matches!(guess, Err(Error::Problem(problem)) if problem.status == 401));
    let other = format!("sha256:{}", "0".repeat(64));
    assert!(client(address, &other, TOKEN).health().await.is_err());
    let plain = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = plain.into_split();
    to.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good an answer as a TLS alert.
    let _ = from.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn the_local_socket_trusts_the_kernels_word() {
    let agent = Agent::alone();
    let path = agent.directory.path().join("agent.sock");
    std::fs::write(&path, "left over").unwrap();
    let server = Server::new(
        router(&agent.app),
        agent.app.closing.clone(),
        agent.app.tasks.clone(),
    );
    tokio::spawn(server.local(bind_local(&path).unwrap()));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let client = Client::unix(&path);
    client.health().await.unwrap();
    assert_eq!(client.images().await.is_ok(), nix::unistd::getuid().is_root());
}

/// Serves the other end of the stream that is answered, over HTTP/2 or HTTP/1.1.
fn serve_stream(agent: &Agent, is_http2: bool) -> tokio::io::DuplexStream {
    let server = Server::new(
        router(&agent.app),
        agent.app.closing.clone(),
        agent.app.tasks.clone(),
    );
    let (near, far) = tokio::io::duplex(64 << 10);
    let peer = Peer::Remote(([192, 0, 2, 1], 1).into());
    tokio::spawn(async move {
        if is_http2 {
            server.http2(far, peer).await;
        } else {
            server.http1(far, peer).await;
        }
    });
    near
}

/// Whether the server closes within a time in which it would only wait for ever.
async fn is_closed(read: impl Future) -> bool {
    timeout(HEAD * 2, read).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let agent = Agent::alone();
    for is_http2 in [false, true] {
        let mut stream = serve_stream(&agent, is_http2);
        let mut said = Vec::new();
        assert!(
            is_closed(stream.read_to_end(&mut said)).await,
            "HTTP/2: {is_http2}"
        );
    }
}

/// An HTTP/2 client that answers whatever it is asked; until the connection ends.
async fn answer_pings(stream: &mut tokio::io::DuplexStream) {
    const PING: u8 = 6;
    const SETTINGS: u8 = 4;
    const ACK: u8 = 1;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut body = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let answer = match (head[3], head[4] & ACK) {
            (PING, 0) => [&[0, 0, 8, PING, ACK, 0, 0, 0, 0], body.as_slice()].concat(),
            (SETTINGS, 0) => vec![0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0],
            _ => continue,
        };
        // The server may have closed it by now.
        let _ = stream.write_all(&answer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_only_answers_pings_is_closed_and_one_with_a_request_is_not() {
    let agent = Agent::alone();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut idle = serve_stream(&agent, true);
    idle.write_all(preface).await.unwrap();
    assert!(is_closed(answer_pings(&mut idle)).await);

    let server = Server::new(
        router(&agent.app),
        agent.app.closing.clone(),
        agent.app.tasks.clone(),
    );
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move { server.http2(far, Peer::Local { uid: 0 }).await });
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
            .await
            .unwrap();
    let ended = tokio::spawn(connection);
    let request = Request::get("http://node/v1/events").body(axum::body::Body::empty());
    let events = sender.send_request(request.unwrap()).await.unwrap();
    assert!(
        !is_closed(async {
            while !ended.is_finished() {
                sleep(PAUSE).await
            }
        })
        .await
    );
    drop(events);
    assert!(is_closed(ended).await);
}

#[tokio::test]
async fn the_kernel_looks_for_clients_that_are_gone() {
    let listener = bind_https(([127, 0, 0, 1], 0).into()).await;
    let address = listener.local_addr().unwrap();
    let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let stream = accepted.unwrap().0;
    set_up(&stream);
    let get = nix::sys::socket::getsockopt(&stream, sockopt::KeepAlive);
    assert!(get.unwrap());
    let get = nix::sys::socket::getsockopt(&stream, sockopt::TcpUserTimeout);
    assert_eq!(get.unwrap(), 120_000);
}

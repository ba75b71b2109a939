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

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::connections::{self, LIMITS, Limits};
use crate::event::Event;
use crate::fixture::{media, shared};

/// A CA and a certificate of it for these names, in files.
fn certificate(names: &[&str]) -> (TempDir, TlsFiles, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let files = TlsFiles {
        certificate: dir.path().join("boot.crt"),
        key: dir.path().join("boot.key"),
        name: None,
    };
    std::fs::write(&files.certificate, leaf.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    (dir, files, ca.der().clone())
}

fn refused(files: &TlsFiles, address: Ipv4Addr) -> String {
    Tls::open(files, address).unwrap_err().to_string()
}

#[test]
fn a_certificate_that_machines_would_refuse_is_refused_first() {
    let address = Ipv4Addr::new(10, 0, 0, 1);
    let (_dir, files, _) = certificate(&["10.0.0.1", "boot.example.org"]);
    let tls = Tls::open(&files, address).unwrap();
    assert_eq!(
        (tls.host.as_str(), tls.pin.len(), tls.rsa),
        ("10.0.0.1", 64, false)
    );
    let named = TlsFiles {
        name: Some("boot.example.org".to_owned()),
        ..files.clone()
    };
    assert_eq!(Tls::open(&named, address).unwrap().host, "boot.example.org");

    let other = refused(&files, Ipv4Addr::new(10, 0, 0, 2));
    assert!(
        other.contains("boot.crt: not a certificate for 10.0.0.2"),
        "{other}"
    );
    let (_other_dir, other_files, _) = certificate(&["10.0.0.1"]);
    let mixed = TlsFiles {
        key: other_files.key,
        ..files.clone()
    };
    let mixed = refused(&mixed, address);
    assert!(
        mixed.contains("boot.key: not the key of ") && mixed.ends_with("boot.crt"),
        "{mixed}"
    );
    let swapped = TlsFiles {
        certificate: files.key.clone(),
        ..files.clone()
    };
    let swapped = refused(&swapped, address);
    assert!(swapped.contains("it holds no certificate as PEM"), "{swapped}");
    let no_key = TlsFiles {
        key: files.certificate.clone(),
        ..files
    };
    assert!(refused(&no_key, address).contains("no private key as PEM"));
}

async fn get(
    address: std::net::SocketAddr,
    root: CertificateDer<'static>,
    path: &str,
) -> io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // An end of the connection without TLS's own is an end, here.
    match stream.read_to_end(&mut answer).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

#[tokio::test]
async fn whoever_trusts_the_ca_is_served_and_nobody_waits_for_a_handshake() {
    let media = media();
    let (shared, mut events) = shared(media.path(), None, Ipv4Addr::LOCALHOST);
    let (_dir, files, ca) = certificate(&["127.0.0.1"]);
    let (_strange_dir, _, strange) = certificate(&["127.0.0.1"]);
    let tls = Tls::open(&files, Ipv4Addr::LOCALHOST).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(connections::serve(listener, Some(tls), shared, LIMITS));
    // It says nothing, and holds nobody up.
    let _silent = TcpStream::connect(address).await.unwrap();

    let kernel = get(address, ca, "/vmlinuz").await.unwrap();
    assert!(kernel.ends_with("the kernel".repeat(1000).as_bytes()));
    let told = events.recv().await.unwrap();
    assert!(
        matches!(&told, Event::Transfer { file, percent: 100, .. } if file == "vmlinuz"),
        "{told:?}"
    );
    get(address, strange, "/vmlinuz").await.unwrap_err();
    let told = events.recv().await.unwrap();
    assert!(
        matches!(&told, Event::Refused { reason, .. } if reason.starts_with("TLS: ")),
        "{told:?}"
    );
    server.abort();
}

#[tokio::test]
async fn who_says_nothing_leaves_its_place_to_others() {
    let media = media();
    let (shared, _events) = shared(media.path(), None, Ipv4Addr::LOCALHOST);
    let (_dir, files, ca) = certificate(&["127.0.0.1"]);
    let tls = Tls::open(&files, Ipv4Addr::LOCALHOST).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        all: 4,
        each: 4,
        hello: Duration::from_millis(300),
        ..LIMITS
    };
    let server = tokio::spawn(connections::serve(listener, Some(tls), shared, limits));
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let kernel = timeout(Duration::from_secs(20), get(address, ca, "/vmlinuz")).await;
    assert!(kernel.unwrap().unwrap().ends_with(b"the kernel"));
    server.abort();
}

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::client::{Endpoint, Fingerprint, Trust, presented_ca};

/// A CA like a node's, and what it signs.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Self {
            certificate: made.der().clone(),
            pem: made.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A leaf for `name`, with the key that belongs to it.
    fn leaf(&self, name: &str, last_year: i32) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (leaf.der().clone(), key.serialize_der().try_into().unwrap())
    }
}

/// A server that presents `chain` and accepts the token `right`.
async fn node(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let answer: Answer = |request| match request.headers().get("authorization") {
                Some(token) if token == "Bearer right" => json("[]"),
                _ => refuse(Kind::Unauthorized, "the token is not known"),
            };
            tokio::spawn(serve(stream, answer, Arc::default()));
        }
    });
    address
}

/// Presents the leaf and its CA, as a node does.
async fn node_of(ca: &Ca, last_year: i32) -> SocketAddr {
    // The name is not the one that the client uses: with a pin it does not matter.
    let (leaf, key) = ca.leaf("some-node", last_year);
    node(vec![leaf, ca.certificate.clone()], key).await
}

fn client(address: SocketAddr, token: &str, trust: Trust) -> Client {
    let address = format!("https://{address}").parse().unwrap();
    Client::tls(&Endpoint {
        address,
        token: token.to_owned(),
        trust,
    })
    .unwrap()
}

#[tokio::test]
async fn the_right_pin() {
    let ca = Ca::new();
    let address = node_of(&ca, 2099).await;
    assert!(
        client(address, "right", Trust::Pin(ca.fingerprint()))
            .vms()
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_wrong_token_is_a_problem_with_a_hint() {
    let ca = Ca::new();
    let address = node_of(&ca, 2099).await;
    let error = client(address, "wrong", Trust::Pin(ca.fingerprint()))
        .vms()
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(error.hint().unwrap().contains("token"));
}

#[tokio::test]
async fn a_wrong_pin_shows_both() {
    let (ca, other) = (Ca::new(), Ca::new());
    let address = node_of(&ca, 2099).await;
    let error = client(address, "right", Trust::Pin(other.fingerprint()))
        .vms()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::PinMismatch { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&other.fingerprint().to_string()), "{text}");
    assert!(text.contains(&ca.fingerprint().to_string()), "{text}");
}

/// Anyone can present the pinned CA's certificate; only its key can sign.
#[tokio::test]
async fn a_leaf_that_the_pinned_ca_did_not_sign() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (leaf, key) = other.leaf("some-node", 2099);
    let address = node(vec![leaf, ca.certificate.clone()], key).await;
    let error = client(address, "right", Trust::Pin(ca.fingerprint()))
        .vms()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn an_expired_leaf() {
    let ca = Ca::new();
    let address = node_of(&ca, 2021).await;
    let error = client(address, "right", Trust::Pin(ca.fingerprint()))
        .vms()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("expired"), "{cause}");
}

#[tokio::test]
async fn a_ca_file_checks_the_name() {
    let ca = Ca::new();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, &ca.pem).unwrap();

    let (leaf, key) = ca.leaf("127.0.0.1", 2099);
    let address = node(vec![leaf], key).await;
    client(address, "right", Trust::CaFile(file.clone()))
        .vms()
        .await
        .unwrap();

    let address = node_of(&ca, 2099).await;
    let error = client(address, "right", Trust::CaFile(file))
        .vms()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_ca_file_without_a_certificate() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    let address = "https://127.0.0.1:1".parse().unwrap();
    let endpoint = Endpoint {
        address,
        token: "right".to_owned(),
        trust: Trust::CaFile(file.clone()),
    };
    let error = Client::tls(&endpoint).unwrap_err();
    assert_eq!(error.to_string(), format!("CA file {}", file.display()));
}

#[tokio::test]
async fn the_fingerprint_to_compare() {
    let ca = Ca::new();
    let address = node_of(&ca, 2099).await;
    let presented = presented_ca(&format!("https://{address}").parse().unwrap())
        .await
        .unwrap();
    assert_eq!(presented, ca.fingerprint());
}

#[tokio::test]
async fn a_server_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-x\r\n").await;
        }
    });
    let ca = Ca::new();
    let error = client(address, "right", Trust::Pin(ca.fingerprint()))
        .vms()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[test]
fn a_token_that_no_header_may_carry() {
    for token in ["", "two words", "line\n", "\u{7}"] {
        let endpoint = Endpoint {
            address: "https://127.0.0.1".parse().unwrap(),
            token: token.to_owned(),
            trust: Trust::Pin(Fingerprint::of(&CertificateDer::from(vec![]))),
        };
        let error = Client::tls(&endpoint).unwrap_err();
        assert!(matches!(error, Error::Token), "{error:?}");
        assert!(!format!("{error}{error:?}").contains("words"));
    }
}

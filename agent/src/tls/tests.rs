use std::os::unix::fs::PermissionsExt;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;

fn verifies(identity: &Identity, name: &str, at: OffsetDateTime) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(identity.ca.certificate.clone()).unwrap();
    let provider = identity.provider.clone();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let leaf = identity.leaf.read().unwrap();
    let [end, rest @ ..] = leaf.certified.cert.as_slice() else {
        panic!("no certificate")
    };
    let seconds = u64::try_from(at.unix_timestamp()).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    verifier
        .verify_server_cert(end, rest, &ServerName::try_from(name).unwrap(), &[], now)
        .is_ok()
}

fn identity(directory: &Path) -> Identity {
    let ca = Ca::load_or_create(&directory.join("tls"), "node1").unwrap();
    Identity::new(ca, &Subjects::new("node1", ["192.0.2.7".parse().unwrap()])).unwrap()
}

#[test]
fn the_leaf_is_good_for_the_hosts_names_whatever_its_clock_says() {
    let directory = tempfile::tempdir().unwrap();
    let identity = identity(directory.path());
    for name in ["node1", "localhost", "127.0.0.1", "::1", "192.0.2.7"] {
        assert!(verifies(&identity, name, now()), "{name}");
    }
    assert!(!verifies(&identity, "192.0.2.8", now()));
    assert!(
        verifies(&identity, "node1", rcgen::date_time_ymd(2020, 6, 1)),
        "a clock that is behind"
    );
    assert!(!verifies(&identity, "node1", now() + Duration::days(366)));
}

#[test]
fn the_ca_stays_and_the_leaf_follows_the_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let first = identity(directory.path());
    let file = directory.path().join("tls").join(CA_FILE);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let second = identity(directory.path());
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.fingerprint().len(), 7 + 64);
    let shown = |identity: &Identity| identity.leaf.read().unwrap().certified.clone();
    let before = shown(&second);
    second
        .update(&Subjects::new("node1", ["192.0.2.7".parse().unwrap()]))
        .unwrap();
    assert!(Arc::ptr_eq(&before, &shown(&second)), "nothing changed");
    second
        .update(&Subjects::new("node1", ["2001:db8::7".parse().unwrap()]))
        .unwrap();
    assert!(verifies(&second, "2001:db8::7", now()));
    assert!(!verifies(&second, "192.0.2.7", now()));
}

#[test]
fn a_ca_that_cannot_be_read_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let first = identity(directory.path());
    std::fs::write(directory.path().join("tls").join(CA_FILE), "torn").unwrap();
    let second = identity(directory.path());
    assert_ne!(first.fingerprint(), second.fingerprint());
    assert!(verifies(&second, "node1", now()));
}

#[test]
fn a_name_that_no_certificate_can_carry_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let identity = identity(directory.path());
    assert!(identity.update(&Subjects::new("knoten-ü", [])).is_err());
}

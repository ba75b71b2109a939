use std::io::Cursor;

use minisign::{KeyPair, PublicKey, SignatureBox};

use super::*;

#[test]
fn sums_are_those_of_sha256sum_and_the_signature_is_theirs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "abc").unwrap();
    std::fs::write(dir.path().join("stranger"), "x").unwrap();
    let KeyPair { sk, .. } = KeyPair::generate_unencrypted_keypair().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, sk.to_box(None).unwrap().into_string()).unwrap();

    write(dir.path(), &["a"], Some(&Key::read(&key).unwrap())).unwrap();
    let sums = std::fs::read_to_string(dir.path().join(SUMS)).unwrap();
    assert_eq!(
        sums,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
    );
    let signature = SignatureBox::from_file(dir.path().join(SIGNATURE)).unwrap();
    let public = PublicKey::from_secret_key(&sk).unwrap();
    let verify = |text: &str| minisign::verify(&public, &signature, Cursor::new(text), true, false, false);
    verify(&sums).unwrap();
    verify("other\n").unwrap_err();

    write(dir.path(), &["a"], None).unwrap();
    assert!(!dir.path().join(SIGNATURE).exists());
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nokey");
    std::fs::write(&file, "hello\nworld\n").unwrap();
    let error = format!("{:#}", Key::read(&file).unwrap_err());
    assert!(error.contains("nokey"), "{error}");
}

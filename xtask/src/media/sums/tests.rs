use std::io::Cursor;

use minisign::{KeyPair, PublicKeyBox, SignatureBox};

use super::*;

#[test]
fn sums_are_those_of_sha256sum_and_the_signature_is_theirs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "abc").unwrap();
    std::fs::write(dir.path().join("stranger"), "x").unwrap();
    let KeyPair { sk, .. } = KeyPair::generate_unencrypted_keypair().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, sk.to_box(None).unwrap().into_string()).unwrap();

    std::fs::write(dir.path().join("b"), "image").unwrap();
    let key = Key::read(&key).unwrap();
    write(dir.path(), &["a"], &["b"], Some(&key)).unwrap();
    let sums = std::fs::read_to_string(dir.path().join(SUMS)).unwrap();
    assert_eq!(
        sums,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
    );
    let public = PublicKeyBox::from_string(&key.public().unwrap()).unwrap();
    let public = public.into_public_key().unwrap();
    let verify = |file: &str, text: &str| {
        let signature = SignatureBox::from_file(dir.path().join(file)).unwrap();
        minisign::verify(&public, &signature, Cursor::new(text), true, false, false)
    };
    verify("SHA256SUMS.minisig", &sums).unwrap();
    verify("SHA256SUMS.minisig", "other\n").unwrap_err();
    verify("b.minisig", "image").unwrap();

    write(dir.path(), &["a"], &["b"], None).unwrap();
    for file in ["SHA256SUMS.minisig", "b.minisig"] {
        assert!(!dir.path().join(file).exists());
    }
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nokey");
    std::fs::write(&file, "hello\nworld\n").unwrap();
    let error = format!("{:#}", Key::read(&file).unwrap_err());
    assert!(error.contains("nokey"), "{error}");
}

use super::*;

#[test]
fn the_hash_is_what_the_machine_config_takes() {
    let hash = Token::new("abc").hash();
    assert_eq!(
        hash,
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn tokens_differ_and_stay_out_of_messages() {
    let (a, b) = (Token::random(), Token::random());
    assert_ne!(a.as_str(), b.as_str());
    assert_eq!(a.as_str().len(), 48);
    assert!(!format!("{a:?}").contains(a.as_str()));
}

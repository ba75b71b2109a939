use super::*;

const COMMAND: &str = "Unseal";
const CODE: u32 = 0x15e;

fn session(attributes: u8) -> Session {
    Session::new(0x0300_0000, &[7; 32], &[8; 32], [9; 32], attributes)
}

/// What a TPM that knows the salt answers: `parameters`, masked where the session asks for it, and the area behind them.
fn answered(session: &Session, parameters: &[u8]) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let nonce = [10; 32];
    let mut parameters = Zeroizing::new(parameters.to_vec());
    if session.attributes & ENCRYPT != 0 {
        mask_first(&mut parameters, &session.key, &nonce, &session.nonce_caller);
    }
    let hashed = sha256(&[&[0; 4], &CODE.to_be_bytes(), &parameters]);
    let proof = hmac(
        &session.key,
        &[&hashed, &nonce, &session.nonce_caller, &[session.attributes]],
    );
    let area = Writer::new()
        .sized(&nonce)
        .u8(session.attributes)
        .sized(&proof)
        .done();
    (parameters, area.to_vec())
}

#[test]
fn the_key_is_derived_of_the_salt_and_both_nonces() {
    assert_eq!(
        hex::encode(&session(0).key),
        "e6c2b635b8f442ff8d53a959302887bee52a267d25dc92153b0c0ffc5eb780cc"
    );
}

#[test]
fn a_secret_is_masked_in_the_answer() {
    let mut session = session(ENCRYPT);
    let mut nothing = Zeroizing::new(Vec::new());
    session.authorize(CODE, &[b"name"], &mut nothing).unwrap();
    let clear = Writer::new().sized(b"a secret").done();
    let (mut parameters, area) = answered(&session, &clear);
    assert_ne!(parameters, clear);
    session.accept(COMMAND, CODE, &mut parameters, &area).unwrap();
    assert_eq!(parameters, clear);
}

#[test]
fn a_secret_is_masked_in_the_command_and_its_length_is_not() {
    let mut session = session(DECRYPT);
    let clear = Writer::new().sized(b"a secret").u32(5).done();
    let mut parameters = clear.clone();
    session.authorize(CODE, &[b"name"], &mut parameters).unwrap();
    assert_eq!(parameters[..2], clear[..2]);
    assert_ne!(parameters[2..10], clear[2..10]);
    assert_eq!(parameters[10..], clear[10..]);
}

#[test]
fn an_answer_that_was_changed_on_the_way_is_forged() {
    let mut session = session(0);
    session.authorize(CODE, &[], &mut Zeroizing::default()).unwrap();
    let (mut parameters, area) = answered(&session, &[0, 1, 2]);
    parameters[2] ^= 1;
    let error = session.accept(COMMAND, CODE, &mut parameters, &area).unwrap_err();
    assert!(matches!(error, TpmError::Forged { .. }), "{error}");
}

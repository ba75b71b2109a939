use super::*;
use crate::command::tests::Script;

fn tpm(answers: &[&str]) -> (Tpm, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let script = Script::new(answers);
    let sent = script.sent.clone();
    (Tpm::new(Box::new(script), Duration::from_secs(5)), sent)
}

#[test]
fn registers_are_read_in_their_order() {
    let answer = format!(
        "8001 00000060 00000000 00000014 00000001 000b 03 800800 00000002 0020 {} 0020 {}",
        "11".repeat(32),
        "22".repeat(32)
    );
    let (mut tpm, sent) = tpm(&[&answer]);
    let values = tpm.read([7, 11].into_iter().collect()).unwrap();
    assert_eq!(values, [[0x11; 32], [0x22; 32]]);
    let expected = "8001 00000014 0000017e 00000001 000b 03 800800".replace(' ', "");
    assert_eq!(sent.lock().unwrap().concat(), expected);
}

#[test]
fn a_tpm_without_sha256_says_so() {
    let (mut tpm, _) = tpm(&["8001 00000016 00000000 00000014 00000000 00000000"]);
    let error = tpm.read([7].into_iter().collect()).unwrap_err();
    assert!(matches!(error, TpmError::NoBank { pcr: 7 }), "{error}");
}

#[test]
fn an_event_is_hashed_by_the_tpm_itself() {
    let (mut tpm, sent) = tpm(&["8002 00000017 00000000 00000004 00000000 0000 01 0000"]);
    tpm.measure(15, b"ab").unwrap();
    let expected =
        "8002 0000001f 0000013c 0000000f 00000009 40000009 0000 00 0000 0002 6162".replace(' ', "");
    assert_eq!(sent.lock().unwrap().concat(), expected);
}

#[test]
fn its_maker_is_told_by_letters() {
    let property =
        |name: &str, value: &str| format!("8001 0000001b 00000000 01 00000006 00000001 {name} {value}");
    let (mut tpm, _) = tpm(&[
        &property("00000105", "49465800"),
        &property("0000010b", "00070055"),
    ]);
    let identity = tpm.identity().unwrap();
    assert_eq!(identity.manufacturer, "IFX");
    assert_eq!(identity.firmware, "7.85");
}

#[test]
fn a_machine_without_a_tpm_says_so() {
    let root = tempfile::tempdir().unwrap();
    let error = Tpm::open(root.path(), Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, TpmError::Absent));
}

#[test]
fn the_storage_key_is_the_tcgs_template() {
    let template = storage_key();
    assert_eq!(
        hex::encode(&template[..26]),
        "0023 000b 00030472 0000 0006 0080 0043 0010 0003 0010 0020 0000".replace(' ', "")
    );
    assert_eq!(point(&template).unwrap().x, [0; 32]);
}

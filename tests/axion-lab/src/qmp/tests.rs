use super::*;

fn session(answers: &'static [&'static str]) -> Result<Qmp> {
    let (mut qemu, lab) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut requests = BufReader::new(qemu.try_clone().unwrap());
        qemu.write_all(b"{\"QMP\": {\"version\": {}}}\n").unwrap();
        for answer in answers {
            requests.read_line(&mut String::new()).unwrap();
            writeln!(qemu, "{answer}").unwrap();
        }
    });
    Qmp::connect(lab)
}

#[test]
fn events_between_request_and_answer_are_skipped() {
    let mut qmp = session(&[
        r#"{"return": {}}"#,
        "{\"event\": \"RESUME\", \"timestamp\": {}}\n{\"return\": \"b8000: 0x41\"}",
    ])
    .unwrap();
    assert_eq!(qmp.human("xp 0xb8000").unwrap(), "b8000: 0x41");
}

#[test]
fn a_refusal_carries_qemus_words() {
    let mut qmp = session(&[
        r#"{"return": {}}"#,
        r#"{"error": {"class": "GenericError", "desc": "no display"}}"#,
    ])
    .unwrap();
    let message = qmp.execute("screendump", &json!({})).unwrap_err().to_string();
    assert_eq!(message, "QMP command screendump: no display");
}

#[test]
fn the_end_of_qemu_is_no_hang() {
    let mut qmp = session(&[r#"{"return": {}}"#]).unwrap();
    assert!(
        qmp.execute("query-status", &json!({}))
            .unwrap_err()
            .to_string()
            .contains("query-status")
    );
}

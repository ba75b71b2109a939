use std::io;
use std::time::Duration;

use super::*;

/// Gives these answers, and keeps what it was sent.
pub(crate) struct Script {
    pub(crate) sent: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    pub(crate) answers: Vec<Vec<u8>>,
}

impl Script {
    pub(crate) fn new(answers: &[&str]) -> Self {
        let answers = answers
            .iter()
            .rev()
            .map(|answer| hex::decode(answer.replace(' ', "")).unwrap());
        Self {
            sent: std::sync::Arc::default(),
            answers: answers.collect(),
        }
    }
}

impl Transport for Script {
    fn transmit(&mut self, command: &[u8], _: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
        self.sent.lock().unwrap().push(hex::encode(command));
        let answer = self.answers.pop().ok_or(io::ErrorKind::TimedOut)?;
        Ok(Zeroizing::new(answer))
    }
}

fn call<'c>() -> Call<'c> {
    Call {
        name: "Test",
        code: 0x13c,
        handles: &[15],
        parameters: Writer::new().sized(b"ab").done(),
        answers_handle: false,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn a_command_with_a_password_has_an_authorization_area() {
    let mut script = Script::new(&["8002 00000013 00000000 00000000 0000 01 0000"]);
    let answer = call().perform(&mut script, soon(), Auth::Password).unwrap();
    assert!(answer.parameters.is_empty());
    let sent = script.sent.lock().unwrap().concat();
    assert_eq!(
        sent,
        "8002 0000001f 0000013c 0000000f 00000009 40000009 0000 00 0000 0002 6162".replace(' ', "")
    );
}

#[test]
fn a_refusal_is_told_by_its_code() {
    let mut script = Script::new(&["8001 0000000a 00000984"]);
    let error = call().perform(&mut script, soon(), Auth::Password).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the TPM refuses Test: a value is not allowed (TPM_RC_VALUE)"
    );
}

#[test]
fn a_busy_tpm_is_asked_again_and_one_that_is_silent_is_not() {
    let busy = "8001 0000000a 00000922";
    let mut script = Script::new(&[busy, busy, "8001 0000000a 00000000"]);
    call().perform(&mut script, soon(), Auth::None).unwrap();
    assert_eq!(script.sent.lock().unwrap().len(), 3);

    let mut silent = Script::new(&[]);
    let error = call().perform(&mut silent, soon(), Auth::None).unwrap_err();
    assert!(matches!(&error, TpmError::Device { source, .. } if source.kind() == io::ErrorKind::TimedOut));
}

#[test]
fn an_answer_that_is_cut_off_is_malformed() {
    for answer in [
        "8001 0000000a",
        "8001 0000000b 00000000",
        "8002 0000000e 00000000 00000010",
    ] {
        let error = call()
            .perform(&mut Script::new(&[answer]), soon(), Auth::Password)
            .unwrap_err();
        assert!(matches!(error, TpmError::Malformed { .. }), "{answer}: {error}");
    }
}

//! What a pretended init answers about keys.

use axion_api::keys::{Answer, Call};

use super::FakeInit;

/// What it was asked, and the answer to the next call.
#[derive(Default)]
pub struct FakeKeys {
    calls: Vec<Call>,
    answer: Option<Answer>,
}

impl FakeKeys {
    pub fn answer(&mut self, call: &str) -> String {
        self.calls.push(serde_json::from_str(call).unwrap());
        serde_json::to_string(&self.answer.take().unwrap_or(Answer::Done)).unwrap()
    }
}

impl FakeInit {
    pub fn answer_keys(&self, answer: Answer) {
        self.0.lock().unwrap().keys.answer = Some(answer);
    }

    /// The calls since the last time.
    pub fn key_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().keys.calls)
    }
}

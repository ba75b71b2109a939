//! What a pretended init answers about the machine config.

use axion_api::config::{Answer, Call, ConfigDocument};

use super::FakeInit;

/// What it was asked, and the answer to the next call.
#[derive(Default)]
pub struct FakeConfig {
    calls: Vec<Call>,
    answer: Option<Answer>,
}

impl FakeConfig {
    pub fn answer(&mut self, call: &str) -> String {
        self.calls.push(serde_json::from_str(call).unwrap());
        let usual = || Answer::Document(ConfigDocument::default());
        serde_json::to_string(&self.answer.take().unwrap_or_else(usual)).unwrap()
    }
}

impl FakeInit {
    pub fn answer_config(&self, answer: Answer) {
        self.0.lock().unwrap().config.answer = Some(answer);
    }

    /// The calls since the last time.
    pub fn config_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().config.calls)
    }
}

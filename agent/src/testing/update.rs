//! What a pretended init answers about updates.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use axion_api::update::{Answer, Call, Staging, UpdateStatus};

use super::FakeInit;

/// What it was asked, and the answer to the next call.
#[derive(Default)]
pub struct FakeUpdates {
    calls: Vec<Call>,
    staged: Vec<(Vec<u8>, Staging)>,
    answer: Option<Answer>,
}

impl FakeUpdates {
    fn told(&mut self) -> String {
        let usual = || {
            Answer::Status(Box::new(UpdateStatus {
                running: "a".to_owned(),
                trusted_keys: vec!["E7620F1842B4E81F".to_owned()],
                ..UpdateStatus::default()
            }))
        };
        serde_json::to_string(&self.answer.take().unwrap_or_else(usual)).unwrap()
    }

    pub fn answer(&mut self, call: &str) -> String {
        self.calls.push(serde_json::from_str(call).unwrap());
        self.told()
    }

    pub fn stage(&mut self, image: OwnedFd, staging: &str) -> String {
        let mut file = File::from(image);
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        assert!(file.write(b"x").is_err(), "the image is not sealed");
        self.staged
            .push((content, serde_json::from_str(staging).unwrap()));
        self.told()
    }
}

impl FakeInit {
    pub fn answer_update(&self, answer: Answer) {
        self.0.lock().unwrap().updates.answer = Some(answer);
    }

    /// The calls since the last time.
    pub fn update_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().updates.calls)
    }

    /// Images that were staged since the last time.
    pub fn staged(&self) -> Vec<(Vec<u8>, Staging)> {
        std::mem::take(&mut self.0.lock().unwrap().updates.staged)
    }
}

use axion_api::netboot::{NetbootState, NetbootStepKind};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;

fn step(number: u64) -> NetbootStep {
    NetbootStep {
        unix_us: number,
        mac: None,
        address: None,
        firmware: None,
        step: NetbootStepKind::Boots,
        text: String::new(),
    }
}

#[tokio::test]
async fn who_comes_late_hears_what_was_and_then_what_happens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("steps.sock");
    // A socket that a process before left does not matter.
    std::fs::write(&path, "").unwrap();
    let teller = Teller::listen(&path).unwrap();
    for number in 0..=STEPS {
        teller.step(step(number as u64));
    }
    let mut lines = BufReader::new(UnixStream::connect(&path).await.unwrap()).lines();
    let told: Told = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let Told::All { server, steps } = told else {
        panic!("{told:?}")
    };
    assert_eq!(server.state, NetbootState::Off);
    assert_eq!(
        (steps.len(), steps[0].unix_us, steps[STEPS - 1].unix_us),
        (STEPS, 1, STEPS as u64)
    );
    teller.step(step(1000));
    let told: Told = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(told, Told::Step(step(1000)));
    let serving = NetbootServer {
        state: NetbootState::Serving,
        ..NetbootServer::default()
    };
    teller.server(&serving);
    let told: Told = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(told, Told::Server(Box::new(serving)));
}

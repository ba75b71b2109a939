use axion_api::init::{Outcome, Task};

use super::*;

fn phases(tasks: &[(&str, Option<&str>)]) -> Vec<Phase> {
    let tasks = tasks.iter().map(|(name, error)| Task {
        name: (*name).to_owned(),
        essential: false,
        duration_us: 1,
        error: error.map(str::to_owned),
    });
    vec![Phase {
        stage: 2,
        name: "services".to_owned(),
        start_us: 0,
        duration_us: 1,
        outcome: Outcome::Ok,
        tasks: tasks.collect(),
    }]
}

#[test]
fn an_update_is_judged_by_its_api_and_its_profile() {
    assert_eq!(
        verdict(&phases(&[
            ("agent", None),
            ("attestation", None),
            ("kvm", Some("no vmx"))
        ])),
        Ok(())
    );
    let bad = verdict(&phases(&[
        ("agent", Some("not ready")),
        ("attestation", Some("irqs")),
    ]));
    assert_eq!(bad, Err("agent: not ready; attestation: irqs".to_owned()));
}

#[test]
fn the_command_line_names_the_slot() {
    let slot = |line: &str| running(&CommandLine::parse(line));
    assert_eq!(slot("console=tty0 axion.slot=b"), Some(Slot::B));
    assert_eq!(slot("console=tty0"), None);
    assert_eq!(slot("axion.slot=c"), None);
}

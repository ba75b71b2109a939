use std::cell::RefCell;

use axion_api::vmm::MachineState;
use axion_api::vmm::metrics::VcpuExits;

use super::*;

struct Fake {
    state: MachineState,
    requests: RefCell<Vec<lifecycle::Request>>,
}

impl Subject for Fake {
    fn status(&self) -> VmmStatus {
        VmmStatus {
            name: "hello".into(),
            version: "1".into(),
            state: self.state,
            resets: 2,
            reset_causes: Default::default(),
            start_us: Some(9),
            exit: None,
            pause_reason: None,
            disks: Vec::new(),
            nets: Vec::new(),
            vsock: None,
            balloon: None,
            memory: None,
            console: Default::default(),
            in_force: None,
        }
    }

    fn metrics(&self) -> VmmMetrics {
        let vcpu = VcpuExits {
            port_writes: 7,
            ..Default::default()
        };
        VmmMetrics {
            vcpus: vec![vcpu],
            ..VmmMetrics::default()
        }
    }

    fn request(&self, request: lifecycle::Request) -> Result<(), RequestError> {
        lifecycle::decide(self.state, request)?;
        self.requests.borrow_mut().push(request);
        Ok(())
    }

    fn set_balloon(&self, size: u64) -> Result<(), BalloonError> {
        match size {
            0 => Err(BalloonError::None),
            1 => Err(BalloonError::Size { size, memory: 2 }),
            _ => Ok(()),
        }
    }

    fn set_memory(&self, size: u64) -> Result<(), ResizeError> {
        match size {
            0 => Err(ResizeError::Fixed),
            1 => Err(ResizeError::Size {
                size,
                least: 2,
                most: 4,
                block: 2,
            }),
            _ => Ok(()),
        }
    }
}

fn ask(state: MachineState, method: &str, path: &str) -> (String, Vec<lifecycle::Request>) {
    send(state, method, path, "")
}

fn send(state: MachineState, method: &str, path: &str, body: &str) -> (String, Vec<lifecycle::Request>) {
    let fake = Fake {
        state,
        requests: RefCell::default(),
    };
    let request = Request {
        method: method.into(),
        path: path.into(),
        body: body.into(),
        close: false,
    };
    let text = String::from_utf8(answer(&fake, &request).bytes(false)).unwrap();
    (text, fake.requests.into_inner())
}

#[test]
fn status_is_the_contracts_json() {
    let (text, _) = ask(MachineState::Running, "GET", "/v1/vm");
    let status: VmmStatus = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((status.state, status.resets), (MachineState::Running, 2));
}

#[test]
fn metrics_are_the_contracts_json() {
    let (text, _) = ask(MachineState::Paused, "GET", "/v1/vm/metrics");
    let metrics: VmmMetrics = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(metrics.vcpus[0].port_writes, 7);
}

#[test]
fn every_verb_reaches_the_machine() {
    use lifecycle::Request::{Pause, PowerButton, Reset, Resume, Stop};
    let verbs = [
        ("power-button", PowerButton),
        ("reset", Reset),
        ("pause", Pause),
        ("resume", Resume),
        ("stop", Stop),
    ];
    for (verb, request) in verbs {
        let (text, requests) = ask(MachineState::Running, "PUT", &format!("/v1/vm/{verb}"));
        assert!(text.starts_with("HTTP/1.1 204"), "{text}");
        assert_eq!(requests, [request]);
    }
}

#[test]
fn the_balloon_is_given_a_size() {
    let put = |body: &str| send(MachineState::Running, "PUT", "/v1/vm/balloon", body).0;
    assert!(put(r#"{"size":4096}"#).starts_with("HTTP/1.1 204"));
    assert!(put(r#"{"size":0}"#).starts_with("HTTP/1.1 409"));
    let invalid = put(r#"{"size":1}"#);
    assert!(
        invalid.starts_with("HTTP/1.1 422") && invalid.contains("/size"),
        "{invalid}"
    );
    for body in ["", "{}", r#"{"size":-1}"#, r#"{"size":1,"more":2}"#] {
        assert!(put(body).starts_with("HTTP/1.1 400"), "{body}");
    }
    assert!(
        ask(MachineState::Running, "GET", "/v1/vm/balloon")
            .0
            .starts_with("HTTP/1.1 405")
    );
}

#[test]
fn the_memory_is_given_a_size() {
    let put = |body: &str| send(MachineState::Running, "PUT", "/v1/vm/memory", body).0;
    assert!(put(r#"{"size":4096}"#).starts_with("HTTP/1.1 204"));
    assert!(put(r#"{"size":0}"#).starts_with("HTTP/1.1 409"));
    let invalid = put(r#"{"size":1}"#);
    assert!(
        invalid.starts_with("HTTP/1.1 422") && invalid.contains("2 to 4 bytes, by steps of 2"),
        "{invalid}"
    );
    assert!(put("{}").starts_with("HTTP/1.1 400"));
}

#[test]
fn refusals_are_problems() {
    let starts = |(text, _): (String, _), status: &str| {
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains("application/problem+json"),
            "{text}"
        );
    };
    starts(ask(MachineState::Starting, "PUT", "/v1/vm/pause"), "409");
    starts(ask(MachineState::Running, "POST", "/v1/vm/pause"), "405");
    starts(ask(MachineState::Running, "PUT", "/v1/vm"), "405");
    starts(ask(MachineState::Running, "PUT", "/v1/vm/metrics"), "405");
    starts(ask(MachineState::Running, "GET", "/v1/vmx"), "404");
    starts(ask(MachineState::Running, "GET", "/"), "404");
}

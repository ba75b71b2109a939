//! The targets, each with what has to hold whatever it is given.

use axion_api::vmm::{ConsoleStatus, MachineState, VmmConfig, VmmMetrics, VmmStatus};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::{Behaviour, Values, fuzz};
use crate::config;
use crate::control::http::{self, Parsed};
use crate::control::routes::{self, Subject};
use crate::devices::virtio::blk::backing::Geometry;
use crate::devices::virtio::blk::request::{self, Action};
use crate::devices::virtio::net::control;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::queue::{Chain, MAX_CHAIN, Queue, Segment, Setup};
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::transport::testing::Rig;
use crate::machine::lifecycle;
use crate::machine::{BalloonError, RequestError, ResizeError};
use crate::memory::GuestMemory;

/// An address that is guest memory more often than not.
pub(super) fn address(values: &mut Values<'_>) -> u64 {
    match values.u8() {
        0..=199 => u64::from(values.u32()) & 0xf_ffff,
        200..=229 => 0xf_f000 + u64::from(values.u16() & 0x1fff),
        230..=249 => values.u32().into(),
        _ => values.u64(),
    }
}

/// A length that is short more often than not.
pub(super) fn length(values: &mut Values<'_>) -> u32 {
    match values.u8() {
        0..=199 => values.u16().into(),
        200..=239 => 512 * u32::from(values.u8()),
        _ => values.u32(),
    }
}

/// Everything that a device gets is guest memory, and of some length.
fn assert_checked(memory: &GuestMemory, segments: &[Segment]) {
    for segment in segments {
        let len = usize::try_from(segment.len).unwrap();
        assert!(len > 0, "{segment:?}");
        assert!(
            memory.check_range(GuestAddress(segment.address), len),
            "{segment:?}"
        );
    }
}

/// The ring, whose driver writes what it likes where it likes.
fn queue_target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let memory = memory();
    let mut driver = Driver::new(&memory, 0x1_0000, 1 << (values.u8() % 10));
    let flags = values.u8();
    driver.setup.event_idx = flags & 1 == 0;
    driver.setup.indirect = flags & 2 == 0;
    if flags & 4 != 0 {
        driver.setup = Setup {
            size: values.u16(),
            descriptors: address(&mut values),
            available: address(&mut values),
            used: address(&mut values),
            ..driver.setup
        };
    }
    let mut queue = match Queue::new(&memory, driver.setup) {
        Ok(queue) => queue,
        Err(error) => {
            seen.saw_error(&error);
            return seen;
        }
    };
    let mut chain = Chain::default();
    let mut out = 0u32;
    for _ in 0..256 {
        if values.is_empty() {
            break;
        }
        match values.u8() % 12 {
            0..=2 => {
                let index = values.u16() % driver.setup.size.max(1);
                let (to, len) = (address(&mut values), length(&mut values));
                let next = match values.u8() {
                    0..=9 => values.u16(),
                    near => index.wrapping_add(u16::from(near % 3)),
                };
                let flags = values.u8();
                // Where the ring was put is checked, but not that it lies apart from all else.
                let at = driver.setup.descriptors + u64::from(index) * 16;
                let rest = u64::from(len) | u64::from(flags & 7) << 32 | u64::from(next) << 48;
                let _ = memory.write_obj([to, rest], GuestAddress(at));
            }
            3 | 4 => driver.offer(values.u16() % driver.setup.size.saturating_add(1).max(1)),
            5 => driver.set_available(values.u16()),
            6 => {
                let _ = memory.write_obj(values.u64(), GuestAddress(address(&mut values)));
            }
            7 | 8 => match queue.pop(&mut chain) {
                Ok(true) => {
                    assert_checked(&memory, &chain.readable);
                    assert_checked(&memory, &chain.writable);
                    assert!(chain.readable.len() + chain.writable.len() <= MAX_CHAIN);
                    out += 1;
                    assert!(out <= driver.setup.size.into(), "more chains than entries");
                    seen.saw((chain.readable.len().min(4), chain.writable.len().min(4)));
                }
                Ok(false) => seen.saw("none"),
                Err(error) => {
                    seen.saw_error(&error);
                    return seen;
                }
            },
            9 if out > 0 => {
                queue.complete(chain.head, values.u32());
                out -= 1;
            }
            10 => seen.saw(queue.publish()),
            _ => {
                queue.silence();
                match queue.listen() {
                    Ok(more) => seen.saw(more),
                    Err(error) => {
                        seen.saw_error(&error);
                        return seen;
                    }
                }
            }
        }
    }
    seen
}

#[test]
fn queue() {
    let seeds: [&[u8]; 3] = [
        // Two descriptors in a chain, offered, taken, completed, published.
        &[
            4, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 16, 0, 10, 1, 0, 1, 0, 0, 0, 0x40, 0, 0, 0, 0, 2, 200, 2, 3,
            0, 0, 7, 9, 5, 0, 0, 0, 10, 11,
        ],
        &[8, 2, 3, 0, 0, 7, 7, 7],
        &[
            3, 4, 16, 0, 0, 0, 0x10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0x30, 0, 0, 5, 1, 0, 7,
        ],
    ];
    fuzz("queue", &seeds, queue_target);
}

/// A chain as the ring gives it: checked segments, whose bytes are anything.
fn chain(values: &mut Values<'_>, memory: &GuestMemory) -> Chain {
    let segments = |values: &mut Values<'_>| {
        let count = values.u8() % 8;
        let mut all = Vec::new();
        for _ in 0..count {
            let address = u64::from(values.u32()) & 0xf_ffff;
            let most = (0x10_0000 - address).min(1 << 19);
            let len = u32::try_from(u64::from(length(values)).clamp(1, most)).unwrap();
            all.push(Segment { address, len });
        }
        all
    };
    let chain = Chain {
        head: values.u16(),
        readable: segments(values),
        writable: segments(values),
    };
    let mut rest = values.0;
    for segment in &chain.readable {
        let len = usize::try_from(segment.len).unwrap().min(rest.len()).min(64);
        let (these, others) = rest.split_at(len);
        memory.write_slice(these, GuestAddress(segment.address)).unwrap();
        rest = others;
    }
    chain
}

fn blk_target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let memory = memory();
    let geometry = Geometry {
        capacity: u64::from(values.u16()) * 512,
        block: 512,
        physical: 4096,
    };
    let read_only = values.u8() % 4 == 3;
    let mut chain = chain(&mut values, &memory);
    let request = match request::parse(&memory, &mut chain, geometry, read_only) {
        Ok(request) => request,
        Err(error) => {
            seen.saw_error(&error);
            return seen;
        }
    };
    assert!(memory.address_in_range(GuestAddress(request.status)));
    assert_checked(&memory, &chain.readable);
    assert_checked(&memory, &chain.writable);
    let sum = |segments: &[Segment]| segments.iter().map(|s| u64::from(s.len)).sum::<u64>();
    let inside = |offset: u64, len: u64| {
        assert!(
            offset
                .checked_add(len)
                .is_some_and(|end| end <= geometry.capacity),
            "{request:?}"
        );
        assert!(len > 0 && len.is_multiple_of(512), "{request:?}");
    };
    match request.action {
        Action::Read { offset, len } => {
            inside(offset, len);
            assert_eq!(len, sum(&chain.writable));
        }
        Action::Write { offset, len } => {
            inside(offset, len);
            assert_eq!(len, sum(&chain.readable));
            assert!(!read_only);
        }
        Action::Discard { offset, len } | Action::WriteZeroes { offset, len, .. } => {
            inside(offset, len);
            assert!(!read_only && len <= request::RANGE_MAX);
        }
        Action::Flush | Action::Id | Action::End(_) => {}
    }
    seen.saw(std::mem::discriminant(&request.action));
    if let Action::End(status) = request.action {
        seen.saw(status as u8);
    }
    seen.saw((chain.readable.len(), chain.writable.len()));
    seen
}

/// A request of `kind` for sector 1 of a disk of 64, with one segment of data.
fn blk_seed(kind: u8) -> Vec<u8> {
    let mut seed = vec![64, 0, 0, 0, 0];
    seed.extend([2, 0, 1, 0, 0, 0, 16, 0, 0, 0x20, 0, 0, 200, 1]);
    seed.extend([2, 0, 0x30, 0, 0, 200, 1, 0, 0x40, 0, 0, 0, 1, 0]);
    seed.extend([kind, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    seed.extend([1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0]);
    seed
}

#[test]
fn blk() {
    let seeds: Vec<_> = [0, 1, 4, 8, 11, 13].map(blk_seed).into();
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    fuzz("blk", &seeds, blk_target);
}

fn net_control_target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let memory = memory();
    let most = values.u16();
    let mut chain = chain(&mut values, &memory);
    let pairs = control::parse(&memory, &mut chain, most);
    assert!(pairs.is_none_or(|pairs| (1..=most).contains(&pairs)));
    assert_checked(&memory, &chain.readable);
    seen.saw((pairs.is_some(), chain.readable.len(), chain.writable.len()));
    seen
}

#[test]
fn net_control() {
    let seed = [
        8, 0, 0, 0, 1, 0, 1, 0, 0, 0, 4, 0, 1, 0, 0x20, 0, 0, 0, 1, 0, 4, 0, 2, 0,
    ];
    fuzz("net_control", &[&seed], net_control_target);
}

/// A whole device behind its registers: the driver writes any of them, and any memory, at any time.
fn device_target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let rig = Rig::new(Box::new(Rng), &memory());
    let mut driver = rig.start(u64::MAX, &[0x1_0000]).remove(0);
    for _ in 0..64 {
        if values.is_empty() {
            break;
        }
        let size = 1 << (values.u8() % 4);
        match values.u8() % 10 {
            0 => {
                let value = values.u64();
                rig.write(rig.bar + u64::from(values.u16()), size, value);
            }
            1 => seen.saw(rig.read(rig.bar + u64::from(values.u16()), size) == u64::MAX),
            2 => {
                let value = values.u32();
                rig.set_config(u64::from(values.u16() & 0xfff), size.min(4), value);
            }
            3 => seen.saw(rig.config(u64::from(values.u16() & 0xfff), size.min(4)) == u32::MAX),
            4 => rig.set_common(u64::from(values.u8() & 63), size, values.u64()),
            5 => rig.notify(values.u16().into()),
            6 => {
                let value = values.u64();
                let _ = rig.memory.write_obj(value, GuestAddress(address(&mut values)));
            }
            7 => driver.offer(values.u16()),
            _ => {
                let index = values.u16() % 64;
                let (to, len) = (address(&mut values), length(&mut values));
                let next = values.u8();
                driver.describe(index, to, len, u16::from(values.u8() & 7), next.into());
                driver.offer(index);
                rig.notify(0);
            }
        }
    }
    seen.saw(rig.status());
    seen
}

#[test]
fn device() {
    let seeds: [&[u8]; 3] = [
        &[0, 8, 0, 0, 0, 0, 0x30, 0, 0, 0, 16, 0, 2],
        &[
            0, 4, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 20, 15, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0,
        ],
        &[
            3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x30, 2, 1, 0, 0x40, 2, 2, 6, 0, 0, 0, 4, 0,
        ],
    ];
    fuzz("device", &seeds, device_target);
}

#[test]
fn memory_device() {
    let seeds: [&[u8]; 2] = [
        &[0, 4, 6, 3, 1, 0, 3, 1, 2, 0, 3, 2, 1, 0],
        &[0, 8, 6, 8, 0, 0, 2, 200, 0, 7, 8, 0, 0, 6, 8, 0, 0],
    ];
    fuzz("memory_device", &seeds, super::memory::target);
}

#[test]
fn vsock() {
    let seeds: [&[u8]; 3] = [
        // A request to the service, a buffer for the answer, data, an end.
        &[
            0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 150, 0, 0, 0, 0, 0, 255, 8, 1, 0, 0, 0, 13, 0, 16, 0, 0, 0, 1, 0,
            0, 5, 0, 150, 0,
        ],
        &[
            12, 1, 11, 8, 0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 201, 1, 0, 0, 2, 0, 150, 0, 3, 0, 0, 255, 8, 2, 0,
            0,
        ],
        &[
            11, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 150, 0, 0, 0, 255,
        ],
    ];
    fuzz("vsock", &seeds, super::devices::vsock);
}

#[test]
fn balloon() {
    let seeds: [&[u8]; 3] = [
        &[0, 4, 3, 0, 1, 2, 0, 0, 0, 255, 1, 4, 2, 0, 1, 4, 0, 0, 255],
        &[
            2, 4, 2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255,
        ],
        &[
            3, 4, 0, 8, 0, 0, 0, 0, 3, 5, 0, 0, 0, 0, 0, 0, 16, 1, 200, 255, 1, 0, 0,
        ],
    ];
    fuzz("balloon", &seeds, super::devices::balloon);
}

#[test]
fn console() {
    let seeds: [&[u8]; 2] = [
        &[1, 5, 64, 0, 0, 0, 0, 255, 0, 0, 32, 0, 0, 5, 1, 0, 0, 0, 0, 0],
        &[1, 4, 0, 0, 0, 10, 0, 0, 255, 3, 0, 2, 1, 0, 3],
    ];
    fuzz("console", &seeds, super::devices::console);
}

#[test]
fn net() {
    let seeds: [&[u8]; 3] = [
        &[
            0, 0, 6, 1, 0, 0, 0, 6, 2, 0, 0, 0, 1, 0, 100, 5, 1, 4, 100, 0, 0, 0, 0, 255,
        ],
        &[
            1, 0, 6, 1, 0, 0, 0, 1, 0, 200, 8, 1, 3, 1, 0, 2, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255,
        ],
        &[
            0, 0, 1, 210, 255, 255, 0, 6, 3, 0, 0, 0, 6, 4, 0, 220, 0, 5, 0, 0, 0, 9, 0, 0, 12, 0, 1, 1, 0,
        ],
    ];
    fuzz("net", &seeds, super::devices::net);
}

#[test]
fn acpi() {
    let seeds: [&[u8]; 3] = [
        &[4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0],
        &[0, 4, 2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 20],
        &[
            16, 0, 4, 0, 255, 10, 20, 30, 40, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 200, 4, 4, 0, 1,
            200, 2,
        ],
    ];
    fuzz("acpi", &seeds, super::acpi::target);
}

/// A machine that does all that it is asked.
struct Obedient;

impl Subject for Obedient {
    fn status(&self) -> VmmStatus {
        VmmStatus {
            name: "fuzz".to_owned(),
            version: String::new(),
            state: MachineState::Running,
            resets: 0,
            reset_causes: Default::default(),
            start_us: None,
            exit: None,
            pause_reason: None,
            disks: Vec::new(),
            nets: Vec::new(),
            console: ConsoleStatus::default(),
            balloon: None,
            vsock: None,
            memory: None,
            in_force: None,
        }
    }

    fn metrics(&self) -> VmmMetrics {
        VmmMetrics::default()
    }

    fn request(&self, _request: lifecycle::Request) -> Result<(), RequestError> {
        Ok(())
    }

    fn set_balloon(&self, _size: u64) -> Result<(), BalloonError> {
        Ok(())
    }

    fn set_memory(&self, _size: u64) -> Result<(), ResizeError> {
        Ok(())
    }
}

/// A client's bytes as they come, however they are cut.
fn http_target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut rest = input;
    for _ in 0..32 {
        match http::parse(rest) {
            Parsed::Partial => {
                seen.saw("partial");
                break;
            }
            Parsed::Malformed(problem) => {
                seen.saw(
                    problem
                        .detail
                        .chars()
                        .filter(|c| c.is_alphabetic())
                        .take(24)
                        .collect::<String>(),
                );
                break;
            }
            Parsed::Request(request, used) => {
                assert!(0 < used && used <= rest.len());
                // What is one request stays one, whatever follows.
                assert_eq!(http::parse(&rest[..used]), Parsed::Request(request.clone(), used));
                let answer = routes::answer(&Obedient, &request);
                seen.saw((format!("{answer:?}").len().next_power_of_two(), request.close));
                rest = &rest[used..];
            }
        }
    }
    seen
}

#[test]
fn http_parser() {
    let seeds: [&[u8]; 5] = [
        b"GET /v1/vm HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PUT /v1/vm/pause?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET /v1/vm/metrics HTTP/1.0\r\n\r\n",
        b"PUT /v1/vm/stop HTTP/1.1\r\nConnection: close, keep-alive\r\nContent-Length: 65536\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET http://x/v1/vm#y HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 18446744073709551616\r\n\r\n",
    ];
    fuzz("http_parser", &seeds, http_target);
}

/// A config file of anything.
fn config_target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let config: VmmConfig = match serde_json::from_slice(input) {
        Ok(config) => config,
        Err(error) => {
            seen.saw_error(&error);
            return seen;
        }
    };
    match config::validate(&config) {
        Ok(topology) => {
            assert_eq!(topology.cpus(), config.cpus);
            assert!(topology.max_apic_id() >= config.cpus - 1);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<VmmConfig>(&text).unwrap(), config);
            seen.saw((config.cpus, config.disks.len(), config.nets.len()));
        }
        Err(error) => seen.saw_error(&error),
    }
    seen
}

#[test]
fn config_parser() {
    let seeds: [&[u8]; 3] = [
        br#"{"name":"hello","cpus":1,"memory":{"size":134217728},"boot":{"kernel":"/k","cmdline":""}}"#,
        br#"{"name":"a-1","cpus":8,"memory":{"size":1073741824,"hugepages":"2MiB","prefault":true,"nodes":[
            {"size":536870912,"cpus":"0-3","host_node":0,"distances":[10,20]},{"size":536870912,"cpus":"4-7","distances":[20,10]}]},
            "topology":{"sockets":2,"cores":2,"threads":2,"l3_cores":1},"placement":{"vcpus":[8,9,10,11,12,13,14,15],
            "housekeeping":"0-1","fifo_priority":5},"dedicated":true,"boot":{"kernel":"/k","initrd":"/i","cmdline":"x"}}"#,
        br#"{"name":"b","cpus":2,"memory":{"size":33554432},"boot":{"kernel":"/k","cmdline":""},"sandbox":"enforce",
            "disks":[{"path":"/d","read_only":true,"serial":"s","direct":"on","queues":2},{"path":"/e"}],
            "nets":[{"tap":"t0","mac":"02:00:00:00:00:01","mtu":1500,"queues":1}]}"#,
    ];
    for seed in seeds {
        serde_json::from_slice::<VmmConfig>(seed).unwrap();
    }
    fuzz("config_parser", &seeds, config_target);
}

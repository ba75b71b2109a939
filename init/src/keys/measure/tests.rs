use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axion_tpm::Transport;
use zeroize::Zeroizing;

use super::*;

type Memory = Arc<Mutex<([u8; 32], usize)>>;

/// A TPM with one register, and how often it was added to.
struct Fake {
    memory: Memory,
    /// It takes events and keeps none.
    lies: bool,
}

impl Transport for Fake {
    fn transmit(&mut self, command: &[u8], _: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut memory = lock(&self.memory);
        let code = u32::from_be_bytes(command[6..10].try_into().unwrap());
        let (tag, body) = match code {
            0x17a => (
                0x8001_u16,
                [
                    &[0][..],
                    &6_u32.to_be_bytes(),
                    &1_u32.to_be_bytes(),
                    &command[14..18],
                    b"IBM\0",
                ]
                .concat(),
            ),
            0x17e => {
                let selection = &command[10..];
                let one = 1_u32.to_be_bytes();
                let value = memory.0;
                (0x8001, [&[0; 4][..], selection, &one, &[0, 32], &value].concat())
            }
            0x13c => {
                let event = &command[29..];
                memory.1 += 1;
                if !self.lies {
                    memory.0 = extended(&memory.0, event);
                }
                (
                    0x8002,
                    [&4_u32.to_be_bytes()[..], &[0; 4], &[0, 0, 1, 0, 0]].concat(),
                )
            }
            other => panic!("command {other:#x}"),
        };
        let length = u32::try_from(body.len() + 10).unwrap();
        let answer = [&tag.to_be_bytes()[..], &length.to_be_bytes(), &[0; 4], &body].concat();
        Ok(Zeroizing::new(answer))
    }
}

fn node() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/axion")).unwrap();
    std::fs::create_dir_all(root.path().join("proc/sys/kernel/random")).unwrap();
    std::fs::write(root.path().join("proc/sys/kernel/random/boot_id"), "b00t\n").unwrap();
    root
}

fn tpm(memory: &Memory, lies: bool) -> Tpm {
    let memory = memory.clone();
    Tpm::new(Box::new(Fake { memory, lies }), Duration::from_secs(5))
}

#[test]
fn a_profile_is_measured_once_and_written_down() {
    let (root, memory) = (node(), Memory::default());
    for _ in 0..2 {
        let identity = measure(root.path(), tpm(&memory, false), "axion-profile:sha256:00").unwrap();
        assert_eq!(identity.manufacturer, "IBM");
    }
    assert_eq!(lock(&memory).1, 1);
    assert_eq!(lock(&memory).0, extended(&[0; 32], b"axion-profile:sha256:00"));
    let events = events(root.path());
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].pcr, 15);
    assert_eq!(events[0].content.boot_id, "b00t");
    let digest = hex::encode(Sha256::digest(b"axion-profile:sha256:00"));
    assert_eq!(events[0].digests[0].digest, digest);
}

#[test]
fn a_register_that_does_not_follow_is_said() {
    let (root, memory) = (node(), Memory::default());
    let error = measure(root.path(), tpm(&memory, true), "axion-profile:sha256:00").unwrap_err();
    assert_eq!(
        error.to_string(),
        "PCR 15 holds something else than what was measured into it"
    );
    assert!(events(root.path()).is_empty());
}

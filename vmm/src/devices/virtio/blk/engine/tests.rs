use std::ffi::CString;

use axion_api::vmm::{DirectIo, DiskConfig};

use super::*;
use crate::devices::virtio::queue::testing::memory;

fn disk() -> (tempfile::TempDir, Arc<Disk>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, [7; 4096]).unwrap();
    let config = DiskConfig {
        path: path.to_str().unwrap().to_owned(),
        read_only: false,
        serial: None,
        direct: DirectIo::Off,
        queues: None,
    };
    let disk = Disk::open(0, &config, 1).unwrap();
    (dir, Arc::new(disk))
}

/// The result of the request in slot 0.
fn result(engine: &mut Engine<'_>) -> i32 {
    loop {
        engine.wait().unwrap();
        while let Some(event) = engine.next() {
            if let Event::Done { slot: 0, result } = event {
                return result;
            }
        }
    }
}

#[test]
fn ring_takes_what_a_disk_asks_and_nothing_else() {
    let (dir, disk) = disk();
    let mut ring = Ring::new(4, &disk).unwrap();
    let doorbell = Arc::new(EventFd::new(0).unwrap());
    let orders = EventFd::new(0).unwrap();
    let mut engine = Engine::new(&mut ring, 4, &memory(), doorbell, &orders).unwrap();
    let path = CString::new(dir.path().join("made").to_str().unwrap()).unwrap();
    let here = io_uring::types::Fd(libc::AT_FDCWD);
    let forbidden = [
        opcode::OpenAt::new(here, path.as_ptr())
            .flags(libc::O_CREAT | libc::O_RDWR)
            .build(),
        opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
        opcode::Nop::new().build(),
        opcode::Close::new(io_uring::types::Fd(0)).build(),
        // An opcode that is allowed, with a flag that is not.
        opcode::Fsync::new(Path::Cached.fixed())
            .build()
            .flags(squeue::Flags::ASYNC),
    ];
    for entry in forbidden {
        // SAFETY: the path outlives the engine; the others refer to no memory.
        unsafe { engine.submit(0, entry) }.unwrap();
        assert_eq!(result(&mut engine), -libc::EACCES);
    }
    assert!(!dir.path().join("made").exists());
    let refused = engine.ring.ring.submitter().register_files_update(0, &[-1]);
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EACCES));
    engine.flush(0).unwrap();
    assert_eq!(result(&mut engine), 0);
}

#[test]
fn ring_is_used_again_and_hears_of_the_present_doorbell_only() {
    let (_dir, disk) = disk();
    let mut ring = Ring::new(4, &disk).unwrap();
    let orders = EventFd::new(0).unwrap();
    let mut doorbells = Vec::new();
    for _ in 0..8 {
        let doorbell = Arc::new(EventFd::new(0).unwrap());
        doorbells.push(doorbell.clone());
        let mut engine = Engine::new(&mut ring, 4, &memory(), doorbell.clone(), &orders).unwrap();
        for past in &doorbells {
            past.write(1).unwrap();
        }
        let segment = Segment {
            address: 0x1000,
            len: 512,
        };
        engine.read(0, Path::Cached, &[segment], 0).unwrap();
        assert_eq!(result(&mut engine), 512);
        // A signal that is just being told of as the engine ends.
        orders.write(1).unwrap();
        doorbell.write(1).unwrap();
    }
    assert!(!ring.stuck);
    assert!(ring.ring.completion().next().is_none());
}

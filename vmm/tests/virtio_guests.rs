//! virtio functions driven by guests of a few hundred bytes on this machine's KVM: doorbells through ioeventfd, interrupts
//! through irqfd. Without KVM they are skipped.

// The helpers are no test functions, but are there to fail.
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code
)]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use axion_api::vmm::{BalloonConfig, ConsoleDevice, MachineState, NetConfig, PauseReason, VsockConfig};
use support::program::{AVAILABLE, BAR, BUFFER, CONFIG, DESCRIPTORS, Program, USED};
use support::{Vmm, disk, field, frames, have_kvm, have_tap, kernel, wait_for};

#[test]
fn entropy_comes_with_an_interrupt() {
    if !have_kvm() {
        return;
    }
    let mut program = Program::default();
    program.take_interrupts();
    program.start_device();
    program.describe(0, BUFFER, 16, 2, 0);
    program.byte(BUFFER + 16, b'.');
    program.submit_and_wait();
    program.print(b'0');
    program.show(BUFFER + 16);
    program.power_off();
    let mut vmm = Vmm::start(&kernel(&program.code()), 1);
    vmm.expect("I0.");
    assert_eq!(vmm.end().status, 0);
}

/// A program that does one request of `kind` for sector 1, data at `BUFFER + 32`, and prints the interrupt, then what
/// `after` prints.
fn disk_program(kind: u32, after: impl FnOnce(&mut Program)) -> Vec<u8> {
    let mut program = Program::default();
    program.take_interrupts();
    program.start_device();
    program.dword(BUFFER, kind);
    program.dword(BUFFER + 4, 0);
    program.dword(BUFFER + 8, 1);
    program.dword(BUFFER + 12, 0);
    program.byte(BUFFER + 16, 0xee);
    program.byte(BUFFER + 32, b'w');
    program.describe(0, BUFFER, 16, 1, 1);
    program.describe(1, BUFFER + 32, 512, if kind == 0 { 3 } else { 1 }, 2);
    program.describe(2, BUFFER + 16, 1, 2, 0);
    program.submit_and_wait();
    after(&mut program);
    program.power_off();
    program.code()
}

#[test]
fn disk_reads_by_doorbell_and_interrupt() {
    if !have_kvm() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, [[b'a'; 512], [b'b'; 512]].concat()).unwrap();
    let code = disk_program(0, |program| {
        program.show(BUFFER + 32);
        program.show(BUFFER + 32 + 511);
        // Status 0 and used index 1, made printable.
        for address in [BUFFER + 16, USED + 2] {
            program.raw(&[0x80, 0x05]); // add byte [address], '0'
            program.raw(&address.to_le_bytes());
            program.raw(b"0");
            program.show(address);
        }
    });
    let mut vmm = Vmm::start_disks(&kernel(&code), 1, vec![disk(&path, 1)]);
    vmm.expect("Ibb01");
    assert_eq!(vmm.end().status, 0);
}

#[test]
fn full_host_pauses_the_machine_until_there_is_room() {
    if !have_kvm() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted = nix::mount::mount(
        Some("tmpfs"),
        dir.path(),
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=64k"),
    );
    if mounted.is_err() {
        return;
    }
    let path = dir.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![0; 64 << 10]).unwrap();
    let code = disk_program(1, |program| program.print(b'.'));
    let mut vmm = Vmm::start_disks(&kernel(&code), 1, vec![disk(&path, 1)]);
    let status = wait_for("the pause", || {
        Some(vmm.status()).filter(|status| status.state == MachineState::Paused)
    });
    let expected = PauseReason::DiskFull {
        disk: 0,
        path: path.to_str().unwrap().to_owned(),
    };
    assert_eq!(status.pause_reason, Some(expected));
    assert_eq!(
        (status.disks[0].queues[0].waits, status.disks[0].queues[0].errors),
        (1, 0)
    );
    std::fs::remove_file(ballast).unwrap();
    vmm.put("resume");
    vmm.expect("I.");
    let ended = vmm.end();
    assert_eq!(ended.status, 0);
    assert!(
        ended.stderr.starts_with("paused: no room for disks[0]"),
        "{}",
        ended.stderr
    );
    assert_eq!(std::fs::read(&path).unwrap()[512], b'w');
    nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_reset_makes_devices_anew() {
    if !have_kvm() {
        return;
    }
    let mut program = Program::default();
    // Status as the last life left it: none, or the machine would stop here.
    program.word(CONFIG + 4, 2);
    program.raw(&[0xa0]);
    program.raw(&(BAR + 20).to_le_bytes());
    program.raw(&[0x04, b'0', 0x66, 0xba, 0xf8, 0x03, 0xee]); // add al, '0'; print
    program.take_interrupts();
    program.start_device();
    program.print(b'>');
    program.raw(&[0xf4, 0xeb, 0xfd]); // halt
    let mut vmm = Vmm::start(&kernel(&program.code()), 1);
    vmm.expect("0>");
    vmm.put("pause");
    assert_eq!(vmm.status().pause_reason, Some(PauseReason::Request));
    vmm.put("resume");
    assert_eq!(vmm.status().pause_reason, None);
    vmm.put("reset");
    vmm.expect("0>");
    vmm.put("stop");
    assert_eq!(vmm.end().status, 0);
}

/// A guest sends a frame in each of two lives. In a network namespace of the test's own.
fn send_in_two_lives() {
    if !have_kvm() || !have_tap() {
        return;
    }
    let mut program = Program::default();
    program.take_interrupts();
    program.start_device_with(2);
    program.describe(0, BUFFER, 12, 1, 1);
    program.describe(1, BUFFER + 32, 60, 0, 0);
    program.submit_to_and_wait(1);
    program.print(b'.');
    program.raw(&[0xf4]);
    let mut vmm = Vmm::start_as(&kernel(&program.code()), |config| {
        config.nets = vec![NetConfig {
            tap: "t0".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: None,
            queues: Some(2),
        }];
    });
    for life in 1..3 {
        vmm.expect("I.");
        assert_eq!(frames(), life);
        let threads = vmm.threads();
        for (name, status) in threads.iter().filter(|(name, _)| name.starts_with("net0.")) {
            assert_eq!(field(status, "Seccomp"), "2", "{name}");
        }
        vmm.put("pause");
        vmm.put("resume");
        vmm.put("reset");
    }
    vmm.expect("I.");
    vmm.put("stop");
    let ended = vmm.end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
}

#[test]
fn network_device_sends_from_within_the_sandbox() {
    if let Err(panic) = std::thread::spawn(send_in_two_lives).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn sockets_reach_service_and_guest_from_within_the_sandbox() {
    if !have_kvm() {
        return;
    }
    /// Where the receive ring is, behind the send ring; two buffers of it.
    const RECEIVE: u32 = 0x1_0000;
    let buffers = [BUFFER + RECEIVE, BUFFER + RECEIVE + 0x400];
    let mut program = Program::at(1);
    program.take_interrupts();
    for (index, buffer) in (0..).zip(buffers) {
        let at = DESCRIPTORS + RECEIVE + index * 16;
        program.dword(at, buffer);
        program.dword(at + 8, 0x400);
        program.dword(at + 12, 2);
    }
    program.dword(AVAILABLE + RECEIVE + 4, 1 << 16);
    program.word(AVAILABLE + RECEIVE + 2, 2);
    program.start_device_with(2);
    // Asks for port 77 of the host.
    for (index, word) in [9, 0, 2, 0, 1000, 77, 0, 1 << 16 | 1, 0, 4096, 0]
        .into_iter()
        .enumerate()
    {
        program.dword(BUFFER + u32::try_from(index * 4).unwrap(), word);
    }
    program.describe(0, BUFFER, 44, 0, 0);
    program.submit_to_and_wait(1);
    program.print(b'.');
    let operation = |program: &mut Program, index: u32| {
        // Waits for its length in the used ring, where it is not zero.
        program.poll(USED + RECEIVE + 4 + index * 8 + 4);
        let at = BUFFER + RECEIVE + index * 0x400 + 30;
        program.raw(&[0x80, 0x05]); // add byte [address], '0'
        program.raw(&at.to_le_bytes());
        program.raw(b"0");
        program.show(at);
    };
    operation(&mut program, 0);
    operation(&mut program, 1);
    program.power_off();
    let services = std::cell::OnceCell::new();
    let mut vmm = Vmm::start_in(&kernel(&program.code()), |config, dir| {
        config.vsock = Some(VsockConfig { cid: 9 });
        let service = UnixListener::bind(dir.join("vsock.sock_77")).unwrap();
        services.set(service).unwrap();
    });
    let (mut service, _) = services.get().unwrap().accept().unwrap();
    vmm.expect("I.2");
    let mut client = UnixStream::connect(vmm.path("vsock.sock")).unwrap();
    client.write_all(b"CONNECT 5\n").unwrap();
    vmm.expect("1");
    let status = vmm.end();
    assert_eq!(status.status, 0, "{}", status.stderr);
    assert_eq!(service.read(&mut [0]).unwrap(), 0, "the machine is gone");
}

#[test]
fn virtio_console_takes_what_is_typed_and_prints() {
    if !have_kvm() {
        return;
    }
    const RECEIVE: u32 = 0x1_0000;
    let mut program = Program::at(1);
    program.take_interrupts();
    program.dword(DESCRIPTORS + RECEIVE, BUFFER + RECEIVE);
    program.dword(DESCRIPTORS + RECEIVE + 8, 64);
    program.dword(DESCRIPTORS + RECEIVE + 12, 2);
    program.word(AVAILABLE + RECEIVE + 2, 1);
    program.start_device_with(2);
    program.describe(0, BUFFER + RECEIVE, 3, 0, 0);
    program.print(b'>');
    program.poll(USED + RECEIVE + 2);
    program.submit_to_and_wait(1);
    program.power_off();
    let mut vmm = Vmm::start_as(&kernel(&program.code()), |config| {
        config.console = ConsoleDevice::Virtio;
    });
    vmm.expect(">");
    vmm.type_in("abc");
    vmm.expect("abcI");
    let status = vmm.end();
    assert_eq!(status.status, 0, "{}", status.stderr);
}

#[test]
fn balloon_takes_pages_and_asks_for_more() {
    if !have_kvm() {
        return;
    }
    const INFLATE: u32 = 0x1_0000;
    const PAGE: u32 = 0x30_0000;
    let mut program = Program::at(1);
    program.byte(PAGE, b'z');
    program.dword(BUFFER + INFLATE, PAGE >> 12);
    program.dword(DESCRIPTORS + INFLATE, BUFFER + INFLATE);
    program.dword(DESCRIPTORS + INFLATE + 8, 4);
    program.word(AVAILABLE + INFLATE + 2, 1);
    program.start_device_with(2);
    program.poll(USED + INFLATE + 2);
    program.raw(&[0x80, 0x05]); // add byte [address], '0'
    program.raw(&PAGE.to_le_bytes());
    program.raw(b"0");
    program.show(PAGE);
    // Until it is asked for something.
    program.poll(program.bar() + 0x2000);
    program.print(b'.');
    program.power_off();
    let mut vmm = Vmm::start_as(&kernel(&program.code()), |config| {
        config.balloon = Some(BalloonConfig::default());
    });
    vmm.expect("0");
    let balloon = vmm.status().balloon.unwrap();
    assert_eq!(
        (balloon.inflated_bytes, balloon.errors, balloon.target),
        (4096, 0, 0)
    );
    let put = |body: &str| vmm.api_with("PUT", "/v1/vm/balloon", body).0;
    assert_eq!((put(r#"{"size":1}"#), put(r#"{"size":33558528}"#)), (422, 422));
    assert_eq!(put(r#"{"size":1048576}"#), 204);
    vmm.expect(".");
    assert_eq!(vmm.end().status, 0);
}

/// A guest asks for a block once it is to have one, then points the device at a block that it does not have.
#[test]
fn memory_comes_and_what_has_not_come_hurts_nobody() {
    if !have_kvm() {
        return;
    }
    const BLOCK: u64 = 2 << 20;
    const REGION: u32 = 1 << 30;
    const ANSWER: u32 = BUFFER + 32;
    let show_answer = |program: &mut Program| {
        program.raw(&[0x80, 0x05]); // add byte [address], '0'
        program.raw(&ANSWER.to_le_bytes());
        program.raw(b"0");
        program.show(ANSWER);
    };
    let mut program = Program::at(1);
    program.take_interrupts();
    program.start_device();
    // Until it is to have something: the third byte of the requested size.
    program.poll(program.bar() + 0x2000 + 50);
    program.dword(BUFFER, 0);
    program.dword(BUFFER + 8, REGION);
    program.dword(BUFFER + 12, 0);
    program.dword(BUFFER + 16, 1);
    program.describe(0, BUFFER, 24, 1, 1);
    program.describe(1, ANSWER, 10, 2, 0);
    program.submit_and_wait();
    show_answer(&mut program);
    // The request is in the second block now, which is not there: it reads as zeros, and is none.
    program.describe(0, REGION + (2 << 20), 24, 1, 1);
    program.word(AVAILABLE + 6, 0);
    program.word(AVAILABLE + 2, 2);
    program.word(program.bar() + 0x5000, 0);
    program.raw(&[0xfb, 0xf4, 0xfa]); // sti, hlt, cli
    show_answer(&mut program);
    // What it has keeps what is written, and so does, for want of a better answer, what it has not.
    for (address, letter) in [(REGION, b'p'), (REGION + (6 << 20), b'u')] {
        program.byte(address, letter);
    }
    program.show(REGION);
    program.show(REGION + (6 << 20));
    program.raw(&[0xf4]);
    let mut vmm = Vmm::start_as(&kernel(&program.code()), |config| {
        config.memory.max = Some(config.memory.size + 4 * BLOCK);
    });
    let put = |size: u64| {
        vmm.api_with("PUT", "/v1/vm/memory", &format!(r#"{{"size":{size}}}"#))
            .0
    };
    let least = 32 << 20;
    assert_eq!((put(least + 1), put(least + 5 * BLOCK), put(0)), (422, 422, 422));
    wait_for("the driver", || (put(least + BLOCK) == 204).then_some(()));
    for _ in 0..2 {
        vmm.expect("I0I3pu");
        let memory = vmm.status().memory.unwrap();
        assert_eq!(
            (memory.least, memory.most, memory.requested, memory.present),
            (least, least + 4 * BLOCK, least + BLOCK, least + BLOCK)
        );
        // A reset takes back what has come, and the next life is asked for the same.
        vmm.put("reset");
    }
    vmm.expect("I0I3pu");
    assert_eq!(vmm.status().memory.unwrap().errors, 3);
    vmm.put("stop");
    let ended = vmm.end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
}

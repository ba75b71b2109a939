use axion_api::client;
use axion_api::problem::{Kind, Problem};
use axion_api::vm::{DesiredState, Vm, VmSpec, VmState, VmStatus};

use super::console::{Escape, Typed};
use super::create::Image;
use super::place::Size;
use super::wait::{Goal, Progress, progress};
use crate::error::Error;

fn vm(state: VmState, desired: DesiredState, since_unix_us: u64) -> Vm {
    Vm {
        name: "web".to_owned(),
        revision: 1,
        spec: VmSpec::default(),
        desired,
        status: VmStatus {
            state,
            pid: None,
            since_unix_us,
            exit: None,
            pause: None,
            nets: Vec::new(),
            memory: None,
            placement: None,
            in_force: None,
            resets: None,
        },
    }
}

#[test]
fn waiting_for_a_vm() {
    use DesiredState::{Running as On, Stopped as Off};
    use VmState::{Failed, Paused, Running, Starting, Stopped, Stopping};
    let before = vm(Failed, Off, 1);
    for (goal, now, expected) in [
        (Goal::Running, vm(Stopped, On, 1), Progress::Pending),
        (Goal::Running, vm(Starting, On, 2), Progress::Pending),
        (Goal::Running, vm(Running, On, 3), Progress::Done),
        // It was so before; nothing has happened yet.
        (Goal::Running, vm(Failed, On, 1), Progress::Pending),
        (Goal::Running, vm(Failed, On, 2), Progress::Missed),
        (Goal::Running, vm(Paused, On, 2), Progress::Missed),
        (Goal::Stopped, vm(Paused, Off, 2), Progress::Pending),
        // The guest was quicker than we looked.
        (Goal::Running, vm(Stopped, Off, 2), Progress::Missed),
        (Goal::Stopped, vm(Running, Off, 2), Progress::Pending),
        (Goal::Stopped, vm(Stopping, Off, 2), Progress::Pending),
        (Goal::Stopped, vm(Stopped, Off, 2), Progress::Done),
        (Goal::Stopped, vm(Failed, Off, 2), Progress::Done),
        // What is off already is what was asked for.
        (Goal::Stopped, vm(Failed, Off, 1), Progress::Done),
        (Goal::Stopped, vm(Failed, On, 2), Progress::Pending),
    ] {
        assert_eq!(
            progress(goal, &before, &now),
            expected,
            "{goal:?} {:?} {:?}",
            now.status.state,
            now.desired
        );
    }
}

#[test]
fn a_vm_that_was_made_and_finds_no_place() {
    let problem = Problem::new(Kind::InsufficientCapacity, "no node has room");
    let error = Error::NotStarted {
        name: "web".to_owned(),
        source: client::Error::Problem(Box::new(problem)),
    };
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.to_string(),
        "web was made and is stopped: it could not be started"
    );
    let hint = error.hint().unwrap();
    for part in ["axctl capacity", "axctl vm start web", "axctl vm delete web"] {
        assert!(hint.contains(part), "{hint}");
    }
    assert_eq!(Error::NoImage("sha256:00".to_owned()).exit_code(), 4);
}

fn typed(send: &[u8], help: bool, leave: bool) -> Typed {
    Typed {
        send: send.to_vec(),
        help,
        leave,
    }
}

#[test]
fn escapes_among_the_keys() {
    for (keys, expected) in [
        (&b"ls\r"[..], typed(b"ls\r", false, false)),
        (b"\x1dq", typed(b"", false, true)),
        (b"a\x1dqb", typed(b"a", false, true)),
        (b"\x1d.", typed(b"", false, true)),
        (b"\x1d?x", typed(b"x", true, false)),
        (b"\x1d]\x1d\x1d", typed(b"\x1d\x1d", false, false)),
        (b"\x1dx", typed(b"\x1dx", false, false)),
        (b"\x03\x1a\xff", typed(b"\x03\x1a\xff", false, false)),
    ] {
        assert_eq!(Escape::default().feed(keys), expected, "{keys:?}");
    }
}

#[test]
fn an_escape_may_come_in_two_reads() {
    let mut escape = Escape::default();
    assert_eq!(escape.feed(b"\x1d"), typed(b"", false, false));
    assert_eq!(escape.feed(b"q"), typed(b"", false, true));
}

#[test]
fn images_are_words_digests_or_files() {
    let known = |text: &str| Image::Known(text.to_owned());
    for (text, expected) in [
        ("builtin", known("builtin")),
        ("none", known("none")),
        ("sha256:00", known("sha256:00")),
        ("./builtin", Image::File("./builtin".into())),
        ("vmlinux", Image::File("vmlinux".into())),
    ] {
        assert_eq!(text.parse::<Image>().unwrap(), expected);
    }
}

#[test]
fn sizes_have_a_short_form() {
    for (text, bytes) in [
        ("2G", Some(2 << 30)),
        ("2GiB", Some(2 << 30)),
        ("512M", Some(512 << 20)),
        ("2", None),
        ("G", None),
    ] {
        let size = text.parse::<Size>();
        assert_eq!(size.as_ref().ok().map(|size| size.0.0), bytes, "{text}");
        if let Err(error) = size {
            assert!(
                error.to_string().starts_with(&format!("`{text}` is not")),
                "{error}"
            );
        }
    }
}

use std::sync::{Arc, Weak};

use super::*;
use crate::devices::serial::TakesInput;

fn watched() -> (Arc<Console>, UnixStream, UnixStream) {
    let (client, stream) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    (Console::new().unwrap(), client, stream)
}

/// The guest may have printed as much again by the time that it is sent.
#[test]
fn a_turn_shows_no_more_than_a_few_pieces() {
    let (console, mut client, mut stream) = watched();
    let all = vec![b'x'; 64 << 10];
    console.print(&all);
    let mut position = 0;
    assert!(show(&mut stream, &console, &mut position).is_ok_and(|more| more));
    assert!(position < all.len() as u64, "{position}");
    let mut turns = 1;
    while show(&mut stream, &console, &mut position).is_ok_and(|more| more) {
        turns += 1;
        assert!(turns < 100);
    }
    let mut got = vec![0; all.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, all);
}

/// Takes all at once, as a guest does that has buffers for it.
struct Guest(Weak<Console>);

impl TakesInput for Guest {
    fn take_input(&self) {
        if let Some(console) = self.0.upgrade() {
            while console.take_input(&mut [0; 4096]) > 0 {}
        }
    }
}

#[test]
fn a_turn_types_no_more_than_a_few_pieces() {
    let (console, mut client, mut stream) = watched();
    let guest: Arc<dyn TakesInput> = Arc::new(Guest(Arc::downgrade(&console)));
    console.attach(Arc::downgrade(&guest));
    client.write_all(&[b'y'; 64 << 10]).unwrap();
    let mut mute = false;
    let turn = type_in(&mut stream, &console, &mut mute);
    assert!(turn.is_ok_and(|interest| interest == EpollFlags::EPOLLIN));
    let typed = console.status(axion_api::vmm::ConsoleDevice::Virtio).typed_bytes;
    assert!((1..64 << 10).contains(&typed), "{typed}");
    assert!(!mute);
}

use super::*;
use crate::devices::ioapic::testing;

fn device() -> (Arc<Uart>, Arc<Console>, testing::Sent) {
    let console = Console::new().unwrap();
    let (ioapic, sent) = testing::ioapic();
    testing::unmask_edge(&ioapic, 4, 0x34);
    (Uart::new(ioapic.line(4), console.clone(), true), console, sent)
}

fn text(console: &Console, from: u64) -> (u64, String) {
    let mut buffer = vec![0; 128 << 10];
    let (start, count) = console.output(from, &mut buffer);
    (start, String::from_utf8(buffer[..count].to_vec()).unwrap())
}

fn receive(uart: &Uart) -> Option<u8> {
    let mut byte = [0];
    BusDevice::read(uart, 5, &mut byte);
    (byte[0] & 1 != 0).then(|| {
        BusDevice::read(uart, 0, &mut byte);
        byte[0]
    })
}

#[test]
fn output_reaches_every_reader_from_where_it_is() {
    let (uart, console, _) = device();
    BusDevice::write(&*uart, 0, b"hello ");
    BusDevice::write(&*uart, 0, b"world");
    assert_eq!(text(&console, 0), (0, "hello world".to_owned()));
    assert_eq!(text(&console, 6), (6, "world".to_owned()));
    assert_eq!(text(&console, 99), (11, String::new()));
}

#[test]
fn ring_keeps_the_last_64_kib() {
    let (_, console, _) = device();
    console.print(&vec![b'a'; 60 << 10]);
    console.print(&vec![b'b'; 60 << 10]);
    let (start, kept) = text(&console, 0);
    assert_eq!(start, 56 << 10);
    assert_eq!(kept.len(), 64 << 10);
    assert_eq!(kept.bytes().filter(|b| *b == b'a').count(), 4 << 10);
}

#[test]
fn input_waits_for_the_driver_and_is_never_lost() {
    let (uart, console, sent) = device();
    let typed: Vec<u8> = (0..=u8::MAX).collect();
    assert_eq!(console.type_in(&typed), typed.len());
    assert_eq!(receive(&uart), None, "nobody listens");
    BusDevice::write(&*uart, 1, &[1]);
    assert_eq!(sent.vectors(), [0x34]);
    let mut received = Vec::new();
    while let Some(byte) = receive(&uart) {
        received.push(byte);
    }
    assert_eq!(received, typed);
}

#[test]
fn full_input_queue_pushes_back() {
    let (uart, console, _) = device();
    let flood = vec![b'x'; 10_000];
    assert_eq!(console.type_in(&flood), 4096);
    assert_eq!(console.room(), 0);
    console.acknowledge();
    BusDevice::write(&*uart, 1, &[1]);
    assert_eq!(console.room(), 64);
    assert_eq!(console.wake().read().unwrap(), 1, "room is announced");
}

#[test]
fn what_waits_is_as_old_as_its_first_byte() {
    let (_, console, _) = device();
    assert_eq!(console.waits_since(), None);
    console.type_in(b"ab");
    let first = console.waits_since().unwrap();
    while first.elapsed().is_zero() {
        std::thread::yield_now();
    }
    console.type_in(b"c");
    let mut byte = [0];
    console.take_input(&mut byte);
    assert_eq!(console.waits_since(), Some(first));
    console.take_input(&mut byte);
    assert!(console.waits_since().unwrap() > first);
    console.take_input(&mut byte);
    assert_eq!((byte, console.waits_since()), ([b'c'], None));
}

#[test]
fn reset_attaches_a_new_device() {
    let (old, console, _) = device();
    drop(old);
    let (ioapic, _) = testing::ioapic();
    let new = Uart::new(ioapic.line(4), console.clone(), true);
    BusDevice::write(&*new, 1, &[1]);
    console.type_in(b"z");
    assert_eq!(receive(&new), Some(b'z'));
}

#[test]
fn input_for_another_device_is_left_to_it() {
    let (_, console, _) = device();
    let (ioapic, _) = testing::ioapic();
    let silent = Uart::new(ioapic.line(4), console.clone(), false);
    BusDevice::write(&*silent, 1, &[1]);
    console.type_in(b"x");
    assert_eq!(receive(&silent), None);
    BusDevice::write(&*silent, 0, b"o");
    assert_eq!(text(&console, 0), (0, "o".to_owned()));
}

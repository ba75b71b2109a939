use std::sync::{Arc, Mutex};

use super::*;
use crate::devices::ioapic::testing;

fn device() -> (Power, Arc<Mutex<Vec<PowerRequest>>>, testing::Sent) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let sink = requests.clone();
    let (ioapic, sent) = testing::ioapic();
    testing::unmask_edge(&ioapic, 5, 0x30);
    let device = Power::new(ioapic.line(5), Box::new(move |r| sink.lock().unwrap().push(r)));
    (device, requests, sent)
}

#[test]
fn only_s5_with_enable_ends_the_machine() {
    let (device, requests, _) = device();
    for value in 0..=u8::MAX {
        device.write(0, &[value]);
        let off = value & 0x20 != 0 && (value >> 2) & 7 == 5;
        assert_eq!(
            requests.lock().unwrap().drain(..).count(),
            usize::from(off),
            "{value:#x}"
        );
    }
}

#[test]
fn reset_register_takes_its_one_value() {
    let (device, requests, _) = device();
    device.write(2, &[0]);
    device.write(2, &[1]);
    assert_eq!(*requests.lock().unwrap(), [PowerRequest::Reset(ResetCause::Acpi)]);
}

#[test]
fn button_interrupts_and_its_event_clears_on_read() {
    let (device, _, sent) = device();
    device.press_button();
    assert_eq!(sent.vectors(), [0x30]);
    let mut byte = [0xff];
    device.read(3, &mut byte);
    assert_eq!(byte, [1]);
    device.read(3, &mut byte);
    assert_eq!(byte, [0]);
}

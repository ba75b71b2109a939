use proptest::prelude::*;

use super::testing::{ioapic, read, unmask_edge, unmask_level, write};
use super::*;

#[test]
fn identifies_itself() {
    let (ioapic, _) = ioapic();
    assert_eq!(read(&ioapic, 1), 0x0007_0020);
    write(&ioapic, 0, 0xff00_0000);
    assert_eq!(read(&ioapic, 0), 0x0f00_0000);
    assert_eq!(read(&ioapic, 0x10), 1 << 16, "masked after reset");
    assert_eq!(read(&ioapic, 0x40), u32::MAX, "past the last pin");
}

#[test]
fn edge_delivers_per_rise_and_forgets_what_was_masked() {
    let (ioapic, sent) = ioapic();
    let line = ioapic.line(4);
    line.pulse();
    unmask_edge(&ioapic, 4, 0x31);
    assert!(sent.vectors().is_empty(), "masked edges are ignored");
    line.set(true);
    line.set(true);
    line.set(false);
    line.pulse();
    assert_eq!(sent.vectors(), [0x31, 0x31]);
    assert!(sent.routes.lock().unwrap().is_empty(), "edge pins need no EOI");
}

#[test]
fn level_delivers_until_released_once_per_eoi() {
    let (ioapic, sent) = ioapic();
    let line = ioapic.line(6);
    line.set(true);
    unmask_level(&ioapic, 6, 0x40);
    assert_eq!(sent.vectors(), [0x40], "asserted when unmasked");
    assert_ne!(read(&ioapic, 0x10 + 12) & 1 << 14, 0, "remote IRR");
    line.set(true);
    assert!(sent.vectors().is_empty(), "in service");
    ioapic.end_of_interrupt(0x41);
    assert!(sent.vectors().is_empty(), "another vector");
    ioapic.end_of_interrupt(0x40);
    assert_eq!(sent.vectors(), [0x40], "still asserted");
    line.set(false);
    BusDevice::write(&*ioapic, EOI, &0x40u32.to_le_bytes());
    assert!(sent.vectors().is_empty());
    assert_eq!(read(&ioapic, 0x10 + 12) & 1 << 14, 0);
    line.set(true);
    assert_eq!(sent.vectors(), [0x40]);
}

#[test]
fn level_routes_follow_the_entries() {
    let (ioapic, sent) = ioapic();
    unmask_level(&ioapic, 6, 0x40);
    write(&ioapic, 0x10 + 12, 1 << 15 | 1 << 16 | 0x40);
    write(&ioapic, 0x10 + 12, 1 << 15 | 1 << 16 | 0x42);
    let routes = sent.routes.lock().unwrap();
    assert_eq!(routes.len(), 2, "told only what changed");
    assert_eq!(routes[0].len(), 1);
    assert_eq!(routes[0][0].0, 6);
    assert!(routes[1].is_empty());
}

#[test]
fn edge_and_back_clears_remote_irr() {
    let (ioapic, sent) = ioapic();
    unmask_level(&ioapic, 3, 0x50);
    ioapic.line(3).set(true);
    unmask_edge(&ioapic, 3, 0x50);
    assert_eq!(read(&ioapic, 0x16) & 1 << 14, 0);
    unmask_level(&ioapic, 3, 0x50);
    assert_eq!(sent.vectors(), [0x50, 0x50]);
}

#[test]
fn destination_reaches_the_msi_address() {
    let (ioapic, sent) = ioapic();
    write(&ioapic, 0x11, 0xa502_0000); // APIC id 0x1a5: high bits at 55:49
    write(&ioapic, 0x10, 0x0000_0933); // logical, lowest priority
    ioapic.line(0).pulse();
    let msi = sent.msis.lock().unwrap()[0];
    assert_eq!(msi.address_low, 0xfeea_500c);
    assert_eq!(msi.address_high, 0x100);
    assert_eq!(msi.data, 0x133);
}

#[derive(Debug, Clone)]
enum Step {
    Write(u8, u32),
    Line(u32, bool),
    Eoi(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<u8>(), any::<u32>()).prop_map(|(r, v)| Step::Write(r, v)),
        (
            0x10u8..0x40,
            prop_oneof![Just(0u32), Just(1 << 15), Just(1 << 16)]
        )
            .prop_map(|(r, v)| Step::Write(r, v)),
        (0u32..30, any::<bool>()).prop_map(|(p, on)| Step::Line(p, on)),
        any::<u8>().prop_map(Step::Eoi),
        Just(Step::Eoi(0)),
    ]
}

proptest! {
    /// Whatever a guest does: reserved bits stay clear, a due level pin has always been delivered, and remote IRR
    /// stands only on level pins.
    #[test]
    fn invariants_hold(steps in proptest::collection::vec(step(), 0..200)) {
        let (ioapic, _) = ioapic();
        for step in steps {
            match step {
                Step::Write(register, value) => write(&ioapic, register, value),
                Step::Line(pin, on) => ioapic.line(pin).set(on),
                Step::Eoi(vector) => ioapic.end_of_interrupt(vector),
            }
            for pin in &ioapic.state().pins {
                prop_assert_eq!(pin.entry & !(WRITABLE | REMOTE_IRR), 0);
                prop_assert!(!pin.is_due());
                prop_assert!(pin.is_level() || pin.entry & REMOTE_IRR == 0);
            }
        }
    }
}

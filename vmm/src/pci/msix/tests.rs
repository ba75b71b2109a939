use super::testing::Recorder;
use super::*;
use crate::pci::Wiring;
use crate::pci::registers::Identity;

fn msix(count: usize) -> (Msix, Recorder) {
    let recorder = Recorder::default();
    let targets = (0..count).map(|_| recorder.vector().unwrap()).collect();
    (Msix::new(targets), recorder)
}

fn write(msix: &Msix, entry: usize, word: usize, value: u32) {
    msix.write_table(entry * 16 + word * 4, &value.to_le_bytes());
}

fn program(msix: &Msix, entry: usize, data: u32) {
    write(msix, entry, 0, 0xfee0_0000);
    write(msix, entry, 1, 0);
    write(msix, entry, 2, data);
    write(msix, entry, 3, 0);
}

fn pending(msix: &Msix) -> u64 {
    let mut bytes = [0xff; 8];
    msix.read_pending(0, &mut bytes);
    u64::from_le_bytes(bytes)
}

const ENABLED: u16 = 0x8000;
const MASKED: u16 = 0xc000;

/// As `msix_capability_init` and `pci_msi_unmask_irq` of Linux do.
#[test]
fn delivers_once_enabled_and_unmasked() {
    let (msix, recorder) = msix(3);
    assert!(!msix.raise(1), "lost while disabled");
    msix.set_control(MASKED);
    program(&msix, 1, 0x4041);
    assert!(msix.raise(1));
    assert_eq!((recorder.take(), pending(&msix)), (vec![], 2), "function masked");
    msix.set_control(ENABLED);
    assert_eq!((recorder.take(), pending(&msix)), (vec![0x4041], 0));
    msix.raise(1);
    msix.raise(1);
    assert_eq!(recorder.take(), [0x4041, 0x4041]);
    msix.raise(0);
    assert_eq!((recorder.take(), pending(&msix)), (vec![], 1), "entry masked");
    msix.raise(3);
    msix.raise(0xffff);
    assert_eq!(*recorder.routed.lock().unwrap(), 1);
}

#[test]
fn moving_an_interrupt_loses_nothing() {
    let (msix, recorder) = msix(1);
    msix.set_control(ENABLED);
    program(&msix, 0, 0x30);
    write(&msix, 0, 3, 1);
    msix.raise(0);
    write(&msix, 0, 0, 0xfee0_1000);
    write(&msix, 0, 2, 0x31);
    assert!(recorder.take().is_empty());
    write(&msix, 0, 3, 0);
    let delivered = recorder.delivered.lock().unwrap().clone();
    assert_eq!(delivered.len(), 1);
    assert_eq!((delivered[0].address_low, delivered[0].data), (0xfee0_1000, 0x31));
    assert_eq!(
        *recorder.routed.lock().unwrap(),
        2,
        "routed when unmasked, not for each word"
    );
}

#[test]
fn disabling_forgets_what_waits() {
    let (msix, recorder) = msix(1);
    msix.set_control(MASKED);
    program(&msix, 0, 0x30);
    msix.raise(0);
    msix.set_control(0);
    assert_eq!(pending(&msix), 0);
    msix.set_control(ENABLED);
    assert!(recorder.take().is_empty());
}

#[test]
fn high_apic_ids_reach_the_high_half() {
    let (msix, recorder) = msix(1);
    msix.set_control(ENABLED);
    program(&msix, 0, 0x30);
    write(&msix, 0, 0, 0xfeef_f020); // APIC id 0x1ff
    msix.raise(0);
    let msi = recorder.delivered.lock().unwrap()[0];
    assert_eq!((msi.address_low, msi.address_high), (0xfeef_f000, 0x100));
}

#[test]
fn table_takes_whole_words_and_reads_back() {
    let (msix, _) = msix(2);
    msix.write_table(16, &0x1234_5678_fee0_0000u64.to_le_bytes());
    msix.write_table(24, &0xffff_ffff_0000_0042u64.to_le_bytes());
    msix.write_table(17, &[1, 2, 3, 4]);
    msix.write_table(16, &[9]);
    msix.write_table(28, &[0; 12]);
    msix.write_table(32, &[1; 4]);
    let mut table = [0xff; 36];
    msix.read_table(0, &mut table);
    assert_eq!(
        table[..16],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        "masked after reset"
    );
    assert_eq!(table[16..24], 0x1234_5678_fee0_0000u64.to_le_bytes());
    assert_eq!(
        table[24..32],
        0x1_0000_0042u64.to_le_bytes(),
        "only the mask bit is there"
    );
    assert_eq!(table[32..], [0; 4], "past the end");
}

#[test]
fn capability_tells_size_and_places() {
    let (msix, _) = msix(5);
    let mut registers = Registers::new(Identity {
        vendor: 1,
        device: 2,
        revision: 0,
        class: 0,
        subsystem_vendor: 0,
        subsystem: 0,
    });
    let control = msix.add_capability(&mut registers, 0x3000, 0x4000);
    assert_eq!(control, 0x42);
    registers.write(0x42, &[0xff; 2]);
    assert_eq!(registers.u16(0x42), 0xc004);
    assert_eq!((registers.u32(0x44), registers.u32(0x48)), (0x3000, 0x4000));
}

#[test]
fn a_vector_that_was_given_away_waits_while_it_is_masked() {
    let recorder = Recorder::default();
    let msix = Msix::new(vec![recorder.vector().unwrap()]);
    let connected = || std::mem::take(&mut *recorder.connected.lock().unwrap());
    msix.set_control(CONTROL_ENABLE);
    assert!(connected().is_empty(), "those of our own are masked by us");
    assert!(msix.give(0).is_some() && msix.give(1).is_none());
    assert_eq!(connected(), [false]);
    msix.write_table(0, &0xfee0_0000u32.to_le_bytes());
    msix.write_table(12, &[0; 4]);
    assert_eq!((connected(), *recorder.routed.lock().unwrap()), (vec![true], 1));
    msix.write_table(12, &ENTRY_MASK.to_le_bytes());
    assert_eq!(connected(), [false]);
    msix.write_table(12, &[0; 4]);
    msix.set_control(CONTROL_ENABLE | CONTROL_MASK);
    msix.set_control(CONTROL_ENABLE);
    assert_eq!(connected(), [true, false, true]);
}

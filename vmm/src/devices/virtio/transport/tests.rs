use proptest::prelude::*;

use super::testing::{Probe, Rig, signalled};
use super::*;
use crate::devices::virtio::queue::testing::memory;

const EVERYTHING: u64 = u64::MAX;

fn rig() -> (Rig, Probe) {
    let probe = Probe::default();
    (Rig::new(Box::new(probe.clone()), &memory()), probe)
}

#[test]
fn a_driver_finds_its_way() {
    let (rig, probe) = rig();
    assert_eq!(rig.config(2, 2), 0x1042);
    assert_eq!(rig.config(8, 4), 0x0180_0001);
    assert_eq!(rig.config(0x3d, 1), 0, "no interrupt pin");
    assert_eq!(rig.vectors, 3);
    assert!([1, 2, 3, 4, 5].iter().all(|kind| rig.has(*kind)));
    assert_eq!(rig.common(18, 2), 2, "queues");
    assert_eq!(rig.offered(), 0x1_3000_0005);
    assert_eq!((rig.device(0, 4), rig.device(8, 4)), (0x0403_0201, 9));
    rig.start(EVERYTHING, &[0x1_0000, 0x2_0000]);
    assert_eq!(rig.status(), 15);
    assert_eq!(probe.take(), ["activate 0x130000005 2"]);
    rig.notify(1);
    assert_eq!(probe.take(), ["notify 1"]);
    rig.set_common(20, 1, 0);
    assert_eq!((probe.take(), rig.status()), (vec!["drop".to_owned()], 0));
    rig.set_common(22, 2, 0);
    assert_eq!(
        (rig.common(24, 2), rig.common(26, 2), rig.common(28, 2)),
        (256, 0xffff, 0)
    );
}

#[test]
fn interrupts_reach_their_vectors() {
    let (rig, probe) = rig();
    rig.start(EVERYTHING, &[0x1_0000, 0x2_0000]);
    let notifier = probe.queues.lock().unwrap()[0].notifier.clone();
    notifier.used(1);
    notifier.used(0);
    assert_eq!(rig.recorder.take(), [0x42, 0x41]);
    notifier.needs_reset();
    notifier.needs_reset();
    assert_eq!(rig.recorder.take(), [0x40], "once");
    assert_eq!(rig.status(), 15 | 64);
    assert_eq!(rig.isr(), 0, "MSI-X needs no ISR status");
    rig.set_common(22, 2, 1);
    rig.set_common(26, 2, 3);
    assert_eq!(rig.common(26, 2), 0xffff, "there is no such vector");
    notifier.used(1);
    assert!(rig.recorder.take().is_empty());
    rig.set_common(20, 1, 0);
    assert_eq!(rig.status(), 0);
}

#[test]
fn without_msix_the_isr_tells() {
    let (rig, probe) = rig();
    rig.set_config(0x42, 2, 0);
    rig.start(EVERYTHING, &[0x1_0000]);
    let notifier = probe.queues.lock().unwrap()[0].notifier.clone();
    notifier.used(0);
    notifier.needs_reset();
    assert_eq!((rig.isr(), rig.isr()), (3, 0), "reading clears");
    assert!(rig.recorder.take().is_empty());
}

#[test]
fn features_have_to_be_offered_and_modern() {
    let (rig, probe) = rig();
    for features in [feature::TRANSPORT | 1 << 5, 5, feature::VERSION_1 | 1 << 33] {
        rig.set_common(20, 1, 0);
        rig.set_common(20, 1, 3);
        rig.take(features);
        rig.set_common(20, 1, 11);
        assert_eq!(rig.status(), 3, "{features:#x}");
        rig.set_common(20, 1, 15);
        assert_eq!(rig.status(), 3, "no DRIVER_OK without features");
    }
    assert!(probe.take().is_empty());
    rig.negotiate(feature::VERSION_1);
    rig.take(EVERYTHING);
    rig.set_common(8, 4, 0);
    assert_eq!(rig.common(12, 4), 0, "settled");
}

#[test]
fn enabled_queues_are_settled() {
    let (rig, probe) = rig();
    rig.start(EVERYTHING, &[0x1_0000]);
    rig.set_common(22, 2, 0);
    rig.set_common(24, 2, 16);
    rig.set_common(32, 4, 0x9000);
    rig.set_common(28, 2, 0);
    assert_eq!(
        (rig.common(24, 2), rig.common(32, 8), rig.common(28, 2)),
        (256, 0x1_0000, 1)
    );
    assert_eq!(probe.queues.lock().unwrap().len(), 1, "the other was not enabled");
    rig.set_common(22, 2, 7);
    assert_eq!(
        (rig.common(24, 2), rig.common(28, 2)),
        (0, 0),
        "there is no such queue"
    );
    rig.set_common(28, 2, 1);
    rig.set_common(20, 1, 4);
    assert_eq!(rig.status(), 15, "bits are cleared by reset alone");
    assert_eq!(probe.take().len(), 1, "begun once");
}

#[test]
fn a_ring_out_of_memory_needs_a_reset() {
    let (rig, probe) = rig();
    rig.negotiate(EVERYTHING);
    rig.set_common(16, 2, 0);
    rig.set_up(0, 0x100_0000, EVERYTHING);
    rig.set_common(20, 1, 15);
    assert_eq!(rig.status(), 15 | 64);
    assert_eq!(rig.recorder.take(), [0x40]);
    assert!(probe.take().is_empty());
    rig.start(EVERYTHING, &[0x1_0000]);
    assert_eq!(probe.take().len(), 1, "and works after that");
}

#[test]
fn decoding_off_hides_the_bar() {
    let (rig, _) = rig();
    rig.set_config(4, 2, 0);
    assert_eq!(rig.common(18, 2), 0xffff);
    rig.set_common(20, 1, 1);
    rig.set_config(4, 2, 2);
    assert_eq!(rig.status(), 0);
    rig.set_config(0x10, 4, 0xc100_0000);
    assert_eq!(rig.common(18, 2), 0xffff, "nor does it follow");
    rig.set_config(0x10, 4, u32::try_from(rig.bar).unwrap());
    assert_eq!(rig.common(18, 2), 2);
}

#[test]
fn configuration_space_is_a_window_to_the_bar() {
    let (rig, probe) = rig();
    let at = rig.capability(5);
    let aim = |offset: u32, len: u32| {
        rig.set_config(at + 8, 4, offset);
        rig.set_config(at + 12, 4, len);
    };
    aim(18, 2);
    assert_eq!(rig.config(at + 16, 2), 2, "queues");
    aim(20, 1);
    rig.set_config(at + 16, 1, 1);
    assert_eq!(rig.status(), 1);
    rig.start(EVERYTHING, &[0x1_0000]);
    probe.take();
    aim(0x5004, 2);
    rig.set_config(at + 16, 2, 1);
    assert_eq!(probe.take(), ["notify 1"]);
    for (offset, len) in [(0x8000, 4), (1, 2), (0, 3), (0, 0), (u32::MAX, 1)] {
        aim(offset, len);
        rig.config(at + 16, 4);
        rig.set_config(at + 16, 4, 0);
    }
    aim(20, 1);
    rig.set_config(at + 4, 1, 1);
    rig.set_config(at + 16, 1, 0);
    assert_eq!(rig.status(), 15, "there is no BAR 1");
}

#[test]
fn doorbells_are_events_with_addresses_of_their_own() {
    let probe = Probe {
        events: true,
        ..Probe::default()
    };
    let rig = Rig::new(Box::new(probe.clone()), &memory());
    let doorbells = rig.recorder.doorbells.lock().unwrap().clone();
    assert_eq!(doorbells, [rig.bar + 0x5000, rig.bar + 0x5004]);
    rig.start(EVERYTHING, &[0x1_0000, 0x2_0000]);
    rig.notify(1);
    assert_eq!(probe.take().len(), 1, "no call");
    let queues = probe.queues.lock().unwrap();
    let rung = |index: usize| signalled(queues[index].doorbell.as_ref().unwrap());
    assert_eq!((rung(0), rung(1), rung(1)), (false, true, false));
}

#[test]
fn pause_and_resume_reach_only_a_device_at_work() {
    let (rig, probe) = rig();
    rig.function.pause();
    rig.function.resume();
    assert!(probe.take().is_empty());
    rig.start(EVERYTHING, &[0x1_0000]);
    rig.function.pause();
    rig.function.resume();
    rig.function.shut_down();
    assert_eq!(probe.take()[1..], ["pause", "resume", "drop"]);
}

#[derive(Debug, Clone)]
enum Step {
    Bar(u64, Vec<u8>),
    Config(u64, Vec<u8>),
    Read(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(15), Just(0xff)], 1..=8);
    prop_oneof![
        (0u64..64, bytes()).prop_map(|(at, data)| Step::Bar(at, data)),
        (0u64..0x8000, bytes()).prop_map(|(at, data)| Step::Bar(at, data)),
        (0u64..0x1000, bytes()).prop_map(|(at, data)| Step::Config(at, data)),
        (0u64..0x8000, 1usize..=8).prop_map(|(at, len)| Step::Read(at, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever registers are written: no panic, and a device that works has been begun once per reset.
    #[test]
    fn any_access_is_survived(steps in proptest::collection::vec(step(), 0..300)) {
        let (rig, probe) = rig();
        for step in steps {
            match step {
                Step::Bar(at, data) => BusDevice::write(&*rig.function, at, &data),
                Step::Config(at, data) => rig.function.write_config(u16::try_from(at).unwrap(), &data),
                Step::Read(at, len) => {
                    BusDevice::read(&*rig.function, at, &mut vec![0xff; len]);
                    let at = u16::try_from(at % 0x1000).unwrap();
                    rig.function.read_config(at, &mut vec![0xff; len]);
                }
            }
        }
        rig.function.shut_down();
        let log = probe.take();
        let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
        prop_assert_eq!(count("activate"), count("drop"));
    }
}

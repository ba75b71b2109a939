use axion_api::vm::{HugepageSize, Scheduling, VmBalloon, VmSpec, VmVsock};
use axion_core::placement::{VmClass, VmThreads};
use axion_core::quantity::ByteSize;

use crate::vm::validate::{name, spec};

#[test]
fn names() {
    for good in ["a", "web-1", &"a".repeat(40)] {
        assert!(name(good).is_ok(), "{good}");
    }
    for bad in ["", "1a", "-a", "A", "a_b", "a/b", "..", "ä", &"a".repeat(41)] {
        assert!(name(bad).is_err(), "{bad}");
    }
}

#[test]
fn other_devices_stay_within_what_they_can() {
    let check = |change: &dyn Fn(&mut VmSpec)| {
        let mut wanted = VmSpec::default();
        change(&mut wanted);
        spec(&wanted).err().and_then(|problem| problem.pointer)
    };
    let vsock = |cid: u32| check(&|spec| spec.vsock = Some(VmVsock { cid }));
    assert_eq!((vsock(3), vsock(u32::MAX - 1)), (None, None));
    for cid in [0, 2, u32::MAX] {
        assert_eq!(vsock(cid).as_deref(), Some("/vsock/cid"), "{cid}");
    }
    let balloon = |size: u64, hugepages: HugepageSize| {
        check(&|spec| {
            spec.hugepages = hugepages;
            spec.balloon = Some(VmBalloon {
                size: ByteSize(size),
                ..VmBalloon::default()
            });
        })
    };
    assert_eq!(
        (
            balloon(0, HugepageSize::None),
            balloon(128 << 20, HugepageSize::None)
        ),
        (None, None)
    );
    for size in [1, (128 << 20) + 4096] {
        assert_eq!(
            balloon(size, HugepageSize::None).as_deref(),
            Some("/balloon/size"),
            "{size}"
        );
    }
    assert_eq!(balloon(0, HugepageSize::TwoMiB).as_deref(), Some("/balloon"));
}

#[test]
fn each_class_has_what_is_for_it() {
    let dedicated = VmSpec {
        class: VmClass::Dedicated,
        threads: VmThreads::One,
        ..VmSpec::default()
    };
    let shared = VmSpec {
        cpus: 2,
        ..VmSpec::default()
    };
    let with = |of: &VmSpec, cpu_weight, cpu_limit| {
        let wanted = VmSpec {
            cpu_weight,
            cpu_limit,
            ..of.clone()
        };
        spec(&wanted).err().and_then(|problem| problem.pointer)
    };
    for (of, weight, limit, pointer) in [
        (&shared, None, None, None),
        (&shared, Some(1), Some(1), None),
        (&shared, Some(10_000), Some(200), None),
        (&shared, Some(0), None, Some("/cpu_weight")),
        (&shared, Some(10_001), None, Some("/cpu_weight")),
        (&shared, None, Some(0), Some("/cpu_limit")),
        (&shared, None, Some(201), Some("/cpu_limit")),
        (&dedicated, None, None, None),
        (&dedicated, Some(100), None, Some("/cpu_weight")),
        (&dedicated, None, Some(100), Some("/cpu_limit")),
    ] {
        assert_eq!(
            with(of, weight, limit).as_deref(),
            pointer,
            "{weight:?} {limit:?}"
        );
    }
    for (of, pointer) in [(&shared, Some("/scheduling")), (&dedicated, None)] {
        let fifo = VmSpec {
            scheduling: Scheduling::Fifo,
            ..of.clone()
        };
        let refused = spec(&fifo).err().and_then(|problem| problem.pointer);
        assert_eq!(refused.as_deref(), pointer);
    }
    let threads = VmSpec {
        threads: VmThreads::One,
        ..shared
    };
    assert_eq!(spec(&threads).unwrap_err().pointer.as_deref(), Some("/threads"));
}

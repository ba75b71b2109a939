use axion_api::vm::{HugepageSize, VmBalloon, VmSpec, VmVsock};
use axion_core::quantity::ByteSize;

use crate::vm::validate::{Limits, capacity, name, spec};

const GIB: u64 = 1 << 30;

fn limits() -> Limits {
    Limits {
        cpus: 8,
        memory: 16 * GIB,
        two_mib: GIB,
        one_gib: 2 * GIB,
    }
}

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
fn cpus_and_memory_stay_within_the_host() {
    let check = |cpus, memory, hugepages| {
        let wanted = VmSpec {
            cpus,
            memory: ByteSize(memory),
            hugepages,
            ..VmSpec::default()
        };
        spec(&wanted, &limits()).err().and_then(|problem| problem.pointer)
    };
    let (none, two, one) = (HugepageSize::None, HugepageSize::TwoMiB, HugepageSize::OneGiB);
    for (cpus, memory, hugepages, pointer) in [
        (8, 16 * GIB, none, None),
        (9, GIB, none, Some("/cpus")),
        (1, 32 << 20, none, None),
        (1, 30 << 20, none, Some("/memory")),
        (1, (32 << 20) + 4096, none, Some("/memory")),
        (1, 17 * GIB, none, Some("/memory")),
        (1, GIB, two, None),
        (1, 2 * GIB, two, Some("/hugepages")),
        (1, 2 * GIB, one, None),
        (1, GIB + (2 << 20), one, Some("/memory")),
        (1, 3 * GIB, one, Some("/hugepages")),
        (1, u64::MAX, none, Some("/memory")),
    ] {
        assert_eq!(
            check(cpus, memory, hugepages).as_deref(),
            pointer,
            "{cpus} {memory} {hugepages:?}"
        );
    }
}

#[test]
fn other_devices_stay_within_what_they_can() {
    let check = |change: &dyn Fn(&mut VmSpec)| {
        let mut wanted = VmSpec::default();
        change(&mut wanted);
        spec(&wanted, &limits()).err().and_then(|problem| problem.pointer)
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
fn a_start_needs_what_is_free() {
    let wanted = VmSpec {
        hugepages: HugepageSize::TwoMiB,
        ..VmSpec::default()
    };
    assert!(capacity(&wanted, &limits()).is_ok());
    let full = Limits {
        two_mib: 100 << 20,
        ..limits()
    };
    let problem = capacity(&wanted, &full).unwrap_err();
    assert_eq!(problem.status, 507);
    assert!(problem.detail.contains("100 MiB are free"), "{}", problem.detail);
}

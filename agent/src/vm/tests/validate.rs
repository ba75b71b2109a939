use axion_api::vm::VmSpec;
use axion_core::placement::{VmClass, VmThreads};

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
    let threads = VmSpec {
        threads: VmThreads::One,
        ..shared
    };
    assert_eq!(spec(&threads).unwrap_err().pointer.as_deref(), Some("/threads"));
}

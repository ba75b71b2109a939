use proptest::prelude::*;

use super::*;

fn entry(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
    let [eax, ebx, ecx, edx] = registers;
    kvm_cpuid_entry2 {
        function,
        index,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    }
}

/// A host that has every bit of every leaf that KVM tells of, and sizes of XSAVE's components as CPUs have them.
fn host() -> Vec<kvm_cpuid_entry2> {
    let plain = [
        1,
        2,
        5,
        6,
        0xa,
        0x12,
        0x14,
        0x15,
        0x16,
        0x19,
        0x1c,
        0x1d,
        0x1e,
        0x24,
        0x4000_0001,
        0x8000_0001,
        0x8000_0002,
        0x8000_0005,
        0x8000_0006,
        0x8000_0007,
        0x8000_000a,
        0x8000_001a,
        0x8000_001b,
        0x8000_001d,
        0x8000_001e,
        0x8000_001f,
        0x8000_0020,
        0x8000_0021,
        0x8000_0022,
        0xc000_0001,
    ];
    let mut all: Vec<_> = plain.map(|leaf| entry(leaf, 0, [ALL; 4])).into();
    all.extend([
        entry(0, 0, [0x24, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
        entry(4, 0, [0x121, 1, 2, 3]),
        entry(7, 0, [2, ALL, ALL, ALL]),
        entry(7, 1, [ALL; 4]),
        entry(7, 2, [ALL; 4]),
        entry(0xb, 0, [1, 2, 0x100, 0]),
        entry(0x1f, 0, [1, 2, 0x100, 0]),
        entry(0xd, 0, [0x6_02e7, 11_008, 11_008, 0]),
        entry(0xd, 1, [0x1f, 0x980, 0x1_8100, 0]),
        entry(0xd, 2, [0x100, 0x240, 0, 0]),
        entry(0xd, 5, [0x40, 0x440, 0, 0]),
        entry(0xd, 6, [0x200, 0x480, 0, 0]),
        entry(0xd, 7, [0x400, 0x680, 0, 0]),
        entry(0xd, 9, [8, 0xa80, 0, 0]),
        entry(0xd, 17, [0x40, 0xac0, 2, 0]),
        entry(0xd, 18, [0x2000, 0xb00, 6, 0]),
        entry(0x4000_0000, 0, [0x4000_0001, 1, 2, 3]),
        entry(0x8000_0000, 0, [0x8000_0022, 1, 2, 3]),
        entry(0x8000_0008, 0, [0x3934, ALL, 0x7007, ALL]),
    ]);
    all
}

fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> Option<[u32; 4]> {
    let mut found = entries
        .iter()
        .filter(|e| (e.function, e.index) == (function, index));
    let first = found.next().map(|e| [e.eax, e.ebx, e.ecx, e.edx]);
    assert!(found.next().is_none(), "leaf {function:#x}.{index} twice");
    first
}

fn without(name: &str) -> Vec<kvm_cpuid_entry2> {
    let feature = FEATURES.iter().find(|feature| feature.name == name).unwrap();
    let mut entries = host();
    for entry in &mut entries {
        if (entry.function, entry.index) == (feature.leaf, 0) {
            let register = match feature.register {
                Ebx => &mut entry.ebx,
                Ecx => &mut entry.ecx,
                Edx => &mut entry.edx,
            };
            *register &= !(1 << feature.bit);
        }
    }
    entries
}

#[test]
fn host_is_all_that_there_is() {
    assert_eq!(limited(&host(), GuestCpuModel::Host).unwrap(), host());
    assert_eq!(limited(&[], GuestCpuModel::Host).unwrap(), []);
}

#[test]
fn a_level_has_its_features_and_no_others() {
    // Model; leaf 1 ECX and EDX; leaf 7 EBX, ECX, EDX; leaf 0x80000001 ECX and EDX.
    let table = [
        (GuestCpuModel::V2, 0x81b8_2201, 0x0010_0080, 0x0040_0003),
        (GuestCpuModel::V3, 0xb5f8_3201, 0x0010_01a8, 0x0040_0023),
        (GuestCpuModel::V4, 0xb5f8_3201, 0xd013_01a8, 0x0040_0023),
    ];
    for (model, leaf_1, leaf_7, extended) in table {
        let left = limited(&host(), model).unwrap();
        assert_eq!(
            find(&left, 1, 0).unwrap(),
            [ALL, ALL, leaf_1, 0x178b_fbff],
            "{model}"
        );
        assert_eq!(find(&left, 7, 0).unwrap(), [2, leaf_7, 4, 0xbc00_0400], "{model}");
        assert_eq!(find(&left, 7, 2).unwrap(), [0, 0, 0, 0x3f], "{model}");
        assert_eq!(
            find(&left, 0x8000_0001, 0).unwrap(),
            [ALL, ALL, extended, 0x2193_fbff],
            "{model}"
        );
    }
}

#[test]
fn what_is_not_of_the_level_has_no_leaf() {
    for model in [GuestCpuModel::V2, GuestCpuModel::V3, GuestCpuModel::V4] {
        let left = limited(&host(), model).unwrap();
        let mut leaves: Vec<u32> = left
            .iter()
            .map(|entry| entry.function)
            .filter(|leaf| *leaf != 0xd)
            .collect();
        leaves.sort_unstable();
        leaves.dedup();
        let expected = [
            0,
            1,
            2,
            4,
            5,
            6,
            7,
            0xb,
            0x1f,
            0x4000_0000,
            0x4000_0001,
            0x8000_0000,
            0x8000_0001,
            0x8000_0002,
            0x8000_0005,
            0x8000_0006,
            0x8000_0007,
            0x8000_0008,
            0x8000_001d,
            0x8000_001e,
            0x8000_0021,
        ];
        assert_eq!(leaves, expected, "{model}");
        assert_eq!(find(&left, 7, 1), None);
        // The last leaves are those that are left.
        assert_eq!(find(&left, 0, 0).unwrap()[0], 0x1f);
        assert_eq!(find(&left, 0x8000_0000, 0).unwrap()[0], 0x8000_0021);
        // Time, power, addresses of four levels of pages.
        assert_eq!(find(&left, 6, 0).unwrap(), [4, 0, 0, 0]);
        assert_eq!(find(&left, 0x8000_0007, 0).unwrap(), [0, 0, 0, 0x100]);
        assert_eq!(
            find(&left, 0x8000_0008, 0).unwrap(),
            [0x3034, 0x370f_d000, 0x7007, 0]
        );
    }
}

#[test]
fn state_is_that_of_the_features_that_are_left() {
    let state = |model| {
        let left = limited(&host(), model).unwrap();
        let mut state: Vec<_> = left.into_iter().filter(|entry| entry.function == 0xd).collect();
        state.sort_unstable_by_key(|entry| entry.index);
        let indices: Vec<u32> = state.iter().map(|entry| entry.index).collect();
        (indices, state.first().map(|e| [e.eax, e.ebx, e.ecx, e.edx]))
    };
    assert_eq!(state(GuestCpuModel::V2), (vec![], None));
    assert_eq!(state(GuestCpuModel::V3), (vec![0, 2], Some([0x7, 576, 832, 0])));
    assert_eq!(
        state(GuestCpuModel::V4),
        (vec![0, 2, 5, 6, 7], Some([0xe7, 576, 0xa80, 0]))
    );
}

#[test]
fn a_host_that_lacks_a_feature_is_refused_by_its_name() {
    for feature in FEATURES {
        let host = without(feature.name);
        for model in [GuestCpuModel::V2, GuestCpuModel::V3, GuestCpuModel::V4] {
            let result = limited(&host, model);
            if level(model).unwrap() < feature.level {
                assert!(result.is_ok(), "{model} without {}", feature.name);
            } else {
                assert_eq!(result.unwrap_err().missing, [feature.name], "{model}");
            }
        }
    }
    let error = limited(&without("AVX2"), GuestCpuModel::V4).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cpu_model: x86-64-v4 is not allowed; KVM on this host's CPU has no AVX2, which leaves x86-64-v2"
    );
    let error = limited(&[], GuestCpuModel::V2).unwrap_err();
    assert_eq!((error.missing.len(), error.highest), (16, GuestCpuModel::Host));
}

proptest! {
    #[test]
    fn nothing_appears_that_the_host_has_not(
        masks in prop::collection::vec(any::<[u32; 4]>(), 60),
        model in prop::sample::select(vec![GuestCpuModel::V2, GuestCpuModel::V3, GuestCpuModel::V4]),
    ) {
        let mut entries = host();
        for (entry, [eax, ebx, ecx, edx]) in entries.iter_mut().zip(masks) {
            if matches!(entry.function, 1 | 7 | 0x8000_0001) {
                // The level's own features are there.
                entry.eax &= eax;
            } else {
                entry.eax &= eax;
                entry.ebx &= ebx;
                entry.ecx &= ecx;
                entry.edx &= edx;
            }
        }
        let left = limited(&entries, model).unwrap();
        for entry in left.iter().filter(|e| !matches!(e.function, 0 | 7 | 0xd | 0x8000_0000 | 0x8000_0008)) {
            let [eax, ebx, ecx, edx] = find(&entries, entry.function, entry.index).unwrap();
            prop_assert_eq!([entry.eax & !eax, entry.ebx & !ebx, entry.ecx & !ecx, entry.edx & !edx], [0; 4]);
        }
        let components = find(&left, 0xd, 0).map_or(0, |state| state[0]);
        for index in 2..32 {
            let told = components & (1 << index) != 0;
            prop_assert!(!told || find(&left, 0xd, index).is_some());
        }
    }
}

use super::*;

/// A description as the kernel lays it out, its name in 16 bytes.
fn description(name: &str, offset: u32) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<kvm_stats_desc>() + 16];
    let at = offset_of!(kvm_stats_desc, offset);
    bytes[at..at + 4].copy_from_slice(&offset.to_ne_bytes());
    let start = size_of::<kvm_stats_desc>();
    bytes[start..start + name.len()].copy_from_slice(name.as_bytes());
    bytes
}

#[test]
fn counters_are_found_by_their_whole_names() {
    let list = [description("io_exits", 24), description("exits", 8)].concat();
    let each = size_of::<kvm_stats_desc>() + 16;
    assert_eq!(find(&list, each, "exits"), Some(8));
    assert_eq!(find(&list, each, "io_exits"), Some(24));
    assert_eq!(find(&list, each, "io"), None);
    assert_eq!(find(&list[..20], each, "io_exits"), None);
}

/// A source whose counters are those of a file.
fn source(values: [u64; VCPU.len()]) -> VcpuSource {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&values.map(u64::to_ne_bytes).concat(), 0)
        .unwrap();
    let mut next = 0;
    let offsets = [(); VCPU.len()].map(|()| {
        next += 8;
        Some(next - 8)
    });
    Source { file, offsets }
}

#[test]
fn what_the_vms_before_have_counted_is_kept() {
    let counters = Counters::default();
    assert_eq!(counters.vcpus(), []);
    for exits in [3, 4] {
        let mut values = [0; VCPU.len()];
        values[0] = exits;
        counters.begin(Sources {
            vm: None,
            vcpus: vec![Some(source(values))],
        });
        assert_eq!(counters.vcpus()[0].exits, if exits == 3 { 3 } else { 7 });
        counters.end();
    }
    assert_eq!(counters.vcpus()[0].exits, 7, "between two of them");
    assert_eq!(counters.mapped(), None);
    counters.begin(Sources {
        vm: None,
        vcpus: vec![None],
    });
    assert_eq!(
        counters.vcpus(),
        [],
        "a kernel that does not tell is no kernel that counts 0"
    );
}

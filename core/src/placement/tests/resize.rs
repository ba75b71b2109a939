//! VMs that grow and shrink where they are.

use proptest::prelude::*;

use super::*;

#[test]
fn a_vm_grows_into_what_its_node_has_left() {
    let supply = MACHINE.supply();
    let (mut ledger, placements) = placed(&supply, &[dedicated(2, 2), dedicated(2, 3)]);
    let [first, second] = placements.as_slice() else {
        panic!()
    };
    assert_eq!(
        (told(first), told(second)),
        (
            "1,2 | 0:0-1@2048MiB | 1x2x1 l3 2".to_owned(),
            "4,5 | 0:0-1@3072MiB | 1x2x1 l3 2".to_owned(),
        )
    );
    let refused = resize(&supply, &ledger, first, 6 * GIB).unwrap_err();
    assert_eq!(
        (refused.to_string().as_str(), refused.field),
        (
            "the VM cannot have 6GiB: its node has no room for the rest: node 0: pages of 1GiB: 4 wanted, 3 free of 8; \
             possible: size = \"5GiB\"",
            "size"
        )
    );
    let grown = resize(&supply, &ledger, first, 5 * GIB).unwrap();
    ledger.reserve("vm0", grown.clone());
    let refused = resize(&supply, &ledger, second, 4 * GIB).unwrap_err();
    assert!(refused.instead.is_empty(), "{refused}");
    // What one gives back, the other may have.
    ledger.reserve("vm0", resize(&supply, &ledger, &grown, 4 * GIB).unwrap());
    assert_eq!(
        resize(&supply, &ledger, second, 4 * GIB).unwrap().nodes[0].memory,
        4 * GIB
    );
}

#[test]
fn ordinary_memory_is_counted_in_bytes() {
    let supply = MACHINE.supply();
    let (ledger, placements) = placed(&supply, &[shared(1, 1)]);
    let refused = resize(&supply, &ledger, &placements[0], 40 * GIB)
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with(
            "the VM cannot have 40GiB: its node has no room for the rest: node 0: memory: 39GiB wanted, "
        ),
        "{refused}"
    );
}

#[test]
fn a_spread_vm_keeps_what_it_has() {
    let supply = MACHINE.supply();
    let (ledger, placements) = placed(&supply, &[spread(dedicated(8, 10))]);
    assert_eq!(placements[0].nodes.len(), 2);
    assert_eq!(
        resize(&supply, &ledger, &placements[0], 12 * GIB)
            .unwrap_err()
            .field,
        "numa"
    );
}

proptest! {
    /// However sizes come and go, no node gives more than it has, and what is refused does not fit.
    #[test]
    fn nothing_is_given_twice(sizes in prop::collection::vec((0usize..3, 1u64..=10), 1..40)) {
        let supply = MACHINE.supply();
        let (mut ledger, mut placements) = placed(&supply, &[dedicated(1, 1), dedicated(1, 1), dedicated(1, 1)]);
        for (vm, gib) in sizes {
            let (node, before) = (placements[vm].nodes[0].host_node, placements[vm].nodes[0].memory);
            let used = ledger.memory(node, GIB);
            match resize(&supply, &ledger, &placements[vm], gib * GIB) {
                Ok(placement) => {
                    ledger.reserve(format!("vm{vm}"), placement.clone());
                    placements[vm] = placement;
                }
                Err(_) => prop_assert!(used - before + gib * GIB > 8 * GIB),
            }
            prop_assert!(ledger.memory(node, GIB) <= 8 * GIB);
        }
    }

    #[test]
    fn blocks_are_few_and_whole_pages(mib in 1u64..(1 << 26), page in prop::sample::select(vec![4096, 2 << 20, 1 << 30])) {
        let more = mib << 20;
        let block = block_size(more, page);
        prop_assert!(block.is_power_of_two() && block >= STEP && block.is_multiple_of(page));
        prop_assert!(more.div_ceil(block) <= 4096);
    }
}

use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn node(size: u64, cpus: &str) -> GuestNode {
    GuestNode {
        size,
        cpus: cpus.parse().unwrap(),
        ..Default::default()
    }
}

fn numa(nodes: Vec<GuestNode>) -> Numa {
    let config = MemoryConfig {
        size: nodes.iter().map(|node| node.size).sum(),
        nodes,
        ..Default::default()
    };
    Numa::new(&config, 4, &Layout::new(config.size, 0, 46).unwrap())
}

/// The node's RAM, GiB.
fn ram(node: &Node) -> Vec<(u64, u64)> {
    let gib = |range: &Range<u64>| (range.start / GIB, range.end / GIB);
    node.ranges.iter().map(gib).collect()
}

#[test]
fn without_nodes_there_is_one_with_everything() {
    let config = MemoryConfig {
        size: 5 * GIB,
        ..Default::default()
    };
    let numa = Numa::new(&config, 3, &Layout::new(config.size, 0, 46).unwrap());
    let [only] = numa.nodes() else { panic!() };
    assert_eq!(ram(only), [(0, 3), (4, 6)]);
    assert_eq!(
        (only.cpus.to_string().as_str(), only.distances.as_slice()),
        ("0-2", &[10][..])
    );
}

#[test]
fn the_gap_splits_the_node_across_it() {
    let numa = numa(vec![node(2 * GIB, "0-1"), node(3 * GIB, "2-3"), node(GIB, "")]);
    let all: Vec<_> = numa.nodes().iter().map(ram).collect();
    assert_eq!(all, [vec![(0, 2)], vec![(2, 3), (4, 6)], vec![(6, 7)]]);
    assert_eq!([0, 1, 2, 3].map(|cpu| numa.node_of(cpu)), [0, 0, 1, 1]);
    assert_eq!(numa.nodes()[1].distances, [20, 10, 20]);
}

#[test]
fn a_node_that_ends_at_the_gap_is_whole() {
    let numa = numa(vec![node(3 * GIB, "0-1"), node(GIB, "2-3")]);
    assert_eq!(ram(&numa.nodes()[0]), [(0, 3)]);
    assert_eq!(ram(&numa.nodes()[1]), [(4, 5)]);
}

proptest! {
    #[test]
    fn nodes_have_all_ram_in_order(sizes in prop::collection::vec(1u64..4096, 1..9)) {
        let numa = numa(sizes.iter().map(|mib| node(mib << 20, "")).collect());
        let total: u64 = sizes.iter().sum::<u64>() << 20;
        let mut joined: Vec<Range<u64>> = Vec::new();
        for (wanted, node) in sizes.iter().zip(numa.nodes()) {
            prop_assert_eq!(node.size(), wanted << 20);
            for range in &node.ranges {
                match joined.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => joined.push(range.clone()),
                }
            }
        }
        let ram: Vec<_> = Layout::new(total, 0, 46).unwrap().ram().collect();
        prop_assert_eq!(joined, ram);
    }
}

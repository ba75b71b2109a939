use std::sync::atomic::Ordering;

use proptest::prelude::*;
use vm_memory::Bytes;

use super::*;
use crate::memory::GuestMemory;

const START: u64 = 4 << 30;
const BLOCK: u64 = 2 << 20;

fn hot(blocks: u64) -> (Hot, GuestMemory) {
    let hot = Hot::map(START..START + blocks * BLOCK, HugepageSize::None, None, false).unwrap();
    let memory = GuestMemory::from_regions(vec![hot.region().unwrap()]).unwrap();
    (hot, memory)
}

fn at(block: u64) -> u64 {
    START + block * BLOCK
}

/// Pages of the process that are present, 4 KiB each.
fn present(hot: &Hot) -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (from, to) = (hot.host, hot.host + 8 * usize::try_from(BLOCK).unwrap());
    let mut inside = false;
    let mut kib = 0;
    for line in text.lines() {
        if let Some((range, _)) = line.split_once(' ')
            && let Some((start, end)) = range.split_once('-')
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            inside = start < to && end > from;
        } else if inside && let Some(rss) = line.strip_prefix("Rss:") {
            kib += rss.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
        }
    }
    kib / 4
}

#[test]
fn what_is_plugged_is_memory_and_zero() {
    let (hot, memory) = hot(8);
    assert_eq!((hot.block(), hot.size()), (BLOCK, 0));
    hot.plug(at(2), 3).unwrap();
    assert_eq!(hot.size(), 3 * BLOCK);
    memory.write_slice(&[7; 4096], GuestAddress(at(4))).unwrap();
    assert_eq!(memory.read_obj::<u8>(GuestAddress(at(3))).unwrap(), 0);
    hot.unplug(at(4), 1).unwrap();
    hot.plug(at(4), 1).unwrap();
    assert_eq!(
        memory.read_obj::<u8>(GuestAddress(at(4))).unwrap(),
        0,
        "it comes back empty"
    );
}

#[test]
fn what_is_unplugged_hurts_nobody_and_takes_one_block() {
    let (hot, memory) = hot(8);
    hot.plug(at(1), 1).unwrap();
    memory.write_slice(&[1; 4096], GuestAddress(at(1))).unwrap();
    for block in [0, 2, 3, 4, 5, 6, 7] {
        let bytes = vec![9; usize::try_from(BLOCK).unwrap()];
        memory.write_slice(&bytes, GuestAddress(at(block))).unwrap();
    }
    let data = std::fs::metadata(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&hot.scratch)
    ));
    assert!(std::os::unix::fs::MetadataExt::blocks(&data.unwrap()) * 512 <= BLOCK);
    assert_eq!(
        memory.read_obj::<u8>(GuestAddress(at(1))).unwrap(),
        1,
        "memory is apart from it"
    );
    hot.unplug_all().unwrap();
    for block in 0..8 {
        assert_eq!(
            memory.read_obj::<u8>(GuestAddress(at(block))).unwrap(),
            0,
            "{block}"
        );
    }
}

#[test]
fn what_is_given_back_is_free() {
    let (hot, memory) = hot(8);
    hot.plug(at(0), 8).unwrap();
    for block in 0..8 {
        let bytes = vec![1; usize::try_from(BLOCK).unwrap()];
        memory.write_slice(&bytes, GuestAddress(at(block))).unwrap();
    }
    assert!(present(&hot) >= 8 * 512, "{}", present(&hot));
    hot.unplug(at(1), 6).unwrap();
    let left = present(&hot);
    assert!((2 * 512..3 * 512).contains(&left), "{left}");
}

#[test]
fn ranges_are_whole_blocks_of_the_region_in_the_right_state() {
    let (hot, _memory) = hot(8);
    for (start, blocks) in [
        (at(0) + 4096, 1),
        (at(0), 0),
        (at(0), 9),
        (at(7), 2),
        (at(8), 1),
        (START - BLOCK, 1),
        (0, 1),
        (u64::MAX - BLOCK + 1, 1),
        (at(0), u64::MAX / BLOCK + 1),
        (at(0), u64::MAX),
    ] {
        assert!(
            matches!(hot.plug(start, blocks), Err(HotError::Range { .. })),
            "{start:#x} {blocks}"
        );
        assert!(matches!(hot.unplug(start, blocks), Err(HotError::Range { .. })));
        assert!(matches!(hot.state(start, blocks), Err(HotError::Range { .. })));
    }
    hot.plug(at(3), 2).unwrap();
    assert!(matches!(hot.plug(at(2), 2), Err(HotError::State { .. })));
    assert!(matches!(hot.unplug(at(4), 2), Err(HotError::State { .. })));
    assert_eq!(hot.state(at(3), 2).unwrap(), State::Plugged);
    assert_eq!(hot.state(at(0), 3).unwrap(), State::Unplugged);
    assert_eq!(hot.state(at(0), 8).unwrap(), State::Mixed);
    assert_eq!(hot.size(), 2 * BLOCK);
}

#[test]
fn pages_that_cannot_be_had_are_an_error_and_leave_no_hole() {
    // Bound to a node that no host has.
    let hot = Hot::map(START..START + 4 * BLOCK, HugepageSize::None, Some(900), true).unwrap();
    let memory = GuestMemory::from_regions(vec![hot.region().unwrap()]).unwrap();
    assert!(matches!(hot.plug(at(0), 2), Err(HotError::Pages(_))));
    assert_eq!(hot.size(), 0);
    memory.write_slice(&[1; 4096], GuestAddress(at(1))).unwrap();
}

/// The guest goes on with all that it believes to have: scratch memory would be the same in every block.
#[test]
fn what_cannot_be_taken_back_whole_stays_whole() {
    for all in [false, true] {
        let (hot, memory) = hot(8);
        hot.plug(at(1), 4).unwrap();
        hot.refused.store(3, Ordering::Relaxed);
        let refused = if all {
            hot.unplug_all()
        } else {
            hot.unplug(at(1), 4)
        };
        assert!(matches!(refused, Err(HotError::Pages(_))), "{refused:?}");
        assert_eq!(hot.state(at(1), 4).unwrap(), State::Plugged);
        assert_eq!(hot.size(), 4 * BLOCK);
        for block in 0..8u8 {
            memory.write_obj(block, GuestAddress(at(block.into()))).unwrap();
        }
        for block in 1..5u8 {
            let found: u8 = memory.read_obj(GuestAddress(at(block.into()))).unwrap();
            assert_eq!(found, block);
        }
        hot.refused.store(usize::MAX, Ordering::Relaxed);
        hot.unplug(at(1), 4).unwrap();
    }
}

#[test]
fn what_is_lost_is_said_and_leaves_no_hole() {
    let (mut hot, memory) = hot(4);
    hot.plug(at(0), 3).unwrap();
    hot.refused.store(2, Ordering::Relaxed);
    // A node that no host has.
    hot.kind.node = Some(900);
    assert!(matches!(hot.unplug(at(0), 3), Err(HotError::Lost(_))));
    assert_eq!(hot.size(), 0);
    for block in 0..4 {
        memory.write_obj(7u8, GuestAddress(at(block))).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is asked, what is plugged keeps what was written, and all of the region can be touched.
    #[test]
    fn as_a_model_of_it(requests in prop::collection::vec((any::<bool>(), 0u64..9, 0u64..5), 1..40)) {
        let (hot, memory) = hot(8);
        let mut model: [Option<u8>; 8] = [None; 8];
        let mut stamp = 0;
        for (plug, block, count) in requests {
            let range = usize::try_from(block).unwrap()..usize::try_from(block + count).unwrap();
            let fits = count > 0 && range.end <= 8;
            let right = fits && model[range.clone()].iter().all(|there| there.is_some() != plug);
            let done = if plug { hot.plug(at(block), count) } else { hot.unplug(at(block), count) };
            prop_assert_eq!(done.is_ok(), right);
            if right {
                for index in range {
                    stamp += 1;
                    model[index] = plug.then_some(stamp);
                    memory.write_obj(stamp, GuestAddress(at(index as u64))).unwrap();
                }
            }
            for (index, there) in (0..).zip(model) {
                let found: u8 = memory.read_obj(GuestAddress(at(index))).unwrap();
                prop_assert!(there.is_none_or(|there| there == found));
            }
            prop_assert_eq!(hot.size(), model.iter().flatten().count() as u64 * BLOCK);
        }
    }
}

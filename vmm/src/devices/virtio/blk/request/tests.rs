use proptest::prelude::*;

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::devices::virtio::queue::segments::advance;
use crate::devices::virtio::queue::testing::memory;

const GEOMETRY: Geometry = Geometry {
    capacity: 8 << 20,
    block: 512,
    physical: 4096,
};

fn segment(address: u64, len: u32) -> Segment {
    Segment { address, len }
}

fn header(memory: &GuestMemory, kind: u32, sector: u64) {
    memory.write_obj([kind, 0], GuestAddress(0x100)).unwrap();
    memory.write_obj(sector, GuestAddress(0x108)).unwrap();
}

/// The action of a request whose header and status lie by themselves, with `data` as its segments.
fn action(kind: u32, sector: u64, read_only: bool, readable: &[Segment], writable: &[Segment]) -> Action {
    let memory = memory();
    header(&memory, kind, sector);
    let mut chain = Chain {
        head: 0,
        readable: [&[segment(0x100, 16)], readable].concat(),
        writable: [writable, &[segment(0x200, 1)]].concat(),
    };
    let request = parse(&memory, &mut chain, GEOMETRY, read_only).unwrap();
    assert_eq!(request.status, 0x200);
    request.action
}

const FAILED: Action = Action::End(Status::IoError);

#[test]
fn reads_and_writes_are_whole_sectors_of_the_disk() {
    let data = [segment(0x1000, 4096), segment(0x4000, 512)];
    let (offset, len) = (3 * 512, 4608);
    assert_eq!(action(0, 3, false, &[], &data), Action::Read { offset, len });
    assert_eq!(action(1, 3, false, &data, &[]), Action::Write { offset, len });
    let last = (8 << 20) / 512 - 1;
    let one = [segment(0x1000, 512)];
    assert_eq!(
        action(0, last, true, &[], &one),
        Action::Read {
            offset: last * 512,
            len: 512
        }
    );
    for sector in [last + 1, u64::MAX, u64::MAX / 512, 1 << 55] {
        assert_eq!(action(0, sector, false, &[], &one), FAILED, "{sector}");
        assert_eq!(action(1, sector, false, &one, &[]), FAILED, "{sector}");
    }
    assert_eq!(action(0, 0, false, &[], &[segment(0, 511)]), FAILED);
    assert_eq!(action(0, 0, false, &[], &[]), FAILED, "nothing to read");
    assert_eq!(action(1, 0, true, &one, &[]), FAILED, "read-only");
    let huge = vec![segment(0, 1 << 20); 300];
    assert_eq!(action(0, 0, false, &[], &huge), FAILED);
}

#[test]
fn header_and_status_may_lie_anywhere() {
    let memory = memory();
    header(&memory, 1, 5);
    memory.write_slice(&[0xaa; 512], GuestAddress(0x110)).unwrap();
    let mut chain = Chain {
        head: 0,
        readable: vec![segment(0x100, 3), segment(0x103, 12), segment(0x10f, 513)],
        writable: vec![segment(0x300, 7)],
    };
    let request = parse(&memory, &mut chain, GEOMETRY, false).unwrap();
    assert_eq!(
        request.action,
        Action::Write {
            offset: 5 * 512,
            len: 512
        }
    );
    assert_eq!(request.status, 0x306);
    assert_eq!(chain.readable, [segment(0x110, 512)]);
    for (readable, writable) in [
        (vec![segment(0x100, 15)], vec![segment(0x300, 1)]),
        (vec![segment(0x100, 16)], vec![]),
    ] {
        let mut chain = Chain {
            head: 0,
            readable,
            writable,
        };
        assert_eq!(
            parse(&memory, &mut chain, GEOMETRY, false),
            Err(RingError::Buffer)
        );
    }
}

fn range_action(kind: u32, sector: u64, sectors: u32, flags: u32, read_only: bool) -> Action {
    let memory = memory();
    header(&memory, kind, 0);
    memory.write_obj(sector, GuestAddress(0x1000)).unwrap();
    memory.write_obj([sectors, flags], GuestAddress(0x1008)).unwrap();
    let mut chain = Chain {
        head: 0,
        readable: vec![segment(0x100, 16), segment(0x1000, 16)],
        writable: vec![segment(0x200, 1)],
    };
    parse(&memory, &mut chain, GEOMETRY, read_only).unwrap().action
}

#[test]
fn ranges_are_one_and_inside() {
    let (offset, len) = (1024, 4096);
    assert_eq!(range_action(11, 2, 8, 0, false), Action::Discard { offset, len });
    let zeroes = |unmap| Action::WriteZeroes { offset, len, unmap };
    assert_eq!(range_action(13, 2, 8, 0, false), zeroes(false));
    assert_eq!(range_action(13, 2, 8, 1, false), zeroes(true));
    assert_eq!(range_action(11, 2, 0, 0, false), Action::End(Status::Ok));
    assert_eq!(range_action(11, 2, 8, 1, false), Action::End(Status::Unsupported));
    assert_eq!(range_action(13, 2, 8, 2, false), Action::End(Status::Unsupported));
    assert_eq!(
        range_action(11, 0, 1 << 14, 0, false),
        Action::Discard {
            offset: 0,
            len: 8 << 20
        }
    );
    for (sector, sectors) in [(1, 1 << 14), (0, u32::MAX), (u64::MAX, 1), (1 << 54, 1)] {
        assert_eq!(
            range_action(11, sector, sectors, 0, false),
            FAILED,
            "{sector}+{sectors}"
        );
    }
    assert_eq!(range_action(11, 0, 1, 0, true), FAILED);
    assert_eq!(
        action(11, 0, false, &[segment(0x1000, 32)], &[]),
        FAILED,
        "two ranges"
    );
    assert_eq!(
        action(13, 0, false, &[segment(0x1000, 8)], &[]),
        FAILED,
        "half a range"
    );
}

#[test]
fn the_rest_needs_no_data() {
    assert_eq!(action(4, 0, false, &[], &[]), Action::Flush);
    assert_eq!(action(4, 0, true, &[], &[]), Action::End(Status::Ok));
    assert_eq!(action(8, 0, false, &[], &[segment(0x1000, 20)]), Action::Id);
    for kind in [2, 3, 5, 14, 0x8000_0000] {
        assert_eq!(action(kind, 0, false, &[], &[]), Action::End(Status::Unsupported));
    }
}

proptest! {
    #[test]
    fn advance_takes_exactly_so_many_bytes(lens in proptest::collection::vec(1u32..100, 0..8), count in 0u64..500) {
        let before: Vec<u64> = lens.iter().enumerate()
            .flat_map(|(index, len)| (0..u64::from(*len)).map(move |byte| index as u64 * 1000 + byte))
            .collect();
        let mut segments: Vec<Segment> = (0..).zip(&lens).map(|(index, len)| segment(index * 1000, *len)).collect();
        advance(&mut segments, count);
        let after: Vec<u64> = segments.iter()
            .flat_map(|s| s.address..s.address + u64::from(s.len))
            .collect();
        let count = usize::try_from(count).unwrap().min(before.len());
        prop_assert_eq!(&before[count..], &after[..]);
        prop_assert!(segments.iter().all(|s| s.len > 0));
    }

    /// Whatever a request says, what is to be done lies on the disk.
    #[test]
    fn any_request_stays_on_the_disk(
        kind in prop_oneof![0u32..16, any::<u32>()],
        sector in prop_oneof![0u64..20_000, any::<u64>()],
        read_only in any::<bool>(),
        readable in proptest::collection::vec((0u64..0x1_0000, 1u32..0x2000), 0..5),
        writable in proptest::collection::vec((0u64..0x1_0000, 1u32..0x2000), 0..5),
    ) {
        let memory = memory();
        header(&memory, kind, sector);
        let segments = |list: Vec<(u64, u32)>| list.into_iter().map(|(a, l)| segment(a, l)).collect::<Vec<_>>();
        let mut chain = Chain {
            head: 0,
            readable: [vec![segment(0x100, 16)], segments(readable)].concat(),
            writable: segments(writable),
        };
        if let Ok(request) = parse(&memory, &mut chain, GEOMETRY, read_only) {
            match request.action {
                Action::Read { offset, len } => prop_assert!(offset + len <= GEOMETRY.capacity && len > 0),
                Action::Write { offset, len } | Action::Discard { offset, len }
                | Action::WriteZeroes { offset, len, .. } => {
                    prop_assert!(offset + len <= GEOMETRY.capacity && len > 0 && !read_only);
                }
                Action::Flush | Action::Id | Action::End(_) => {}
            }
        }
    }
}

use super::*;
use crate::recording::{Disk, Operation};

#[test]
fn changes_are_seen_and_not_written_until_they_are_written_out() {
    let disk = Disk::new(8192);
    disk.write_at(0, &[1; 1024]).unwrap();
    let overlay = Overlay::new(disk.fresh());
    overlay.write_at(510, &[2; 4]).unwrap();
    let mut seen = [0; 6];
    overlay.read_at(509, &mut seen).unwrap();
    assert_eq!(seen, [1, 2, 2, 2, 2, 1]);
    assert_eq!(overlay.differing().unwrap(), [0, 1]);
    assert!(overlay.below().log().is_empty());
    overlay.write_out(&[1, 0]).unwrap();
    let offsets = overlay.below().log().into_iter().map(|o| match o {
        Operation::Write { offset, .. } => Some(offset),
        Operation::Flush => None,
    });
    assert_eq!(offsets.collect::<Vec<_>>(), [Some(512), Some(0), None]);
    assert!(overlay.differing().unwrap().is_empty());
}

#[test]
fn content_passes_in_chunks() {
    let overlay = Overlay::new(Disk::new(8192)).with_chunk(1024);
    overlay
        .pass_through(1024, || {
            for n in 0..4 {
                overlay.write_at(1024 + n * 512, &[3; 512])?;
            }
            overlay.write_at(100, &[4; 4])
        })
        .unwrap();
    assert_eq!(overlay.below().log().len(), 2);
    assert_eq!(overlay.differing().unwrap(), [0]);
}

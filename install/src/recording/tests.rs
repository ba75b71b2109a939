use super::*;

fn read(disk: &Disk, offset: u64) -> u8 {
    let mut byte = [0];
    disk.read_at(offset, &mut byte).unwrap();
    byte[0]
}

#[test]
fn a_cut_leaves_each_sector_in_one_of_its_versions() {
    let disk = Disk::new(4096);
    disk.write_at(0, &[1; 1024]).unwrap();
    let before = disk.fresh();
    let pending = [
        Operation::Write {
            offset: 0,
            bytes: [2; 1024].as_slice().into(),
        },
        Operation::Write {
            offset: 512,
            bytes: [3; 10].as_slice().into(),
        },
    ];
    let all = before.cut(&pending, |n| n - 1).unwrap();
    assert_eq!([0, 512, 530].map(|at| read(&all, at)), [2, 3, 2]);
    let none = before.cut(&pending, |_| 0).unwrap();
    assert_eq!([0, 512, 530].map(|at| read(&none, at)), [1, 1, 1]);
    let mut choices = [0, 1].into_iter();
    let torn = before.cut(&pending, |_| choices.next().unwrap()).unwrap();
    assert_eq!([0, 512, 530].map(|at| read(&torn, at)), [1, 2, 2]);
}

#[test]
fn nothing_is_beyond_the_end() {
    let disk = Disk::new(1024);
    assert!(disk.write_at(1000, &[0; 100]).is_err());
    assert!(disk.read_at(1024, &mut [0]).is_err());
    assert!(disk.log().is_empty());
}

#[test]
fn a_cut_keeps_what_was_flushed_and_chooses_of_the_rest() {
    let before = Disk::new(4096);
    let disk = before.fresh();
    for (at, byte) in [(0, 1), (512, 2)] {
        disk.write_at(at, &[byte; 512]).unwrap();
        disk.flush().unwrap();
    }
    disk.write_at(1024, &[3; 512]).unwrap();
    let log = disk.log();
    let look = |count, none: bool| {
        let left = before.cut_behind(&log, count, |n| if none { 0 } else { n - 1 });
        let left = left.unwrap();
        [0, 512, 1024].map(|at| read(&left, at))
    };
    assert_eq!(look(0, true), [0, 0, 0]);
    assert_eq!((look(1, true), look(1, false)), ([0, 0, 0], [1, 0, 0]));
    assert_eq!(look(2, true), [1, 0, 0]);
    assert_eq!((look(5, true), look(5, false)), ([1, 2, 0], [1, 2, 3]));
    assert_eq!(look(99, false), [1, 2, 3]);
}

#[test]
fn a_copy_holds_what_was_there_and_what_was_changed() {
    let disk = Disk::new(4096);
    disk.write_at(0, &[1; 1024]).unwrap();
    let changed = disk.settled();
    changed.write_at(512, &[2; 512]).unwrap();
    let copy = Disk::new(4096);
    changed.copy_to(&copy).unwrap();
    assert_eq!([0, 512, 1024].map(|at| read(&copy, at)), [1, 2, 0]);
}

#[test]
fn a_sparse_file_is_read_with_its_holes() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&[5; 3000], 9 << 20).unwrap();
    file.write_all_at(&[6; 512], (64 << 20) - 512).unwrap();
    let disk = Disk::of(&file).unwrap();
    assert_eq!(
        [0, 9 << 20, (9 << 20) + 2999, (9 << 20) + 3000, (64 << 20) - 1].map(|at| read(&disk, at)),
        [0, 5, 5, 0, 6]
    );
    assert_eq!(disk.size(), 64 << 20);
}

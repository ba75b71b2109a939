use super::{Ring, size};

fn ring(lines: usize, max_lines: usize, max_bytes: usize) -> Ring {
    let mut ring = Ring::new(max_lines, max_bytes);
    for n in 0..lines {
        ring.push(0, 6, "init".into(), format!("line {n}"));
    }
    ring
}

fn sequences(ring: &Ring, after: u64, limit: usize) -> Vec<u64> {
    ring.after(after, limit).iter().map(|e| e.sequence).collect()
}

#[test]
fn the_oldest_lines_go_first() {
    let ring = ring(10, 4, usize::MAX);
    assert_eq!(sequences(&ring, 0, 100), [7, 8, 9, 10]);
}

#[test]
fn reading_goes_on_where_it_stopped() {
    let ring = ring(10, 100, usize::MAX);
    assert_eq!(sequences(&ring, 0, 3), [8, 9, 10]);
    assert_eq!(sequences(&ring, 4, 3), [5, 6, 7]);
    assert!(sequences(&ring, 10, 3).is_empty());
    assert!(sequences(&ring, u64::MAX, 3).is_empty());
}

#[test]
fn bytes_are_bounded() {
    let one = size(&ring(1, 1, usize::MAX).after(0, 1)[0]);
    let mut ring = ring(9, 100, 5 * one);
    assert_eq!(sequences(&ring, 0, 100), [5, 6, 7, 8, 9]);
    ring.push(0, 6, "init".into(), "a line that is a little longer".into());
    assert_eq!(sequences(&ring, 0, 100), [7, 8, 9, 10]);
}

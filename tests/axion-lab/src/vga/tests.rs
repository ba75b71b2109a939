use super::*;

fn memory(lines: &[&str]) -> Vec<u8> {
    let mut memory = vec![0; MEMORY_BYTES];
    for (row, line) in lines.iter().enumerate() {
        for (column, byte) in line.bytes().enumerate() {
            memory[2 * (row * COLUMNS + column)] = byte;
        }
    }
    memory
}

#[test]
fn rows_without_their_blanks() {
    let text = text(&memory(&["Axion", "", "ready  "]), 0);
    assert!(text.starts_with("Axion\n\nready\n"), "{text:?}");
    assert_eq!(text.lines().count(), 3);
    assert_eq!(text.split('\n').count(), ROWS);
}

#[test]
fn a_scrolled_screen_starts_where_the_controller_says_and_wraps() {
    let scrolled = memory(&["gone", "first"]);
    assert!(text(&scrolled, 80).starts_with("first\n"));
    let last_row = u16::try_from((MEMORY_BYTES / 2 / COLUMNS) * COLUMNS).unwrap();
    let cells = MEMORY_BYTES / 2;
    let tail = cells - usize::from(last_row);
    assert_eq!(&text(&scrolled, last_row)[tail.min(4)..][..0], "");
    assert!(text(&scrolled, last_row).contains("gone"));
}

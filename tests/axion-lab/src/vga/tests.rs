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
    assert!(text.starts_with("Axion\n\nready\n\n"), "{text:?}");
    assert_eq!(text.split('\n').count(), ROWS);
}

#[test]
fn a_scrolled_screen_starts_where_the_controller_says() {
    let shown = text(&memory(&["gone", "first"]), 80);
    assert!(
        shown.starts_with("first\n") && !shown.contains("gone"),
        "{shown:?}"
    );
}

#[test]
fn the_screen_wraps_at_the_end_of_the_memory() {
    let last_row = u16::try_from(MEMORY_BYTES / 2 - COLUMNS).unwrap();
    let shown = text(&memory(&["wrapped"]), last_row);
    assert_eq!(shown.split('\n').nth(1), Some("wrapped"));
}

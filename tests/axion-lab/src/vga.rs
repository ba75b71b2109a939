//! The VGA text screen, read out of video memory.
//!
//! In text mode, 32 KiB at physical address 0xb8000 hold cells of two bytes: a character (code page 437) and its colours. The
//! display starts at the cell that the CRT controller's registers 0x0c and 0x0d name, and wraps around; Linux scrolls by
//! moving that start.

/// Physical address of the text memory.
pub const MEMORY: u64 = 0xb8000;
/// Bytes of the text memory.
pub const MEMORY_BYTES: usize = 32 << 10;
/// Columns of the screen.
pub const COLUMNS: usize = 80;
/// Rows of the screen.
pub const ROWS: usize = 25;

/// What the screen shows, when `memory` is the text memory and the display starts at cell `start`; trailing blanks are cut.
pub fn text(memory: &[u8], start: u16) -> String {
    let cells: Vec<char> = memory
        .chunks_exact(2)
        .filter_map(<[u8]>::first)
        .map(|&c| character(c))
        .collect();
    let shown: Vec<char> = cells
        .iter()
        .cycle()
        .skip(usize::from(start))
        .take(COLUMNS * ROWS)
        .copied()
        .collect();
    let rows = shown
        .chunks(COLUMNS)
        .map(|row| row.iter().collect::<String>().trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}

/// A character of code page 437; of the upper half only the lines and blocks that text screens draw with.
fn character(code: u8) -> char {
    match code {
        0x20..=0x7e => char::from(code),
        0xb3 => '│',
        0xbf => '┐',
        0xc0 => '└',
        0xc4 => '─',
        0xd9 => '┘',
        0xda => '┌',
        0xdb => '█',
        0xb0 => '░',
        0 | 0xff => ' ',
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests;

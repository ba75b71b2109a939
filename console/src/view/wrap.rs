//! Text over several rows, so that its height is known before it is drawn.

use ratatui::text::Span;

/// Columns that a character takes.
pub fn columns(character: char) -> usize {
    Span::raw(character.encode_utf8(&mut [0; 4]) as &str).width()
}

/// Breaks `text` between words into rows of at most `width` columns; a longer word is cut.
pub fn words(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let needed: usize = word.chars().map(columns).sum();
        if used > 0 && used + 1 + needed > width {
            rows.push(std::mem::take(&mut row));
            used = 0;
        } else if used > 0 {
            row.push(' ');
            used += 1;
        }
        for character in word.chars() {
            let more = columns(character);
            if used > 0 && used + more > width {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            row.push(character);
            used += more;
        }
    }
    rows.push(row);
    rows
}

//! Small readers of one-value files.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The file's text without surrounding white space; `None` where it is missing, unreadable or empty.
pub(crate) fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes)
        .trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .to_owned();
    (!text.is_empty()).then_some(text)
}

/// The file's text as a value.
pub(crate) fn value<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

/// A number written as `0x8086`.
pub(crate) fn hex(path: impl AsRef<Path>) -> Option<u32> {
    let text = text(path)?;
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16).ok()
}

/// Whether the file holds `1`.
pub(crate) fn flag(path: impl AsRef<Path>) -> bool {
    value::<u8>(path) == Some(1)
}

/// The last component of what a symbolic link points to: a driver's name, a group's number.
pub(crate) fn link_name(path: impl AsRef<Path>) -> Option<String> {
    Some(
        std::fs::read_link(path)
            .ok()?
            .file_name()?
            .to_string_lossy()
            .into_owned(),
    )
}

/// Names and paths of a directory's entries, by name.
pub(crate) fn entries(directory: impl AsRef<Path>) -> Vec<(String, PathBuf)> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    entries.sort();
    entries
}

/// The entries named `prefix` and a number, by number.
pub(crate) fn numbered(directory: impl AsRef<Path>, prefix: &str) -> Vec<(u32, PathBuf)> {
    let number = |(name, path): (String, PathBuf)| Some((name.strip_prefix(prefix)?.parse().ok()?, path));
    let mut found: Vec<_> = entries(directory).into_iter().filter_map(number).collect();
    found.sort();
    found
}

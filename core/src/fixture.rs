//! Fakes of `/sys` and `/proc` for tests, written as small text tables.

use std::path::Path;

use tempfile::TempDir;

/// Makes a root directory from lines `path = text` (`\n` in the text is a line break) and `path -> target of a link`.
pub(crate) fn root(table: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        let path = root.path().join(path.trim());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((path, target)) = line.split_once(" -> ") {
            std::os::unix::fs::symlink(Path::new(target.trim()), make(path)).unwrap();
        } else if let Some((path, text)) = line.split_once(" =") {
            std::fs::write(make(path), text.trim().replace("\\n", "\n") + "\n").unwrap();
        } else {
            std::fs::create_dir_all(make(line)).unwrap();
        }
    }
    root
}

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

/// A library that the C compiler makes of `source`.
fn library(dir: &Path, source: &str) -> PathBuf {
    let path = dir.join("library.so");
    let mut compiler = Command::new("gcc")
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-fcf-protection=branch",
            "-xc",
            "-",
            "-o",
        ])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    compiler
        .stdin
        .take()
        .unwrap()
        .write_all(source.as_bytes())
        .unwrap();
    assert!(compiler.wait().unwrap().success());
    path
}

#[test]
fn the_function_returns_at_once_and_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let source = "int flags; void cpu_clear_ignne(void) { flags &= ~128; } int other(void) { return flags; }";
    let program = library(dir.path(), source);
    let before = fs::read(&program).unwrap();
    assert!(!is_mended(&program).unwrap());
    mend(&program).unwrap();
    assert!(is_mended(&program).unwrap());
    let after = fs::read(&program).unwrap();
    let changed = before.iter().zip(&after).filter(|(old, new)| old != new).count();
    assert_eq!((before.len(), changed), (after.len(), 1));
}

#[test]
fn a_qemu_without_the_function_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let program = library(dir.path(), "int other(void) { return 1; }");
    let before = fs::read(&program).unwrap();
    assert!(is_mended(&program).unwrap());
    mend(&program).unwrap();
    assert_eq!(fs::read(&program).unwrap(), before);
}

#[test]
fn what_is_no_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    assert!(is_mended(&file).is_err());
}

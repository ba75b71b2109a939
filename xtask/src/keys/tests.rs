use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::media::Key;

#[test]
fn only_the_owner_reads_the_secret_and_nothing_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("release.key");
    release_key(&secret, true).unwrap();
    let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(dir.path().join("release.key.pub").exists());
    Key::read(&secret).unwrap();
    let error = release_key(&secret, true).unwrap_err().to_string();
    assert!(error.contains("release.key exists"), "{error}");
}

use super::{MAGIC, RootError, check};

#[test]
fn what_is_wrong_with_the_image_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.erofs");
    assert!(matches!(check(&path), Err(RootError::Read { .. })));
    for foreign in [&b"short"[..], &[0; 8192]] {
        std::fs::write(&path, foreign).unwrap();
        assert!(matches!(check(&path), Err(RootError::NoErofs(_))));
    }
    let mut image = vec![0; 4096];
    image[1024..1028].copy_from_slice(&MAGIC);
    std::fs::write(&path, &image).unwrap();
    let error = check(&path).unwrap_err();
    assert!(error.to_string().contains("is cut off"), "{error}");
    std::fs::write(path.with_file_name("whole"), "").unwrap();
    assert!(check(&path).is_ok());
}

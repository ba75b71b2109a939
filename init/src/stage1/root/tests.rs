use super::{MAGIC, RootError, SUPER_BLOCK, check};

#[test]
fn what_is_wrong_with_the_image_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("root.erofs");
    assert!(matches!(check(&image), Err(RootError::Read { .. })));
    std::fs::write(&image, b"short").unwrap();
    assert!(matches!(check(&image), Err(RootError::NoErofs(_))));
    let mut good = vec![0; SUPER_BLOCK];
    good.extend(MAGIC);
    good.extend([0; 100]);
    std::fs::write(&image, &good).unwrap();
    assert!(check(&image).is_ok());
}

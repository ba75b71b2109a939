use super::{BLOCK_BITS, BLOCKS, MAGIC, RootError, check};

/// An image of `blocks` blocks of 4 KiB.
fn image(blocks: u32) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(blocks).unwrap() * 4096];
    bytes[1024..1028].copy_from_slice(&MAGIC);
    bytes[1024 + BLOCK_BITS] = 12;
    bytes[1024 + BLOCKS..1024 + BLOCKS + 4].copy_from_slice(&blocks.to_le_bytes());
    bytes
}

#[test]
fn what_is_wrong_with_the_image_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.erofs");
    assert!(matches!(check(&path), Err(RootError::Read { .. })));
    for foreign in [&b"short"[..], &[0; 8192]] {
        std::fs::write(&path, foreign).unwrap();
        assert!(matches!(check(&path), Err(RootError::NoErofs(_))));
    }
    let whole = image(4);
    std::fs::write(&path, &whole).unwrap();
    assert!(check(&path).is_ok());
    std::fs::write(&path, &whole[..3 * 4096]).unwrap();
    let error = check(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is cut off: 12288 of 16384 bytes are there"),
        "{error}"
    );
}

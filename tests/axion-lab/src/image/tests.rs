use super::*;

#[test]
fn a_missing_image_says_how_to_build_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vmlinuz"), "kernel").unwrap();
    let message = Image::at(dir.path()).unwrap_err().to_string();
    assert!(message.contains("initramfs.cpio"), "{message}");
    assert!(message.contains("cargo xtask image"), "{message}");
    assert!(message.contains("AXION_IMAGE_DIR"), "{message}");
}

#[test]
fn a_whole_image_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["vmlinuz", "initramfs.cpio"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let image = Image::at(dir.path()).unwrap();
    assert_eq!(image.kernel(), dir.path().join("vmlinuz"));
    assert!(image.floor().unwrap_err().to_string().contains("floor.cpio"));
    let message = image.medium("axion.iso").unwrap_err().to_string();
    assert!(
        message.contains("axion.iso") && message.contains("cargo xtask media"),
        "{message}"
    );
}

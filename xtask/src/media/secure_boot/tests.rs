use super::super::read_text;
use super::*;

#[test]
fn a_file_of_an_initramfs_is_found_and_a_missing_one_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("axion")).unwrap();
    fs::write(dir.path().join("init"), "program").unwrap();
    fs::write(dir.path().join(ROOT), "root").unwrap();
    let mut archives = Archives(cpio(dir.path()).unwrap());
    fs::write(dir.path().join(ROOT), "another").unwrap();
    archives.push(&cpio(dir.path()).unwrap());
    assert_eq!(file_of(archives.bytes(), ROOT).unwrap(), b"root");
    let error = file_of(archives.bytes(), "axion/none").unwrap_err().to_string();
    assert!(error.contains("no axion/none"), "{error}");
}

#[test]
fn a_directory_without_keys_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let Err(error) = Owner::open(dir.path()) else {
        panic!("it has keys");
    };
    assert!(error.to_string().contains("db.key"), "{error}");
    assert!(error.to_string().contains("cargo xtask keys"), "{error}");
}

#[test]
fn firmware_is_asked_only_by_hand_and_the_script_of_ipxe_has_its_line() {
    let config = read_text("loader.conf").unwrap();
    assert!(config.contains("\nsecure-boot-enroll manual\n"), "{config}");
    assert_eq!(read_text("axion.ipxe").unwrap().matches("\nkernel ").count(), 1);
}

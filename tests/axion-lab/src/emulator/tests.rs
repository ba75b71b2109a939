use super::*;

#[test]
fn the_cache_comes_before_what_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let installed = Emulator::of(dir.path());
    assert_eq!(installed.program, Path::new("qemu-system-x86_64"));
    assert_eq!(installed.firmware, Path::new("/usr/share/OVMF"));
    std::fs::write(dir.path().join(PROGRAM), "").unwrap();
    let cached = Emulator::of(dir.path());
    assert_eq!(cached.program, dir.path().join(PROGRAM));
    assert_eq!(cached.firmware, dir.path().join("root/usr/share/OVMF"));
}

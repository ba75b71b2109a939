use std::fs;

use super::*;

/// A machine with these files.
fn machine(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

fn read(files: &[(&str, &[u8])]) -> SecureBoot {
    SecureBoot::read(machine(files).path())
}

const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SETUP_MODE: &str = "sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SYSTAB: (&str, &[u8]) = ("sys/firmware/efi/systab", b"");
const YES: &[u8] = &[6, 0, 0, 0, 1];
const NO: &[u8] = &[6, 0, 0, 0, 0];

#[test]
fn firmware_says_whether_it_checks_and_whether_it_takes_keys() {
    let state = |files: &[(&str, &[u8])]| read(files).state;
    assert_eq!(state(&[]), SecureBootState::Unsupported);
    assert_eq!(state(&[SYSTAB]), SecureBootState::Off);
    assert_eq!(
        state(&[(SECURE_BOOT, NO), (SETUP_MODE, NO)]),
        SecureBootState::Off
    );
    assert_eq!(
        state(&[(SECURE_BOOT, NO), (SETUP_MODE, YES)]),
        SecureBootState::Setup
    );
    assert_eq!(
        state(&[(SECURE_BOOT, YES), (SETUP_MODE, NO)]),
        SecureBootState::On
    );
    // A variable without content says nothing.
    assert_eq!(state(&[(SECURE_BOOT, &[6, 0, 0, 0])]), SecureBootState::Off);
}

#[test]
fn without_efivarfs_the_kernels_note_counts() {
    let parameters = |mode: u8| {
        let mut bytes = vec![0; 4096];
        bytes[0x1ec] = mode;
        bytes
    };
    for (mode, state) in [
        (0, SecureBootState::Off),
        (2, SecureBootState::Off),
        (3, SecureBootState::On),
    ] {
        let bytes = parameters(mode);
        assert_eq!(read(&[SYSTAB, (BOOT_PARAMETERS, &bytes)]).state, state, "{mode}");
    }
    // Where both speak, firmware's own word counts.
    let on = parameters(3);
    assert_eq!(
        read(&[(SECURE_BOOT, NO), (BOOT_PARAMETERS, &on)]).state,
        SecureBootState::Off
    );
}

#[test]
fn what_is_promised_has_to_be_kept() {
    let level = "sys/kernel/security/lockdown";
    let on = [(SECURE_BOOT, YES), (SETUP_MODE, NO)];
    let kept = read(&[on[0], on[1], (level, b"none [integrity] confidentiality\n")]);
    assert_eq!(kept.to_string(), "on, kernel lockdown integrity");
    let item = kept.attested().unwrap();
    assert_eq!(item.state, ItemState::Ok);
    assert_eq!(item.desired, item.effective);
    assert_eq!(item.fix, None);

    let broken = read(&[on[0], on[1], (level, b"[none] integrity confidentiality\n")]);
    let item = broken.attested().unwrap();
    assert_eq!(item.effective, "on, kernel lockdown none");
    assert_ne!(item.state, ItemState::Ok);
    assert!(item.fix.is_some());

    let more = read(&[on[0], (level, b"none integrity [confidentiality]\n")]);
    assert_eq!(more.attested().unwrap().state, ItemState::Ok);
    assert_eq!(read(&[(SECURE_BOOT, NO)]).attested(), None);
    assert_eq!(read(&[]).attested(), None);
}

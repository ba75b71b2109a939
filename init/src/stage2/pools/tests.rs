use super::*;

#[test]
fn zfs_is_loaded_for_a_factory_reset_whose_disks_are_not_there_yet() {
    // The reset took the machine config away, so that no pool is declared.
    let wanted = Wanted::default();
    assert!(has_use(&wanted, true, || false));
    assert!(has_use(&wanted, false, || true));
    assert!(!has_use(&wanted, false, || false));
}

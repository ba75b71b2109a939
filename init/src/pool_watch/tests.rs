use super::kernel_states;

#[test]
fn the_kernel_says_of_each_pool_how_it_is() {
    let root = tempfile::tempdir().unwrap();
    let kstat = root.path().join("proc/spl/kstat/zfs");
    assert!(kernel_states(root.path()).is_empty());
    std::fs::create_dir_all(kstat.join("tank")).unwrap();
    std::fs::write(kstat.join("tank/state"), "DEGRADED\n").unwrap();
    std::fs::write(kstat.join("arcstats"), "").unwrap();
    let states: Vec<_> = kernel_states(root.path()).into_iter().collect();
    assert_eq!(states, [("tank".to_owned(), "DEGRADED".to_owned())]);
}

use super::dependency_line;

#[test]
fn a_module_is_listed_with_what_it_needs() {
    assert_eq!(dependency_line("spl", "").unwrap(), "extra/spl.ko:\n");
    assert_eq!(
        dependency_line("zfs", "spl").unwrap(),
        "extra/zfs.ko: extra/spl.ko\n"
    );
}

#[test]
fn a_module_of_the_kernel_is_refused_by_name() {
    let error = dependency_line("zfs", "spl,zlib_deflate")
        .unwrap_err()
        .to_string();
    assert!(error.contains("zlib_deflate"), "{error}");
}

use super::*;

fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(TRACING).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn a_kernel_without_the_tracer_is_no_error() {
    let cpus: CpuSet = "1".parse().unwrap();
    for files in [
        &[][..],
        &[("available_tracers", "nop\n")],
        &[
            ("available_tracers", "osnoise nop\n"),
            ("osnoise/options", "PANIC_ON_STOP\n"),
        ],
    ] {
        let root = root(files);
        for kind in [Kind::Osnoise, Kind::Timerlat] {
            let opened = Tracer::open(root.path(), kind, &cpus).unwrap();
            assert!(opened.is_none(), "{kind:?} {files:?}");
        }
    }
}

#[test]
fn a_setting_that_is_refused_is_named() {
    let root = root(&[
        ("available_tracers", "timerlat osnoise nop\n"),
        ("osnoise/options", "DEFAULTS OSNOISE_WORKLOAD\n"),
        ("osnoise/cpus", "0-3\n"),
        ("instances/x", ""),
    ]);
    let cpus: CpuSet = "1,3".parse().unwrap();
    // The files of an instance are made by the kernel, which is not here.
    let error = crate::failure::chain(&Tracer::open(root.path(), Kind::Osnoise, &cpus).unwrap_err());
    assert!(error.contains("axion-proof/trace_clock"), "{error}");
    let text = |file: &str| std::fs::read_to_string(root.path().join(TRACING).join(file)).unwrap();
    assert!(text("osnoise/cpus").starts_with("1,3"));
    // It was switched back.
    assert!(text("osnoise/options").starts_with("OSNOISE_WORKLOAD"));
    assert!(!root.path().join(TRACING).join(INSTANCE).exists());
}

use super::*;

fn root(files: &[(&str, String)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

fn vm(allowed: &str) -> [(&'static str, String); 3] {
    let middle = ["0"; 29].join(" ");
    [
        ("proc/9/cgroup", "0::/vms.slice/vm-web\n".to_owned()),
        (
            "proc/9/task/9/stat",
            format!("9 (vcpu0) S 2 0 0 0 -1 0 {middle} 3 0"),
        ),
        ("proc/9/task/9/status", format!("Cpus_allowed_list:\t{allowed}\n")),
    ]
}

#[test]
fn cpus_of_vms_and_those_that_are_offline_are_left_alone() {
    let cpus = |list: &str| list.parse::<CpuSet>().unwrap();
    let online = ("sys/devices/system/cpu/online", "0-4\n".to_owned());
    let mut files = vec![online];
    assert!(matches!(
        choose(root(&files).path(), &CpuSet::default()),
        Err(ProofError::NoCpus)
    ));
    files.extend(vm("3"));
    let chosen = choose(root(&files).path(), &cpus("2-5")).unwrap();
    assert_eq!(chosen.cpus, cpus("2,4"));
    let skipped: Vec<String> = chosen
        .skipped
        .iter()
        .map(|skipped| format!("{} {}", skipped.cpu, skipped.why))
        .collect();
    assert_eq!(skipped, ["3 in use by VM web", "5 offline"]);
    // A VM that is not pinned may run on all of them.
    files.extend(vm("2-4"));
    let error = choose(root(&files).path(), &cpus("2-4")).unwrap_err().to_string();
    assert!(
        error.ends_with("CPU 2 in use by VM web, CPU 3 in use by VM web, CPU 4 in use by VM web"),
        "{error}"
    );
}

#[tokio::test]
async fn a_proof_has_to_be_possible() {
    let (node, _wishes, _guard) = crate::node::for_tests().await;
    assert!(start(&node, 0).unwrap_err().is_refusal());
    assert!(start(&node, 601).unwrap_err().is_refusal());
    assert!(matches!(start(&node, 10), Err(ProofError::NoCpus)));
    assert!(!lock(&node.proof).running);
}

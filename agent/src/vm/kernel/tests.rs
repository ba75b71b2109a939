use super::*;

#[test]
fn limits_are_what_the_cgroup_has() {
    let cgroup = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(cgroup.path().join(file), text).unwrap();
    assert_eq!(limits(cgroup.path()), None);
    write("cpuset.cpus.effective", "0,3-4\n");
    write("cpu.weight", "200\n");
    write("cpu.max", "150000 100000\n");
    write("memory.max", "268435456\n");
    let found = UnitLimits {
        cpus: "0,3-4".parse().unwrap(),
        cpu_weight: 200,
        cpu_limit: Some(150),
        memory_max: Some(256 << 20),
    };
    assert_eq!(limits(cgroup.path()), Some(found.clone()));
    write("cpu.max", "max 100000\n");
    write("memory.max", "max\n");
    let unlimited = UnitLimits {
        cpu_limit: None,
        memory_max: None,
        ..found
    };
    assert_eq!(limits(cgroup.path()), Some(unlimited));
}

/// A process below `proc` with a file in the place of the kernel's.
fn write(proc: &Path, process: &str, file: &str, text: &str) {
    let path = proc.join(process).join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn status(ids: &str, seccomp: u32, capabilities: &str) -> String {
    format!(
        "Name:\tvcpu0\nUid:\t100001\t100001\t100001\t100001\nNSpid:\t{ids}\nCapInh:\t0000000000000000\n\
         CapPrm:\t{capabilities}\nCapEff:\t{capabilities}\nNoNewPrivs:\t1\nSeccomp:\t{seccomp}\nSeccomp_filters:\t2\n"
    )
}

#[test]
fn a_process_is_what_the_kernel_shows_of_it() {
    let root = tempfile::tempdir().unwrap();
    let proc = root.path();
    const NONE: &str = "0000000000000000";
    let node = "27 1 0:21 / / ro - erofs /dev/x ro\n28 27 0:5 / /proc rw - proc proc rw\n";
    write(proc, "self", "mountinfo", node);
    write(proc, "self", "uid_map", "0 0 4294967295\n");
    write(proc, "self", "net/dev", "lo\n");
    assert_eq!(find(proc, 70), None);
    write(proc, "70", "task/70/status", &status("70\t1", 2, NONE));
    write(proc, "70", "task/75/status", &status("75\t4", 2, NONE));
    write(
        proc,
        "70",
        "task/76/status",
        &status("76\t5", 0, "0000000000000400"),
    );
    write(proc, "70", "mountinfo", "43 42 0:30 / / ro - tmpfs tmpfs ro\n");
    write(proc, "70", "uid_map", "100001 100001 1\n");
    write(proc, "70", "net/dev", "lo\n");
    let found = find(proc, 70).unwrap();
    let process = ProcessState {
        uid: 100_001,
        capabilities: 0x400,
        threads: 3,
        filtered: 2,
        unprivileged: 3,
        namespaces: ["mnt", "net", "pid", "user"].map(str::to_owned).to_vec(),
    };
    assert_eq!(found.process, process);
    assert_eq!(found.threads, BTreeMap::from([(1, 70), (4, 75), (5, 76)]));

    // One that has nothing of its own.
    write(proc, "80", "task/80/status", &status("80", 0, NONE));
    write(proc, "80", "mountinfo", node);
    fs::hard_link(proc.join("self/uid_map"), proc.join("80/uid_map")).unwrap();
    fs::create_dir(proc.join("80/net")).unwrap();
    fs::hard_link(proc.join("self/net/dev"), proc.join("80/net/dev")).unwrap();
    let process = find(proc, 80).unwrap().process;
    assert_eq!((process.namespaces, process.filtered), (Vec::new(), 0));
}

#[test]
fn this_process_has_the_namespaces_of_itself() {
    let found = find(Path::new(PROCESSES), std::process::id()).unwrap();
    let namespaces = found.process.namespaces;
    assert!(namespaces.iter().all(|name| name == "pid"), "{namespaces:?}");
    assert!(found.process.threads > 0);
}

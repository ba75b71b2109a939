use super::super::spec::Cpus;
use super::{Cgroup, subtree_control};

#[test]
fn only_controllers_that_exist_are_enabled() {
    assert_eq!(
        subtree_control("cpuset cpu io memory misc pids\n"),
        "+cpuset +cpu +io +memory +pids"
    );
    assert_eq!(subtree_control(""), "");
}

#[test]
fn units_of_the_node_and_of_the_agent_are_apart() {
    assert_eq!(
        Cgroup::of("console@tty1", false).0.to_str(),
        Some("/sys/fs/cgroup/axion.slice/console-tty1")
    );
    assert_eq!(
        Cgroup::of("agent", true).0.to_str(),
        Some("/sys/fs/cgroup/vms.slice/agent")
    );
}

#[test]
fn a_unit_has_the_cpus_and_the_time_that_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    for name in ["cpuset.cpus", "cpu.weight", "cpu.max"] {
        std::fs::write(file(name), "").unwrap();
    }
    let cgroup = Cgroup(directory.path().to_owned());
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    cgroup.allot(&Cpus::default()).unwrap();
    assert_eq!(["cpuset.cpus", "cpu.weight", "cpu.max"].map(read), ["", "", ""]);
    let cpus = Cpus {
        list: "0,4-7".parse().unwrap(),
        weight: 300,
        limit_percent: Some(250),
    };
    cgroup.allot(&cpus).unwrap();
    assert_eq!(
        ["cpuset.cpus", "cpu.weight", "cpu.max"].map(read),
        ["0,4-7", "300", "250000 100000"]
    );
    // CPUs that a unit does not get are no unit.
    std::fs::remove_file(file("cpuset.cpus")).unwrap();
    assert!(cgroup.allot(&cpus).is_err());
}

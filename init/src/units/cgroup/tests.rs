use super::super::spec::Cpus;
use super::{Cgroup, Shortages, subtree_control};

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
fn a_unit_has_the_cpus_the_time_and_the_memory_that_it_was_given() {
    const FILES: [&str; 5] = [
        "cpuset.cpus",
        "cpu.weight",
        "cpu.max",
        "memory.max",
        "memory.oom.group",
    ];
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    for name in FILES {
        std::fs::write(file(name), "").unwrap();
    }
    let cgroup = Cgroup(directory.path().to_owned());
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    cgroup.allot(&Cpus::default(), None).unwrap();
    assert_eq!(FILES.map(read), [""; 5]);
    let cpus = Cpus {
        list: "0,4-7".parse().unwrap(),
        weight: 300,
        limit_percent: Some(250),
    };
    cgroup.allot(&cpus, Some(1 << 30)).unwrap();
    assert_eq!(
        FILES.map(read),
        ["0,4-7", "300", "250000 100000", "1073741824", "1"]
    );
    // What a unit does not get is not passed over in silence.
    for name in FILES {
        std::fs::rename(file(name), file("aside")).unwrap();
        assert!(cgroup.allot(&cpus, Some(1 << 30)).is_err(), "{name}");
        std::fs::rename(file("aside"), file(name)).unwrap();
    }
}

#[test]
fn a_want_of_memory_is_read_from_the_counts_of_the_kernel() {
    let events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 1\n";
    let found = Shortages {
        at_limit: 2,
        kills: 1,
    };
    assert_eq!(Shortages::parse(events), found);
    assert_eq!(Shortages::parse(""), Shortages::default());
    let never = Cgroup("/nonexistent".into());
    assert_eq!(never.shortages(), Shortages::default());
}

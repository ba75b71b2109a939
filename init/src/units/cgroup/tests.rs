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

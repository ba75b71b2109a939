//! A node with threads of every kind.

use super::*;
use crate::fixture;

/// Fields 3 to 39 of `stat`: flags are the 7th, the processor is the last.
fn stat(id: u32, name: &str, flags: u64, cpu: u32) -> String {
    let middle = ["0"; 29].join(" ");
    format!("{id} ({name}) S 2 0 0 0 -1 {flags} {middle} {cpu} 0 0")
}

fn thread(process: u32, id: u32, name: &str, kernel: bool, cgroup: &str, allowed: &str, cpu: u32) -> String {
    let flags = if kernel { KERNEL_THREAD | 0x40 } else { 0x40_0000 };
    format!(
        "proc/{process}/cgroup = 0::{cgroup}\nproc/{process}/task/{id}/stat = {}\nproc/{process}/task/{id}/status = \
         Name: {name}\\nCpus_allowed_list: {allowed}\\nMems_allowed_list: 0\n",
        stat(id, name, flags, cpu)
    )
}

fn read(table: &str) -> Vec<Thread> {
    Thread::read_all(fixture::root(table).path())
}

fn cpus(list: &str) -> CpuSet {
    list.parse().unwrap()
}

#[test]
fn a_thread_is_read_whatever_its_name() {
    let threads = read(&thread(7, 9, "a) (b", false, "/axion.slice/agent", "0,2", 2));
    let [thread] = threads.as_slice() else {
        panic!("{threads:?}")
    };
    assert_eq!((thread.process, thread.id, thread.name.as_str()), (7, 9, "a) (b"));
    assert_eq!((thread.kernel, thread.last_cpu), (false, 2));
    assert_eq!(thread.allowed, cpus("0,2"));
    assert_eq!(thread.cgroup, "/axion.slice/agent");
}

#[test]
fn strays_are_who_may_and_did_run_on_an_isolated_cpu() {
    let cases = [
        (
            "a CPU's own",
            thread(20, 20, "ksoftirqd/3", true, "/", "3", 3),
            false,
        ),
        (
            "a rescuer",
            thread(20, 20, "kworker/R-kvm", true, "/", "0-3", 3),
            false,
        ),
        (
            "a kernel thread that strays",
            thread(20, 20, "kswapd0", true, "/", "0-3", 3),
            true,
        ),
        (
            "one that may but did not",
            thread(20, 20, "kswapd0", true, "/", "0-3", 2),
            false,
        ),
        (
            "one that was moved while it slept",
            thread(20, 20, "kswapd0", true, "/", "0,2", 3),
            false,
        ),
        (
            "a service on its CPUs",
            thread(20, 20, "agent", false, "/axion.slice/agent", "0,2", 0),
            false,
        ),
        (
            "a service astray",
            thread(20, 20, "agent", false, "/axion.slice/agent", "3", 3),
            true,
        ),
        (
            "a VM",
            thread(20, 21, "vcpu0", false, "/vms.slice/vm-a", "3", 3),
            false,
        ),
        (
            "one that is only called so",
            thread(20, 21, "x", false, "/vms.sliced/a", "3", 3),
            true,
        ),
    ];
    for (what, table, stray) in cases {
        let threads = read(&table);
        assert_eq!(threads.len(), 1, "{what}");
        assert_eq!(!strays(&threads, &cpus("1,3")).is_empty(), stray, "{what}");
    }
}

#[test]
fn a_vm_takes_the_cpus_that_its_threads_may_use() {
    let table = [
        thread(20, 20, "axion-vmm", false, "/vms.slice/vm-web", "2", 2),
        thread(20, 21, "vcpu0", false, "/vms.slice/vm-web", "3", 3),
        thread(30, 30, "axion-init", false, "/vms.slice/proof", "4", 4),
        thread(40, 40, "axion-agent", false, "/axion.slice/agent", "5", 5),
    ];
    let taken = taken_by_vms(&read(&table.concat()), &cpus("3-5"));
    assert_eq!(taken, BTreeMap::from([(3, "vm-web".to_owned())]));
}

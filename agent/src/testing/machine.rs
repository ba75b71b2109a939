//! The `/sys` of a machine with two nodes of four cores, as far as a placement looks at it.

use std::fs;
use std::path::Path;

/// Pages of 1 GiB of each node.
pub const GIGABYTES: u32 = 4;

/// Writes it below `root`; `isolated` as the kernel lists CPUs.
pub fn write(root: &Path, isolated: &str) {
    let file = |path: &str, text: &str| {
        let path = root.join("sys/devices/system").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("cpu/online", "0-7");
    file("cpu/isolated", isolated);
    for cpu in 0..8 {
        let node = cpu / 4;
        file(
            &format!("cpu/cpu{cpu}/topology/physical_package_id"),
            &node.to_string(),
        );
        file(
            &format!("cpu/cpu{cpu}/topology/thread_siblings_list"),
            &cpu.to_string(),
        );
        let cache = format!("cpu/cpu{cpu}/cache/index3");
        file(&format!("{cache}/level"), "3");
        file(
            &format!("{cache}/shared_cpu_list"),
            &format!("{}-{}", node * 4, node * 4 + 3),
        );
    }
    for node in 0..2 {
        let directory = format!("node/node{node}");
        file(
            &format!("{directory}/cpulist"),
            &format!("{}-{}", node * 4, node * 4 + 3),
        );
        let distance = if node == 0 { "10 21" } else { "21 10" };
        file(&format!("{directory}/distance"), distance);
        file(
            &format!("{directory}/meminfo"),
            &format!("Node {node} MemTotal: 16777216 kB\nNode {node} MemFree: 16777216 kB\n"),
        );
        let pages = GIGABYTES.to_string();
        for name in ["nr_hugepages", "free_hugepages"] {
            file(
                &format!("{directory}/hugepages/hugepages-1048576kB/{name}"),
                &pages,
            );
        }
    }
}

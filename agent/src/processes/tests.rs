use super::*;

const STAT: &str =
    "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 90 10000000 2048 18446744073709551615 1";

#[test]
fn fields_are_counted_behind_the_name_whatever_it_holds() {
    let process = parse(7, STAT, "0::/axion.slice/agent\n", 4096, 100).unwrap();
    assert_eq!(
        process,
        Process {
            pid: 7,
            kernel: false,
            name: "a (b) c".to_owned(),
            cgroup: "/axion.slice/agent".to_owned(),
            state: 'S',
            threads: 3,
            resident_bytes: 2048 * 4096,
            cpu_ms: 2000,
            cpus: CpuSet::default(),
        }
    );
}

#[test]
fn kernel_threads_are_told_apart_and_rubbish_is_left_out() {
    let kernel = |pid, stat: &str| parse(pid, stat, "", 4096, 100).unwrap().kernel;
    assert!(kernel(2, &STAT.replace("S 1", "S 0")));
    assert!(kernel(9, &STAT.replace("S 1", "I 2")));
    assert_eq!(parse(9, "9 (short) S 1", "", 4096, 100), None);
}

#[test]
fn this_process_is_among_those_of_this_computer() {
    let processes = read(Path::new("/proc"), false);
    let own = processes
        .iter()
        .find(|process| process.pid == std::process::id())
        .unwrap();
    assert!(own.threads >= 1 && own.resident_bytes > 0 && !own.cpus.is_empty());
}

#[test]
fn the_status_says_where_a_thread_may_run() {
    let status = "Name:\tx\nCpus_allowed:\t5\nCpus_allowed_list:\t0,2\n";
    assert_eq!(cpus_in(status), "0,2".parse().ok());
    assert_eq!(cpus_in("Name:\tx\n"), None);
}

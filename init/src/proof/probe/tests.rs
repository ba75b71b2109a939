use super::*;

#[test]
fn a_window_survives_the_command_line() {
    let window = Window {
        begin: Duration::from_micros(12_345_678),
        end: Duration::from_micros(22_345_678),
        until: Duration::from_micros(22_845_678),
        cpus: "1,3-5".parse().unwrap(),
    };
    assert_eq!(Window::parse(window.arguments().into_iter()), Some(window));
    let parse = |text: &str| Window::parse(text.split(' ').map(str::to_owned));
    assert_eq!(parse("1 2 3"), None);
    assert_eq!(parse("1 2 3 x"), None);
}

#[test]
fn a_loop_counts_its_rounds_and_their_delays() {
    let cpus = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
    let cpu = (0..nix::sched::CpuSet::count()).find(|cpu| cpus.is_set(*cpu).unwrap());
    let cpu = u32::try_from(cpu.unwrap()).unwrap();
    let at = |ms| clock::monotonic() + Duration::from_millis(ms);
    let window = Window {
        begin: at(400),
        end: at(700),
        until: at(710),
        cpus: CpuSet::from_iter([cpu]),
    };
    let spun = std::thread::spawn(move || spin(cpu, &window)).join().unwrap();
    // On a busy machine its thread may come late, and says so.
    if let Ok(spun) = spun {
        assert!(spun.rounds > 0 && spun.delay.round_ns > 0, "{spun:?}");
        assert!(spun.delay.p50_ns <= spun.delay.p99_ns && spun.delay.p999_ns <= spun.delay.max_ns);
    }
}

#[test]
fn a_window_that_has_begun_is_missed() {
    let now = clock::monotonic();
    let window = Window {
        begin: now,
        end: now + Duration::from_secs(1),
        until: now + Duration::from_secs(1),
        cpus: CpuSet::default(),
    };
    let spun = std::thread::spawn(move || spin(0, &window)).join().unwrap();
    assert!(spun.unwrap_err().contains("too late"));
}

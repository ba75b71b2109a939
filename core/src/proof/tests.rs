//! Counters, traces and delays as the kernel shows them, and what follows.

use proptest::prelude::*;

use super::*;

const BEFORE: &str = "\
           CPU0       CPU1       CPU3
  0:         36          0          0    IO-APIC   2-edge      timer
 24:        100          5          0  PCI-MSIX-0000:00:02.0   1-edge      virtio0-input.0
 25:          9          0          0  PCI-MSIX-0000:00:03.0   0-edge      nvme0q0, nvme0q1
NMI:          0          0          0   Non-maskable interrupts
LOC:       1000        500        500   Local timer interrupts
IWI:          0          0          0   IRQ work interrupts
RES:          4          4          4   Rescheduling interrupts
CAL:          1          1          1   Function call interrupts
TLB:          0          0          0   TLB shootdowns
MCP:          1          1          1   Machine check polls
ERR:          0
MIS:          0
";

const AFTER: &str = "\
           CPU0       CPU1       CPU3
  0:         36          0          0    IO-APIC   2-edge      timer
 24:        180          5          2  PCI-MSIX-0000:00:02.0   1-edge      virtio0-input.0
 25:          3          0          0  PCI-MSIX-0000:00:03.0   0-edge      nvme0q0, nvme0q1
 26:          7          0          1  PCI-MSIX-0000:00:04.0   0-edge      eth1
NMI:          0          0          0   Non-maskable interrupts
LOC:       3500        503        540   Local timer interrupts
IWI:          0          0          0   IRQ work interrupts
RES:          9          4          4   Rescheduling interrupts
CAL:          1          2          1   Function call interrupts
TLB:          0          0          0   TLB shootdowns
MCP:          2          1          2   Machine check polls
ERR:          0
MIS:          0
";

const SOFTIRQS: &str = "\
                    CPU0       CPU1       CPU2       CPU3
          HI:          0          0          0          0
       TIMER:         10         20         30         40
         RCU:          0          0          0          5
";

const TRACE: &str = "\
# tracer: osnoise
#
# entries-in-buffer/entries-written: 5/12   #P:4
#
 axion-probe1-961     [001] d.h..  5789.857532: irq_noise: local_timer:236 start 5789.857529929 duration 1845 ns
 axion-probe1-961     [001] d.h..  5790.857532: irq_noise: local_timer:236 start 5790.857529929 duration 2155 ns
 axion-probe1-961     [001] d.s..  5790.857542: softirq_noise:    SCHED:7 start 5790.857539000 duration 700 ns
 axion-probe3-962     [003] d..2.  5789.858410: sched_switch: prev_comm=axion-probe3 prev_pid=962 prev_prio=120 prev_state=R ==> next_comm=migration/3 next_pid=54 next_prio=0
  migration/3-54      [003] d..2.  5789.858413: sched_switch: prev_comm=migration/3 prev_pid=54 prev_prio=0 prev_state=S ==> next_comm=axion-probe3 next_pid=962 next_prio=120
 axion-probe3-962     [003] d..2.  5789.858414: sched_switch: prev_comm=axion-probe3 prev_pid=962 prev_prio=120 prev_state=R ==> next_comm=swapper/3 next_pid=0 next_prio=120
 axion-probe3-962     [003] d..2.  5792.858410: sched_switch: prev_comm=axion-probe3 prev_pid=962 prev_prio=120 prev_state=R ==> next_comm=a ==> b next_pid=7 next_prio=120
  migration/3-54      [003] d....  5789.858413: thread_noise: migration/3:54 start 5789.858409871 duration 3068 ns
   a [7] b-77         [003] d....  5789.858414: thread_noise: a [7] b:77 start 5789.858409871 duration 10 ns
      swapper-0       [003] d....  5789.858415: thread_noise: swapper/3:0 start 5789.858409871 duration 99999 ns
 axion-probe3-962     [003] d....  5789.858416: thread_noise: axion-probe3:962 start 5789.858409871 duration 99999 ns
 axion-probe3-962     [003] d.h..  5789.858417: nmi_noise: start 5789.858409871 duration 40 ns
 axion-probe3-962     [003] d.h..  5789.858418: irq_noise: virtio0-input.0:24 start 5789.858409871 duration 50 ns
 axion-probe3-962     [003] d.h..  5789.858419: irq_noise: reschedule:253 start 5789.858409871 duration 60 ns
 axion-probe3-962     [003] d.h..  5791.858419: irq_noise: local_timer:236 start 5791.858409871 duration 60 ns
 garbage
";

const LATENCY: &str = "\
# tracer: timerlat
#
          <idle>-0       [003] d.h1.    54.029328: #1     context    irq timer_latency       932 ns
    timerlat/3-867      [003] .....    54.029339: #1     context thread timer_latency     11700 ns
 a [7] context b-77     [003] d.h1.    54.030328: #2     context    irq timer_latency      1200 ns
    timerlat/3-867      [003] .....    54.030339: #2     context thread timer_latency      1700 ns
 garbage context irq timer_latency 5 ns
";

/// Of the trace's clock, microseconds.
const WINDOW: std::ops::Range<u64> = 5_789_800_000..5_791_000_000;

fn sample(interrupts: &str) -> Sample {
    Sample {
        interrupts: Table::parse(interrupts),
        softirqs: Table::parse(SOFTIRQS),
    }
}

fn evidence() -> Evidence {
    let spun = |cpu| Spun {
        cpu,
        rounds: 100,
        switches: 1,
        voluntary_switches: 2,
        ..Spun::default()
    };
    Evidence {
        started_unix_us: 1,
        window_ms: 10_000,
        mode: ProfileMode::Hpc,
        housekeeping: CpuSet::from_iter([0, 2]),
        spun: vec![spun(3), spun(1)],
        before: sample(BEFORE),
        after: sample(AFTER),
        trace: Some(read_trace(TRACE, WINDOW)),
        latency: Some(read_latency(LATENCY)),
        skipped: vec![SkippedCpu {
            cpu: 2,
            why: "vm-a has it".to_owned(),
        }],
    }
}

#[test]
fn interrupts_are_told_by_what_they_are_for() {
    let since = Table::parse(AFTER).since(&Table::parse(BEFORE));
    let listed = |cpu| -> Vec<String> {
        let of_cpu = since.of_cpu(cpu).into_iter();
        of_cpu
            .map(|i| format!("{:?} {} {}", i.kind, i.name, i.count))
            .collect()
    };
    assert_eq!(listed(1), ["Ipi CAL 1", "Tick LOC 3"]);
    assert_eq!(
        listed(3),
        [
            "Device 24 virtio0-input.0 2",
            "Device 26 eth1 1",
            "Tick LOC 40",
            "Other MCP 1"
        ]
    );
    // Its counter fell: another device has the number now.
    assert!(
        listed(0).contains(&"Device 25 nvme0q0, nvme0q1 3".to_owned()),
        "{:?}",
        listed(0)
    );
    assert_eq!(Table::parse("").of_cpu(0), []);
    assert_eq!(Table::parse("CPU0\nLOC: many").of_cpu(0), []);
}

#[test]
fn a_quiet_cpu_meets_the_goals_and_a_loud_one_says_which_it_missed() {
    let proof = prove(evidence());
    let [one, three] = proof.cpus.as_slice() else {
        panic!("{proof:?}")
    };
    assert!(one.is_met() && !three.is_met() && !proof.is_met());
    assert_eq!(proof.missed().to_string(), "3");
    assert_eq!(
        three.missed,
        [
            "40 timer ticks in 10.0 s, and not 10 at most",
            "3 interrupts of devices (24 virtio0-input.0, 26 eth1)"
        ]
    );
    let counts = Counts {
        ticks: 40,
        device_interrupts: 3,
        ipis: 0,
        other_interrupts: 1,
        softirqs: 0,
        switches: 1,
        voluntary_switches: 2,
        sched_switches: Some(1),
    };
    assert_eq!(three.counts, counts);
    assert_eq!(one.counts.sched_switches, Some(0));
    let latency = WakeLatency {
        timers: 2,
        irq_max_ns: 1_200,
        thread_max_ns: 11_700,
    };
    assert_eq!((three.latency, one.latency), (Some(latency), None));
    assert_eq!(one.worst(), Some("local_timer"));
    assert_eq!(three.worst(), Some("migration/3"));
    assert_eq!(
        proof.notes,
        ["the tracer lost 7 events: times are too low, counts are not"]
    );
    assert_eq!(proof.skipped.len(), 1);
}

#[test]
fn what_devices_did_meanwhile_is_counted_where_the_host_is() {
    let proof = prove(evidence());
    let listed: Vec<_> = proof
        .host_interrupts
        .iter()
        .map(|interrupt| (interrupt.kind, interrupt.name.as_str(), interrupt.count))
        .collect();
    assert_eq!(
        listed,
        [
            (NoiseKind::Device, "24 virtio0-input.0", 80),
            (NoiseKind::Device, "26 eth1", 7),
            (NoiseKind::Device, "25 nvme0q0, nvme0q1", 3),
        ]
    );
    assert_eq!(proof.host_device_interrupts(), 90);
    let idle = prove(Evidence {
        after: sample(BEFORE),
        ..evidence()
    });
    assert_eq!(idle.host_device_interrupts(), 0);
    assert!(
        idle.notes.iter().any(|note| note.contains("devices at work")),
        "{:?}",
        idle.notes
    );
}

#[test]
fn goals_hold_for_windows_of_any_length() {
    for (ticks, window_ms, met) in [
        (10, 10_000, true),
        (11, 10_000, false),
        (1, 500, true),
        (2, 500, false),
        (11, 10_001, true),
    ] {
        let found = [Interrupt {
            kind: NoiseKind::Tick,
            name: "LOC".to_owned(),
            count: ticks,
        }];
        let missed = missed(&count(&found), &found, window_ms);
        assert_eq!(missed.is_empty(), met, "{ticks} in {window_ms} ms: {missed:?}");
    }
}

#[test]
fn nothing_measured_proves_nothing() {
    let empty = prove(Evidence {
        spun: vec![Spun {
            cpu: 1,
            error: Some("it may not run there".to_owned()),
            ..Spun::default()
        }],
        ..Evidence::default()
    });
    assert!(!empty.is_met());
    assert_eq!(empty.skipped.len(), 1);
    assert!(empty.notes.iter().any(|note| note.contains("osnoise")));
}

#[test]
fn noise_is_summed_up_by_its_source() {
    let trace = read_trace(TRACE, WINDOW);
    let listed = |cpu: u32| -> Vec<String> {
        let of_cpu = trace.noise.get(&cpu).into_iter().flatten();
        of_cpu
            .map(|n| format!("{:?} {} {} {} {}", n.kind, n.name, n.count, n.total_ns, n.max_ns))
            .collect()
    };
    assert_eq!(
        listed(1),
        ["Tick local_timer 2 4000 2155", "Softirq SCHED 1 700 700"]
    );
    assert_eq!(
        listed(3),
        [
            "Thread migration/3 1 3068 3068",
            "Ipi reschedule 1 60 60",
            "Device virtio0-input.0 1 50 50",
            "Other nmi 1 40 40",
            "Thread a [7] b 1 10 10",
        ]
    );
    assert_eq!(trace.lost, 7);
    assert_eq!(read_trace("", WINDOW), Trace::default());
}

#[test]
fn delays_count_from_the_quickest_round() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.delay(|v| v), Delay::default());
    for _ in 0..998 {
        histogram.record(1000);
    }
    histogram.record(2000);
    histogram.record(1 << 40);
    let delay = histogram.delay(|value| value * 2);
    assert_eq!(delay.round_ns, 2000);
    assert_eq!(delay.max_ns, ((1 << 40) - 1000) * 2);
    assert!(delay.p50_ns <= 64 && delay.p99_ns <= 64, "{delay:?}");
    assert!((2000..2200).contains(&delay.p999_ns), "{delay:?}");
}

#[test]
fn a_proof_survives_its_file() {
    let proof = prove(evidence());
    let text = serde_json::to_string(&proof).unwrap();
    assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
}

#[test]
fn a_proof_of_the_version_before_can_be_read_and_compared() {
    const OLD: &str = r#"{"started_unix_us":1,"window_ms":10000,"mode":"hpc","cpus":[{"cpu":3,"rounds":9,
        "delay":{"round_ns":110,"p50_ns":4,"p99_ns":30,"p999_ns":1250,"max_ns":12345},
        "counts":{"ticks":2,"device_interrupts":0,"ipis":1,"other_interrupts":0,"softirqs":0,"switches":4},
        "interrupts":[],"noise":[],"missed":[]}],"skipped":[],"notes":[]}"#;
    let old: Proof = serde_json::from_str(OLD).unwrap();
    let new = prove(evidence());
    let comparison = Comparison::of(&new, &old);
    assert_eq!(old.host_interrupts, []);
    assert_eq!(
        (comparison.was_window_ms, comparison.now_window_ms),
        (10_000, 10_000)
    );
    let [three] = comparison.cpus.as_slice() else {
        panic!("{comparison:?}")
    };
    assert_eq!(three.cpu, 3);
    assert_eq!(three.ticks, Change { was: 2, now: 40 });
    assert_eq!(three.device_interrupts, Change { was: 0, now: 3 });
    assert_eq!(three.switches, Change { was: 4, now: 1 });
    assert_eq!(three.max_ns, Change { was: 12_345, now: 0 });
    assert_eq!(three.irq_max_ns, None, "the proof before has none");
    let again = Comparison::of(&new, &new);
    let irq = again.cpus.last().unwrap().irq_max_ns;
    assert_eq!(
        irq,
        Some(Change {
            was: 1_200,
            now: 1_200
        })
    );
}

proptest! {
    #[test]
    fn a_percentile_is_at_most_a_32nd_too_high(values in proptest::collection::vec(any::<u64>(), 1..200), per_mille in 0_u64..=1000) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        let mut sorted = values;
        sorted.sort_unstable();
        let index = (sorted.len() as u64 * per_mille).div_ceil(1000).max(1) - 1;
        let exact = sorted[usize::try_from(index).unwrap()];
        let found = histogram.percentile(per_mille);
        prop_assert!(found >= exact && found - exact <= exact / 32 + 1, "{found} for {exact}");
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,200}") {
        let _ = Table::parse(&text);
        let _ = read_trace(&text, WINDOW);
        let _ = read_latency(&text);
    }
}

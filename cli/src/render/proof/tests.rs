use axion_core::proof::{Counts, Delay, Interrupt, Noise, SkippedCpu, WakeLatency};

use super::*;

const SCREEN: Style = Style {
    width: Some(80),
    colour: false,
};
/// 2026-11-23 12:00:00 UTC.
const NOON: u64 = 1_795_435_200_000_000;

fn proof() -> Proof {
    let quiet = CpuProof {
        cpu: 2,
        rounds: 90_000_000,
        delay: Delay {
            round_ns: 110,
            p50_ns: 4,
            p99_ns: 30,
            p999_ns: 1_250,
            max_ns: 12_345,
        },
        counts: Counts {
            ticks: 1,
            sched_switches: Some(3),
            ..Counts::default()
        },
        latency: Some(WakeLatency {
            timers: 5_000,
            irq_max_ns: 2_100,
            thread_max_ns: 7_700,
        }),
        interrupts: vec![Interrupt {
            kind: NoiseKind::Tick,
            name: "LOC Local timer interrupts".to_owned(),
            count: 1,
        }],
        ..CpuProof::default()
    };
    let loud = CpuProof {
        cpu: 131,
        delay: Delay {
            max_ns: 1_234_567_890,
            ..quiet.delay
        },
        counts: Counts {
            ticks: 2500,
            device_interrupts: 123_456,
            ipis: 12_345,
            switches: 2_501,
            ..Counts::default()
        },
        noise: vec![Noise {
            kind: NoiseKind::Thread,
            name: "kworker/131:2-events".to_owned(),
            count: 2_500,
            total_ns: 5_000_000,
            max_ns: 40_100,
        }],
        missed: vec!["2500 timer ticks in 10.0 s, and not 10 at most".to_owned()],
        ..CpuProof::default()
    };
    Proof {
        started_unix_us: NOON,
        window_ms: 10_000,
        mode: ProfileMode::Hpc,
        cpus: vec![quiet, loud],
        host_interrupts: vec![Interrupt {
            kind: NoiseKind::Device,
            name: "41 nvme0q1".to_owned(),
            count: 4_711,
        }],
        skipped: vec![SkippedCpu {
            cpu: 4,
            why: "in use by VM web".to_owned(),
        }],
        notes: vec!["the tracer lost 3 events".to_owned()],
    }
}

fn shown(proofs: &HostProof) -> String {
    let text = show(proofs, &SCREEN);
    for line in text.lines() {
        assert!(console::measure_text_width(line) <= 80, "{line}");
    }
    text
}

#[test]
fn a_proof_fits_eighty_columns_beside_the_one_before() {
    let mut previous = proof();
    previous.window_ms = 60_000;
    for cpu in &mut previous.cpus {
        cpu.counts.ticks += 12;
        cpu.delay.max_ns -= 1_200;
        cpu.latency = cpu.latency.map(|latency| WakeLatency {
            irq_max_ns: 1_000,
            ..latency
        });
    }
    let text = shown(&HostProof {
        last: Some(proof()),
        previous: Some(previous),
        ..HostProof::default()
    });
    for part in [
        "Isolation    CPUs 131 are disturbed",
        "Taken        2026-11-23T12:00:00.000Z",
        "Window       10 s",
        "Meanwhile    4711 interrupts of devices on the host's CPUs, most by 41 nvme0q1",
        "12.3us",
        "1.2us",
        "1.2s",
        "CPU 131: 2500 timer ticks in 10.0 s, and not 10 at most",
        "kworker/131:2-events",
        "5.0ms",
        "40.1us",
        "LOC Local timer interrupts",
        "CPU 4 left out: in use by VM web",
        "the tracer lost 3 events",
        "SCHED_SWITCH",
        "2.1us",
        "7.7us",
        "Against the proof before, which was 60 s long and not 10 s",
        "-12",
        "+1.2us",
        "+1.1us",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_there_is_instead_of_a_proof_is_said() {
    let none = HostProof::default();
    assert_eq!(
        shown(&none),
        "No proof has been taken. `axctl profile prove` takes one.\n"
    );
    let failed = HostProof {
        running: true,
        error: Some("every CPU belongs to a VM".to_owned()),
        ..HostProof::default()
    };
    let text = shown(&failed);
    assert!(text.contains("failed: every CPU belongs to a VM") && text.contains("is being taken"));
    let balanced = Proof {
        mode: ProfileMode::Balanced,
        ..proof()
    };
    let text = shown(&HostProof {
        last: Some(balanced),
        ..HostProof::default()
    });
    assert!(text.contains("`balanced` promises no quiet CPUs"), "{text}");
}

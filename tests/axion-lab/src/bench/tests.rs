use axion_api::init::Outcome;

use super::*;

fn phase(stage: u8, start_ms: u64) -> Phase {
    Phase {
        stage,
        name: "p".to_owned(),
        start_us: start_ms * 1000,
        duration_us: 1000,
        outcome: Outcome::Ok,
        tasks: Vec::new(),
    }
}

#[test]
fn the_median_is_a_value_that_was_measured() {
    assert_eq!(median(vec![3, 1, 2]), 2);
    assert_eq!(median(vec![4, 1, 3, 2]), 2);
    assert_eq!(median(Vec::<u64>::new()), 0);
}

#[test]
fn stages_are_cut_where_the_second_one_starts() {
    let report = BootReport {
        kernel_ms: 4000,
        ready_ms: Some(7000),
        phases: vec![phase(1, 4100), phase(1, 4300), phase(2, 4500), phase(2, 6000)],
    };
    let boot = image_boot(Duration::from_secs(8), 1, report).unwrap();
    assert_eq!(boot.stage1, Duration::from_millis(500));
    assert_eq!(boot.stage2, Duration::from_millis(2500));
    let unfinished = BootReport {
        kernel_ms: 1,
        ready_ms: None,
        phases: Vec::new(),
    };
    assert!(image_boot(Duration::ZERO, 0, unfinished).is_none());
}

#[test]
fn the_ratio_is_of_wall_clock_medians() {
    let report = BootReport {
        kernel_ms: 1,
        ready_ms: Some(2),
        phases: vec![phase(2, 1)],
    };
    let image = image_boot(Duration::from_secs(6), 5, report).unwrap();
    let times = BootTimes {
        image: vec![image],
        floor: vec![Duration::from_secs(4)],
    };
    assert!((times.ratio() - 1.5).abs() < 1e-9);
    assert_eq!(times.memory_in_use(), 5);
}

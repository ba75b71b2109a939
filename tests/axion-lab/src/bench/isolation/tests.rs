use super::*;

#[test]
fn a_line_of_counts_is_read_whatever_is_before_it() {
    let (cpu, counts) = counted("[    9.1] axion: busy: cpu 3 ticks 2501 device 4 ipis 12 other 1").unwrap();
    assert_eq!(cpu, 3);
    assert_eq!((counts.ticks, counts.device_interrupts), (2501, 4));
    assert_eq!((counts.ipis, counts.other_interrupts), (12, 1));
    assert_eq!(counted("axion: busy: done"), None);
    assert_eq!(counted("axion: busy: cpu 3 ticks x"), None);
}

#[test]
fn rates_are_per_second_and_cpu() {
    let counts = |ticks, device_interrupts| Counts {
        ticks,
        device_interrupts,
        ..Counts::default()
    };
    let two = vec![(1, counts(2500, 10)), (3, counts(2500, 30))];
    assert!((tick_rate(&two, 10) - 250.0).abs() < 1e-9);
    assert!((rate(&two, 10) - 252.0).abs() < 1e-9);
    assert!(rate(&Vec::new(), 10).abs() < 1e-9);
}

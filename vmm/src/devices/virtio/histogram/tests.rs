use super::*;

#[test]
fn buckets_are_contiguous_and_a_sixteenth_wide() {
    assert_eq!((bucket(0), bucket(63), bucket(64)), (0, 0, 1));
    for index in 0..BUCKETS {
        let last = end(index) - 1;
        assert_eq!(bucket(last), index);
        if index + 1 < BUCKETS {
            assert_eq!(bucket(last + 1), index + 1);
        }
        let first = if index == 0 { 0 } else { end(index - 1) };
        assert!(last - first < (first / 16).max(64), "{index}");
    }
    assert_eq!(end(BUCKETS - 1), 1 << MOST);
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
}

#[test]
fn every_power_of_two_ends_a_bucket() {
    for power in UNIT..=MOST {
        assert!((0..BUCKETS).any(|index| end(index) == 1 << power), "{power}");
    }
}

#[test]
fn what_is_counted_can_be_read() {
    let histogram = Histogram::default();
    for us in 1..=1000 {
        histogram.add(Duration::from_micros(us));
    }
    let read = histogram.read();
    assert_eq!(read.count(), 1000);
    assert_eq!((read.total_ns, read.longest_ns), (500_500_000, 1_000_000));
    for (quantile, us) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
        let found = Duration::from_nanos(read.quantile_ns(quantile)).as_secs_f64() * 1e6;
        assert!((us..us * 1.07).contains(&found), "{quantile}: {found}");
    }
    histogram.add_all(Duration::from_micros(1), 3);
    histogram.add_all(Duration::from_micros(1), 0);
    let more = histogram.read();
    assert_eq!((more.count(), more.total_ns), (1003, read.total_ns + 3_000));
    assert_eq!(read.below(1 << 16), 65, "65 us and less");
    assert_eq!(Histogram::default().read().quantile_ns(0.5), 0);
    let mut sum = read.clone();
    sum.merge(&read);
    assert_eq!((sum.count(), sum.buckets.len()), (2000, read.buckets.len()));
}

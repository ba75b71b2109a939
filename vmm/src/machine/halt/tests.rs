use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn two_looks_find_a_halted_guest() {
    let mut watch = Watch::default();
    assert_eq!(watch.step(ms(900), false), Verdict::Rest, "it boots");
    assert_eq!(watch.step(ms(900), false), Verdict::Look);
    // Looking takes some time itself.
    assert_eq!(watch.step(ms(901), true), Verdict::Look);
    assert_eq!(watch.step(ms(902), true), Verdict::Halted);
}

#[test]
fn one_look_is_not_enough() {
    let mut watch = Watch::default();
    assert_eq!(watch.step(ms(0), false), Verdict::Look);
    assert_eq!(watch.step(ms(0), true), Verdict::Look);
    assert_eq!(watch.step(ms(0), false), Verdict::Rest);
    assert_eq!(
        watch.step(ms(0), true),
        Verdict::Look,
        "a look that nobody asked for"
    );
    assert_eq!(watch.step(ms(0), true), Verdict::Look);
    assert_eq!(watch.step(ms(0), true), Verdict::Halted);
}

#[test]
fn an_idle_guest_is_looked_at_ever_more_rarely_until_it_works() {
    let mut watch = Watch::default();
    let mut looks = Vec::new();
    for step in 0..200 {
        if watch.step(ms(0), false) == Verdict::Look {
            looks.push(step);
        }
    }
    let gaps: Vec<u32> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [2, 3, 5, 9, 17, 33, 33, 33, 33]);
    assert_eq!(watch.step(ms(100), false), Verdict::Rest);
    assert_eq!(watch.step(ms(100), false), Verdict::Look);
}

proptest! {
    /// A guest of which somebody is awake never ends, whatever time it uses.
    #[test]
    fn nobody_ends_who_is_awake(steps in prop::collection::vec((0u64..20, any::<bool>()), 1..200)) {
        let (mut watch, mut time, mut row) = (Watch::default(), Duration::ZERO, 0);
        for (used, asleep) in steps {
            time += ms(used);
            row = if asleep { row + 1 } else { 0 };
            let verdict = watch.step(time, asleep);
            prop_assert!(verdict != Verdict::Halted || row >= 2);
        }
    }

    /// One that has halted does end, whatever it did before.
    #[test]
    fn a_halted_guest_ends(steps in prop::collection::vec((0u64..20, any::<bool>()), 0..200)) {
        let (mut watch, mut time) = (Watch::default(), Duration::ZERO);
        for (used, _) in steps {
            time += ms(used);
            watch.step(time, false);
        }
        let ends = (0..LONGEST + 3).any(|_| watch.step(time, true) == Verdict::Halted);
        prop_assert!(ends);
    }
}

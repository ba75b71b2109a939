use super::*;

#[test]
fn the_factor_is_one_unless_a_sane_number_is_given() {
    assert_eq!(factor(None), 1.0);
    assert_eq!(factor(Some("2.5")), 2.5);
    for odd in ["", "fast", "0", "-1", "1e9", "NaN"] {
        assert_eq!(factor(Some(odd)), 1.0, "{odd}");
    }
}

#[test]
fn a_poll_ends_with_its_event() {
    let mut left = 3;
    let seen = poll(
        "a countdown",
        Duration::from_secs(5),
        Duration::from_millis(1),
        || {
            left -= 1;
            Ok(if left == 0 {
                Poll::Ready("done")
            } else {
                Poll::Pending(format!("{left} left"))
            })
        },
    );
    assert_eq!(seen.unwrap(), "done");
}

#[test]
fn a_poll_that_runs_out_says_what_it_saw_last() {
    let error = poll::<()>(
        "the event",
        Duration::from_millis(5),
        Duration::from_millis(1),
        || Ok(Poll::Pending("nothing yet".to_owned())),
    )
    .unwrap_err();
    assert!(error.to_string().contains("the event did not happen"), "{error}");
    assert!(error.to_string().contains("nothing yet"), "{error}");
}

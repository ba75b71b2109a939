use super::*;

#[test]
fn a_goal_that_is_missed_is_a_failure_that_names_it() {
    let goal = |found| Goal {
        what: "ready, in floors",
        found,
        most: BOOT_RATIO,
    };
    meet(&[goal(1.6), goal(0.0)]).unwrap();
    let error = meet(&[goal(1.0), goal(1.62)]).unwrap_err().to_string();
    assert_eq!(
        error,
        "a goal was missed: ready, in floors: 1.620, of at most 1.6"
    );
}

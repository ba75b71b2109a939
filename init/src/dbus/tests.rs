use super::may_call;

#[test]
fn only_root_and_the_nodes_own_services_may_call() {
    for (uid, may) in [
        (0, true),
        (901, true),
        (902, true),
        (900, false),
        (1000, false),
        (100_000, false),
    ] {
        assert_eq!(may_call(uid), may, "{uid}");
    }
}

use super::{not_in_effect, parse_fragment};

#[test]
fn a_dropped_symbol_is_named_with_what_came_out() {
    let requested = parse_fragment("CONFIG_A=y\nCONFIG_B=m\n# why\nCONFIG_C=n\nCONFIG_D=\"x\"\n")
        .unwrap()
        .into_iter()
        .collect();
    let wrong = not_in_effect(
        &requested,
        "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D=\"x\"\n",
    );
    assert_eq!(
        wrong,
        ["    CONFIG_B: wanted m, got n", "    CONFIG_C: wanted n, got y"]
    );
}

#[test]
fn a_line_that_is_no_symbol_is_refused_with_its_number() {
    let error = parse_fragment("CONFIG_A=y\n\nCONFIG_B is not set\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("line 3: `CONFIG_B is not set`"), "{error}");
}

use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn versions_have_an_order() {
    let sorted = [
        "0.1.0-alpha",
        "0.1.0-alpha.1",
        "0.1.0-alpha.2",
        "0.1.0-beta",
        "0.1.0",
        "0.1.1",
        "0.2.0",
        "0.10.0",
        "1.0.0",
    ];
    for (index, text) in sorted.iter().enumerate() {
        for (other, text2) in sorted.iter().enumerate() {
            assert_eq!(
                version(text).cmp(&version(text2)),
                index.cmp(&other),
                "{text} {text2}"
            );
        }
    }
    assert_eq!(version("1.0"), version("1.0.0"));
    assert_eq!(version("1.0.0+a"), version("1.0.0+b"));
    assert_eq!(version("1.0.0+a").to_string(), "1.0.0+a");
}

#[test]
fn what_is_no_version_is_refused() {
    for text in ["", "1.", "v1", "1.0 0", "1..2", "-1", "1\n", &"1".repeat(65)] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}

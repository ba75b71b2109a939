use proptest::prelude::*;

use crate::client::{Address, Fingerprint};

fn shown(text: &str) -> Result<String, String> {
    text.parse::<Address>()
        .map(|a| a.to_string())
        .map_err(|e| e.to_string())
}

#[test]
fn addresses_as_people_write_them() {
    for (text, expected) in [
        ("https://10.0.0.5", "https://10.0.0.5:8443"),
        ("https://10.0.0.5:9000/", "https://10.0.0.5:9000"),
        ("node1", "https://node1:8443"),
        ("node1.example:443", "https://node1.example:443"),
        ("https://[fd00::5]", "https://[fd00::5]:8443"),
        ("[fd00::5]:9000", "https://[fd00::5]:9000"),
    ] {
        assert_eq!(shown(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_address_is_refused_with_what_is() {
    for text in [
        "",
        "http://node1",
        "https://",
        "https://node1/v1",
        "https://user@node1",
        "node1:",
        "node1:99999",
        "node1:x",
        "https://no de",
        "fd00::5",
    ] {
        let error = shown(text).unwrap_err();
        assert_eq!(
            error,
            format!("`{text}` is not a node's address; expected https://HOST or https://HOST:PORT")
        );
    }
}

#[test]
fn a_fingerprint_is_a_sha256() {
    let text = format!("sha256:{}", "0a".repeat(32));
    assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
    assert_eq!(
        text.replace("0a", "0A")
            .parse::<Fingerprint>()
            .unwrap()
            .to_string(),
        text
    );
    for bad in ["", "sha256:", "0a", "sha256:0a", "sha1:00", &format!("{text}00")] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC*") {
        if let Ok(address) = text.parse::<Address>() {
            let again: Address = address.to_string().parse().unwrap();
            prop_assert_eq!(again, address);
        }
    }
}

use super::*;

const DOCUMENT: &str = "# keep me\nhostname = \"a\"\n[storage.encryption]\nkey = \"config\"\nsecret = \"correct horse\" # mine\n";

/// Keys of other datasets, in each way that they may be written.
const TABLES: [&str; 4] = [
    "[storage.encryption.secrets]\n\"tank/a\" = \"battery staple\" # of a\n\"tank/b.c\" = 'correct horse'\n",
    "[storage.encryption]\nsecret = \"correct horse\"\nsecrets = { \"tank/a\" = \"battery staple\", \"tank/b\" = \"horse\" }\n",
    "storage.encryption.secrets.\"tank/a\" = \"\"\"\nbattery staple\"\"\"\nhostname = \"a\"\n",
    "[storage]\nencryption.secrets = { tank = \"battery staple\" }\n",
];

#[test]
fn a_secret_is_hidden_and_comes_back() {
    let shown = hide(DOCUMENT).unwrap();
    assert!(
        !shown.contains("horse") && shown.contains("# keep me") && shown.contains("# mine"),
        "{shown}"
    );
    assert_eq!(restore(&shown, Some(DOCUMENT)).as_deref(), Ok(DOCUMENT));
    assert_eq!(hide("hostname = \"a\"\n").as_deref(), Some("hostname = \"a\"\n"));
    assert_eq!(hide("secret = "), None);
}

#[test]
fn a_sign_without_a_secret_is_refused() {
    let shown = hide(DOCUMENT).unwrap();
    for kept in [None, Some(""), Some("hostname = \"a\"\n")] {
        assert!(restore(&shown, kept).unwrap_err().contains("there is none"));
    }
    assert_eq!(restore(DOCUMENT, None).as_deref(), Ok(DOCUMENT));
}

#[test]
fn keys_of_other_datasets_are_hidden_and_come_back() {
    for document in TABLES {
        let shown = hide(document).unwrap();
        assert!(!shown.contains("staple") && !shown.contains("horse"), "{shown}");
        assert_eq!(shown.contains("# of a"), document.contains("# of a"), "{shown}");
        let back = restore(&shown, Some(document)).unwrap();
        let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        assert_eq!(table(&back), table(document), "{back}");
    }
}

#[test]
fn each_hidden_key_is_that_of_its_own_dataset() {
    let kept = "[storage.encryption.secrets]\n\"tank/a\" = \"battery staple\"\n";
    let moved = "[storage.encryption.secrets]\n\"tank/b\" = \"(hidden)\"\n";
    let why = restore(moved, Some(kept)).unwrap_err();
    assert!(
        why.starts_with("`storage.encryption.secrets.\"tank/b\"`"),
        "{why}"
    );
    let one_more = format!("{}\"tank/b\" = \"correct horse\"\n", hide(kept).unwrap());
    assert_eq!(
        restore(&one_more, Some(kept)).unwrap(),
        format!("{kept}\"tank/b\" = \"correct horse\"\n")
    );
}

#[test]
fn what_is_no_secret_by_its_type_is_hidden_too() {
    for document in [
        "storage.encryption.secret = 12345678\n",
        "[storage.encryption.secrets]\ntank.a = \"12345678\"\n",
        "[storage.encryption.secrets]\n\"tank/a\" = [\"12345678\"]\n",
        "storage.encryption.secrets = \"12345678\"\n",
        "[[storage.encryption.secrets]]\n\"tank/a\" = \"12345678\"\n",
    ] {
        let shown = hide(document).unwrap();
        assert!(!shown.contains("12345678"), "{shown}");
    }
}

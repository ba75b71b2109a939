use serde_json::json;

use super::*;

#[test]
fn secrets_are_known_by_their_names() {
    for name in [
        "password",
        "api_token",
        "apiToken",
        "token_hashes",
        "storage.encryption.secret",
        "net.ipv4.tcp_fastopen_key",
        "net.ipv6.conf.all.stable_secret",
        "sysctl.\"net.ipv4.tcp_fastopen_key\"",
        "user_data",
        "userData",
        "cloud_init",
        "ssh-private-key",
        "Authorization",
    ] {
        assert!(is_secret_name(name), "{name}");
    }
    for name in [
        "key",
        "keys",
        "key_state",
        "storage.encryption.key",
        "hostname",
        "tokenizer",
        "passed",
        "kernel.pid_max",
        "data",
    ] {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn values_of_secret_names_are_hidden_whatever_they_are() {
    let mut value = json!({
        "hostname": "node1",
        "cloud_init": {"user_data": "chpasswd: root:hunter2"},
        "tokens": ["a", "b"],
        "pin_token": 1234,
        "resume_token": null,
        "recovery_secret": true,
        "values": [
            {"key": "storage.encryption.secret", "value": "\"hunter2\"", "source": "default"},
            {"key": "api.token_hashes", "value": "[]", "source": "default"},
            {"key": "storage.encryption.key", "value": "\"tpm\"", "source": "default"},
        ],
        "items": [
            {"key": "sysctl.net.ipv4.tcp_fastopen_key", "desired": "hunter2", "effective": "hunter2", "state": "ok"},
            {"name": "net.ipv4.tcp_fastopen_key", "value": "hunter2"},
            {"path": "/proc/sys/net/ipv4/tcp_fastopen_key", "text": "hunter2"},
        ],
        "dataset": {"key": "available"},
        "encryption": {"key": {"hex": "00ff"}},
        "other": {"key": "0123456789abcdef".repeat(4)},
        "item": {"key": "hugepages"},
        "nested": [{"deep": {"password": "hunter2"}}],
    });
    assert_eq!(json(&mut value), 11);
    let hidden = json!("(hidden)");
    assert_eq!(value["cloud_init"], hidden);
    assert_eq!(value["tokens"], hidden);
    assert_eq!(value["pin_token"], hidden);
    assert_eq!(value["values"][0]["value"], hidden);
    assert_eq!(
        value["values"][1]["value"], "[]",
        "that there is none is no secret"
    );
    assert_eq!(value["values"][2]["value"], "\"tpm\"");
    assert_eq!(value["items"][0]["state"], "ok");
    assert_eq!(value["dataset"]["key"], "available");
    assert_eq!(value["encryption"]["key"], hidden);
    assert_eq!(value["other"]["key"], hidden);
    assert_eq!(value["item"]["key"], "hugepages");
    assert_eq!(
        (&value["hostname"], &value["recovery_secret"]),
        (&json!("node1"), &json!(true))
    );
    assert!(!value.to_string().contains("hunter2"), "{value}");
    assert_eq!(json(&mut value), 0, "what is hidden stays so");
}

#[test]
fn secrets_in_text_are_known_by_their_form() {
    let token = format!("axion_{}", "Ab3-_".repeat(9));
    let lines = [
        (format!("made {token}, noted"), "made (hidden), noted"),
        (
            "quiet axion.config=inline:c2VjcmV0 console=ttyS0".to_owned(),
            "quiet axion.config=(hidden) console=ttyS0",
        ),
        (
            "\"axion.config=https://x/a b\" quiet".to_owned(),
            "\"axion.config=(hidden)\" quiet",
        ),
        (
            "axion.config=\"https://x/a b\" quiet".to_owned(),
            "axion.config=(hidden)\" quiet",
        ),
        (
            "fetching https://bob:pa@ss@example.org/x?y=1".to_owned(),
            "fetching https://(hidden)@example.org/x?y=1",
        ),
        (
            "Authorization: Bearer abc.def".to_owned(),
            "Authorization: (hidden) (hidden)",
        ),
        ("sent bearer abc.def on".to_owned(), "sent bearer (hidden) on"),
        (
            "GET /v1/x?token=abc&limit=3".to_owned(),
            "GET /v1/x?token=(hidden)&limit=3",
        ),
        (
            r#"{"password": "a b", "n": 1}"#.to_owned(),
            r#"{"password": (hidden), "n": 1}"#,
        ),
        ("secret = \"a b\"".to_owned(), "secret = (hidden)"),
        ("passphrase: hunter2".to_owned(), "passphrase: (hidden)"),
        (
            "password=a password=b".to_owned(),
            "password=(hidden) password=(hidden)",
        ),
        (
            "token_hashes = [\"sha256:00\", \"sha256:11\"]".to_owned(),
            "token_hashes = (hidden)",
        ),
    ];
    for (given, wanted) in lines {
        let (shown, hidden) = text(&given);
        assert_eq!(shown, wanted);
        assert!(hidden > 0);
        assert_eq!(text(&shown), (shown.clone(), 0), "what is hidden stays so");
    }
}

#[test]
fn what_helps_stays() {
    for line in [
        "axion: audit: token 1a2b3c4d from 10.0.0.1:5000: GET /v1/host -> 200\n",
        "state locked: PCR 11 changed since the key was sealed; type the passphrase on the console\n",
        "r8169 0000:03:00.0: Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2",
        "listening at https://0.0.0.0:8443, CA sha256:9cd185cfc4c14d55fdd3aea8d41aad979a87ff29949c008027920b20e730567a",
        "axion_agent axion_short",
        "udp://10.0.0.1:514 user@host",
        "",
        "\n\n",
        "größe=3 =: : =",
    ] {
        assert_eq!(text(line), (line.to_owned(), 0));
    }
}

#[test]
fn private_keys_are_hidden_whole() {
    let pem = "a\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nxyz\n-----END EC PRIVATE KEY-----\nb\n";
    assert_eq!(text(pem), ("a\n(hidden)\nb\n".to_owned(), 1));
    let public = "-----BEGIN CERTIFICATE-----\nMHcCAQ\n-----END CERTIFICATE-----\n";
    assert_eq!(text(public).1, 0);
    let open = "x -----BEGIN PRIVATE KEY-----\nMHcCAQ";
    assert_eq!(text(open), ("x (hidden)\n".to_owned(), 1));
    // As a log has it, each on a line of its own with a prefix.
    let logged = "t agent: -----BEGIN RSA PRIVATE KEY-----\nt agent: MHcCAQ\nt agent: -----END RSA PRIVATE KEY-----\nt agent: on\n";
    assert_eq!(text(logged), ("t agent: (hidden)\nt agent: on\n".to_owned(), 1));
}

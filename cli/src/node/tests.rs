use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn context(server: &str) -> Context {
    Context {
        server: server.to_owned(),
        fingerprint: Some(format!("sha256:{}", "1f".repeat(32))),
        ca_file: None,
        token: "axion_secret".to_owned(),
    }
}

fn saved() -> Contexts {
    let contexts = [("lab", "https://10.0.0.5:8443"), ("prod", "https://node1:8443")];
    Contexts {
        current: Some("lab".to_owned()),
        contexts: contexts
            .map(|(name, server)| (name.to_owned(), context(server)))
            .into(),
    }
}

fn args(server: Option<&str>, context: Option<&str>) -> NodeArgs {
    NodeArgs {
        server: server.map(str::to_owned),
        context: context.map(str::to_owned),
        ..NodeArgs::default()
    }
}

#[test]
fn the_order_of_choice() {
    let lab = || Choice::Saved(context("https://10.0.0.5:8443"));
    let prod = || Choice::Saved(context("https://node1:8443"));
    for (server, name, on_a_node, expected) in [
        (None, None, false, lab()),
        (None, None, true, Choice::Local),
        (None, Some("prod"), true, prod()),
        (
            Some("https://new"),
            None,
            true,
            Choice::Server("https://new".to_owned(), None),
        ),
        // The address of the environment does not win over a context that was named.
        (Some("https://new"), Some("prod"), false, prod()),
        // However it is written, the address of a saved node brings its proof.
        (
            Some("node1"),
            None,
            false,
            Choice::Server("node1".to_owned(), Some(context("https://node1:8443"))),
        ),
    ] {
        assert_eq!(
            choose(&args(server, name), &saved(), on_a_node).unwrap(),
            expected
        );
    }
}

#[test]
fn no_choice_is_told_with_the_way_out() {
    let error = choose(&args(None, None), &Contexts::default(), false).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.hint().unwrap().contains("axctl login"));
    let error = choose(&args(None, Some("lost")), &saved(), false).unwrap_err();
    assert_eq!(error.to_string(), "there is no context `lost`");
    let error = choose(&args(Some("ftp://x"), None), &saved(), false).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn contexts_are_kept_for_their_owner_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("axion/config.toml");
    assert_eq!(Contexts::load_from(&path).unwrap(), Contexts::default());
    saved().save_to(&path).unwrap();
    saved().save_to(&path).unwrap();
    assert_eq!(Contexts::load_from(&path).unwrap(), saved());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no half-written file stays"
    );
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.toml");
    saved().save_to(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Contexts::load_from(&path).unwrap_err().to_string();
    assert!(
        error.contains("mode 644") && error.contains("chmod 600"),
        "{error}"
    );
}

#[test]
fn a_broken_file_is_named_and_its_token_is_not() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.toml");
    saved().save_to(&path).unwrap();
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("token = ", "tokens = ");
    fs::write(&path, text).unwrap();
    let error = Contexts::load_from(&path).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = format!("{error} {error:?}");
    assert!(text.contains("config.toml") && text.contains("tokens"), "{text}");
    assert!(!text.contains("axion_secret"), "{text}");
    assert!(!format!("{:?}", saved()).contains("axion_secret"));
}

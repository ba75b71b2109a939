use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::limit::Limiter;
use super::*;

#[tokio::test]
async fn the_agent_makes_one_token_and_keeps_only_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first-token");
    let tokens = Tokens::load(&[], directory.path(), &first).unwrap();
    let token = std::fs::read_to_string(&first).unwrap();
    assert_eq!(token.len(), PREFIX.len() + 43);
    assert_eq!(
        std::fs::metadata(&first).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(tokens.check(&token).is_some());
    assert!(tokens.check(&token[..token.len() - 1]).is_none());
    let kept = std::fs::read_to_string(directory.path().join(OWN_TOKEN)).unwrap();
    assert!(!kept.contains(&token));
    let again = Tokens::load(&[], directory.path(), &first).unwrap();
    assert!(again.check(&token).is_some(), "the console shows it still");
    // The console removes it; the next start makes no other.
    std::fs::remove_file(&first).unwrap();
    again.follow().await;
    let again = Tokens::load(&[], directory.path(), &first).unwrap();
    assert!(again.check(&token).is_some());
    assert!(!first.exists());
}

#[tokio::test]
async fn a_token_that_nobody_noted_before_a_reboot_is_made_anew_and_one_in_use_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first-token");
    let start = || {
        // What is shown does not outlive a reboot.
        let _ = std::fs::remove_file(&first);
        let tokens = Tokens::load(&[], directory.path(), &first).unwrap();
        (tokens, std::fs::read_to_string(&first).unwrap_or_default())
    };
    let (_, lost) = start();
    let (tokens, token) = start();
    assert!(tokens.check(&lost).is_none() && tokens.check(&token).is_some());
    tokens.noted().await;
    let (tokens, none) = start();
    assert_eq!(none, "");
    assert!(tokens.check(&token).is_some());
}

#[test]
fn the_console_shows_no_token_that_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first-token");
    // While the state was locked the agent made another token than the state has.
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let hashed = format!("sha256:{}\n", hex::encode(hash("kept")));
    std::fs::write(state.join(OWN_TOKEN), &hashed).unwrap();
    Tokens::load(&[], directory.path(), &first).unwrap();
    assert!(first.exists());
    let tokens = Tokens::load(&[], &state, &first).unwrap();
    assert!(tokens.check("kept").is_some() && !first.exists());
    std::fs::write(&first, "other").unwrap();
    Tokens::load(&[hashed.trim().to_owned()], &state, &first).unwrap();
    assert!(!first.exists());
}

#[test]
fn configured_tokens_take_the_place_of_an_own_one() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first-token");
    let configured = [
        format!("sha256:{}", hex::encode(hash("secret"))),
        "sha256:beef".to_owned(),
    ];
    let tokens = Tokens::load(&configured, directory.path(), &first).unwrap();
    assert!(matches!(tokens.check("secret"), Some(Identity::Token(id)) if id.len() == 8));
    assert_eq!(tokens.check(""), None);
    assert!(!first.exists());
}

#[test]
fn only_root_and_the_console_need_no_token() {
    assert!(Peer::Local { uid: 0 }.identity().is_some());
    assert!(
        Peer::Local {
            uid: paths::UID_CONSOLE
        }
        .identity()
        .is_some()
    );
    assert_eq!(
        Peer::Local {
            uid: paths::UID_VM_BASE
        }
        .identity(),
        None
    );
    assert_eq!(Peer::Remote(([127, 0, 0, 1], 1).into()).identity(), None);
}

#[test]
fn guessing_slows_down_one_peer_alone() {
    let limiter = Limiter::default();
    let (guesser, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let now = Instant::now();
    for _ in 0..10 {
        assert_eq!(limiter.fail(guesser, now), Duration::ZERO);
    }
    assert_eq!(limiter.fail(guesser, now), Duration::from_secs(1));
    for _ in 0..20 {
        limiter.fail(guesser, now);
    }
    assert!(limiter.admit(guesser, now).is_err());
    assert!(limiter.admit(other, now).is_ok());
    assert!(
        limiter.admit(guesser, now + Duration::from_secs(10)).is_ok(),
        "the line empties"
    );
}

#[test]
fn an_ipv6_network_is_one_peer() {
    let limiter = Limiter::default();
    let now = Instant::now();
    for host in 0..40_u128 {
        limiter.fail(IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | host)), now);
    }
    assert!(limiter.admit("2001:db8::ffff".parse().unwrap(), now).is_err());
    assert!(limiter.admit("2001:db8:0:1::1".parse().unwrap(), now).is_ok());
}

use axion_core::profile::{Plan, Standing};

use super::*;

fn resolved() -> Resolved {
    Resolved {
        standing: Standing::Off,
        plan: Plan::default(),
        refusals: Vec::new(),
    }
}

#[test]
fn a_profile_is_measured_by_what_it_says() {
    let event = profile_event(&resolved());
    assert!(event.starts_with("axion-profile:sha256:"), "{event}");
    assert_eq!(event.len(), "axion-profile:sha256:".len() + 64);
    assert_eq!(event, profile_event(&resolved()));
    // As it was read back.
    let again = serde_json::from_str(&serde_json::to_string(&resolved()).unwrap()).unwrap();
    assert_eq!(event, profile_event(&again));
    let mut other = resolved();
    other.plan.notes.push("something".to_owned());
    assert_ne!(event, profile_event(&other));
}

#[test]
fn an_event_has_the_names_of_the_canonical_event_log() {
    let event = MeasuredEvent {
        pcr: PROFILE_PCR,
        digests: vec![EventDigest {
            hash_alg: "sha256".to_owned(),
            digest: "00".to_owned(),
        }],
        content_type: CONTENT_TYPE.to_owned(),
        content: EventContent {
            event_type: "profile".to_owned(),
            string: "axion-profile:sha256:00".to_owned(),
            boot_id: "b".to_owned(),
            timestamp: 7,
        },
    };
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"pcr":15,"digests":[{"hashAlg":"sha256","digest":"00"}],"content_type":"axion","content":{"eventType":"profile","string":"axion-profile:sha256:00","bootId":"b","timestamp":7}}"#
    );
}

#[test]
fn a_lock_says_what_to_do() {
    let mut lock = StateLock {
        pool: "tank".to_owned(),
        reason: "PCR 15 changed since the key was sealed".to_owned(),
        is_new: false,
    };
    assert_eq!(
        lock.to_string(),
        "state locked: PCR 15 changed since the key was sealed; type the passphrase on the console, or run `axctl pool unlock`"
    );
    lock.is_new = true;
    assert!(lock.to_string().contains("type a new passphrase"));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let unlock: UnlockRequest = serde_json::from_str(r#"{"key":{"passphrase":"correct horse"}}"#).unwrap();
    assert!(unlock.seal);
    let recovery = Recovery {
        pool: "tank".to_owned(),
        passphrase: "correct horse".to_owned(),
    };
    let shown = format!(
        "{unlock:?} {:?} {recovery:?}",
        Call::Unlock {
            request: unlock.clone()
        }
    );
    assert!(!shown.contains("horse"), "{shown}");
}

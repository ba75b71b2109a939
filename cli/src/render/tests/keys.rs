//! The TPM and its keys.

use axion_api::keys::{
    EventContent, EventDigest, HostTpm, MeasuredEvent, PcrValue, Recovery, SealedKey, StateLock,
};

use super::PIPE;
use crate::render::tpm;

fn value(pcr: u8, digit: char) -> PcrValue {
    PcrValue {
        pcr,
        sha256: digit.to_string().repeat(64),
    }
}

#[test]
fn a_tpm_with_a_key_that_it_keeps_to_itself() {
    let told = HostTpm {
        present: true,
        manufacturer: Some("IFX".to_owned()),
        firmware: Some("7.85".to_owned()),
        pcrs: vec![value(7, 'a'), value(11, '0'), value(15, 'b'), value(17, 'f')],
        events: vec![MeasuredEvent {
            pcr: 15,
            digests: vec![EventDigest {
                hash_alg: "sha256".to_owned(),
                digest: "00".to_owned(),
            }],
            content_type: "axion".to_owned(),
            content: EventContent {
                event_type: "profile".to_owned(),
                string: "axion-profile:sha256:00".to_owned(),
                boot_id: String::new(),
                timestamp: 0,
            },
        }],
        keys: vec![SealedKey {
            dataset: "tank/axion".to_owned(),
            pcrs: vec![7, 15],
            signed_pcrs: vec![11],
            changed: vec![15],
            unlocked: false,
        }],
        state_lock: Some(StateLock {
            pool: "tank".to_owned(),
            reason: "PCR 15 changed since the key was sealed".to_owned(),
            is_new: false,
        }),
        ..HostTpm::default()
    };
    let shown = tpm::show(&told, &PIPE);
    let expected = [
        "TPM    IFX 7.85",
        "State  state locked: PCR 15 changed since the key was sealed; type the passphrase on the console, or run `axctl pool unlock`",
        "  7  aaaa",
        " 15  bbbb",
        " 15  profile  axion-profile:sha256:00",
        "tank/axion  locked   7, 15, 11 signed  keeps it: PCR 15 changed since",
    ];
    for line in expected {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    assert!(!shown.contains("0000000") && !shown.contains("ffff"), "{shown}");
}

#[test]
fn a_machine_without_one() {
    assert_eq!(tpm::show(&HostTpm::default(), &PIPE), "TPM  none\n");
}

#[test]
fn a_recovery_passphrase_is_told_with_what_it_is_for() {
    let shown = tpm::recovery(
        &Recovery {
            pool: "tank".to_owned(),
            passphrase: "0123-4567".to_owned(),
        },
        &PIPE,
    );
    assert!(shown.contains("Recovery passphrase  0123-4567\n"), "{shown}");
    assert!(shown.contains("never shown again"), "{shown}");
}

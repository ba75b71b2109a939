use super::*;

#[test]
fn codes_say_what_they_mean_whatever_they_are_about() {
    let refused = |code| {
        let refused = TpmError::Refused {
            command: "Unseal",
            code,
        };
        refused.to_string()
    };
    // Session 1, and no session at all.
    assert!(
        refused(0x99d).contains("a policy is not met"),
        "{}",
        refused(0x99d)
    );
    assert!(refused(0x9d).contains("a policy is not met"));
    assert!(refused(0x1df).contains("the TPM was cleared since"));
    assert!(refused(0x921).contains("locked out"));
    assert_eq!(refused(0x143), "the TPM refuses Unseal: TPM_RC 0x143");
}

#[test]
fn drift_names_the_registers() {
    let changed = TpmError::Changed { changed: vec![7, 11] };
    assert_eq!(changed.to_string(), "PCR 7, 11 changed since the key was sealed");
    assert!(changed.is_drift());
    assert!(!TpmError::Absent.is_drift());
}

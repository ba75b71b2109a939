use super::*;

fn sealed() -> Sealed {
    Sealed {
        pcrs: [7, 11].into_iter().collect(),
        values: vec![Bytes(vec![1; 32]), Bytes(vec![2; 32])],
        signed: None,
        public: Bytes(b"public".to_vec()),
        private: Bytes(b"private".to_vec()),
    }
}

#[test]
fn what_changed_is_named() {
    let sealed = sealed();
    let changed = |values: &[(u8, u8)]| {
        let values = values.iter().map(|(pcr, byte)| (*pcr, [*byte; 32])).collect();
        sealed.changed(&values, None)
    };
    assert!(changed(&[(7, 1), (11, 2)]).is_empty());
    assert_eq!(changed(&[(7, 1), (11, 3)]), [11]);
    assert_eq!(changed(&[(7, 0), (11, 3)]), [7, 11]);
    assert_eq!(changed(&[]), [7, 11]);
}

#[test]
fn what_nobody_vouches_for_is_named() {
    let key = crate::policy::tests::example();
    let sealed = Sealed {
        pcrs: [7].into_iter().collect(),
        signed: Some(Signed {
            pcrs: [11].into_iter().collect(),
            key: Bytes(key.spki().to_vec()),
        }),
        ..sealed()
    };
    assert_eq!(sealed.registers(), [7, 11].into_iter().collect());
    let values: Values = [(7, [1; 32]), (11, [9; 32])].into_iter().collect();
    let image = crate::policy::tests::of(&key, [9; 32]);
    assert!(sealed.changed(&values, Some(&image)).is_empty());
    assert_eq!(sealed.changed(&values, None), [11]);
    let other = crate::policy::tests::of(&key, [8; 32]);
    assert_eq!(sealed.changed(&Values::default(), Some(&other)), [7, 11]);
    let text = serde_json::to_string(&sealed).unwrap();
    assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), sealed);
}

#[test]
fn a_sealed_secret_is_kept_as_text() {
    let text = serde_json::to_string(&sealed()).unwrap();
    assert!(text.starts_with("{\"pcrs\":[7,11],\"values\":[\"AQEB"), "{text}");
    assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), sealed());
    assert!(serde_json::from_str::<Sealed>(&text.replace("AQEB", "????")).is_err());
}

#[test]
fn a_secret_that_does_not_fit_is_not_sent() {
    let script = crate::command::tests::Script::new(&[]);
    let sent = script.sent.clone();
    let mut tpm = Tpm::new(Box::new(script), std::time::Duration::from_secs(5));
    for secret in [vec![], vec![0; 129]] {
        let error = tpm.seal(&secret, Pcrs::default(), None).unwrap_err();
        assert!(matches!(error, TpmError::Secret { most: 128, .. }), "{error}");
    }
    assert!(sent.lock().unwrap().is_empty());
}

#[test]
fn only_a_policy_opens_what_is_sealed() {
    let object = sealed_object(&[0xaa; 32]);
    // Neither userWithAuth nor adminWithPolicy.
    assert_eq!(hex::encode(&object[..10]), "0008000b000004120020");
    assert_eq!(object.len(), 2 + 2 + 4 + 2 + 32 + 2 + 2);
}

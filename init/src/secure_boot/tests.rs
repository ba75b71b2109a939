use std::collections::BTreeMap;

use axion_install::authenticode::{Signature, behind_module};

use super::*;

#[test]
fn a_module_gets_its_own_signature_and_no_other() {
    let signature = behind_module(&[1; 16]);
    let modules = BTreeMap::from([("kvm".to_owned(), Signature::new(&signature))]);
    let guard = Guard(Signatures {
        modules,
        ..Signatures::default()
    });
    let module = in_memory(b"code").unwrap();
    let signed = guard.module("kvm", &module).unwrap().unwrap();
    assert_eq!(content(&signed).unwrap(), [&b"code"[..], &signature].concat());
    assert!(guard.module("other", &module).unwrap().is_none());
}

#[test]
fn a_kernel_that_the_signature_does_not_fit_is_refused() {
    let guard = Guard(Signatures::default());
    let kernel = in_memory(b"no kernel").unwrap();
    let error = guard.kernel(&kernel).unwrap_err();
    assert!(
        matches!(error, SecureBootError::Signature(SignatureError::Program)),
        "{error}"
    );
}

use super::*;

/// A key that fits, and that nobody has the other half of.
pub(crate) fn example() -> Signer {
    let spki = [&BEFORE_MODULUS[..], &[0xc5; MODULUS], &EXPONENT].concat();
    Signer::from_spki(spki).unwrap()
}

/// What an image would bring that `signer` vouches for, where PCR 11 is `value`.
pub(crate) fn of(signer: &Signer, value: [u8; 32]) -> SignedPolicy {
    let pcrs: Pcrs = [11].into_iter().collect();
    let text = signatures(signer, pcrs, &pcrs.policy(&[value]), b"signature");
    SignedPolicy::parse(&pem(signer), &text).unwrap()
}

fn pem(signer: &Signer) -> String {
    let text = BASE64_STANDARD.encode(&signer.spki);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

impl SignedPolicy {
    /// This image's claims with another one's signatures.
    pub(crate) fn with_signatures_of(&self, other: &Self) -> Self {
        let mut forged = self.clone();
        for (entry, other) in forged.entries.iter_mut().zip(&other.entries) {
            entry.sig.clone_from(&other.sig);
        }
        forged
    }
}

#[test]
fn a_key_is_read_and_others_are_refused() {
    let signer = example();
    assert_eq!(Signer::from_pem(&pem(&signer)).unwrap(), signer);
    assert_eq!(signer.fingerprint().len(), 64);
    // 4096 bits, an exponent of 3, an elliptic curve.
    let longer = [&BEFORE_MODULUS[..], &[0xc5; 2 * MODULUS], &EXPONENT].concat();
    let three = [&BEFORE_MODULUS[..], &[0xc5; MODULUS], &[2, 3, 0, 0, 3]].concat();
    for wrong in [longer, three, vec![0x30, 0x59]] {
        assert!(matches!(Signer::from_spki(wrong), Err(PolicyError::Key)));
    }
    for text in [
        "",
        BEGIN,
        "-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----",
    ] {
        assert!(Signer::from_pem(text).is_err(), "{text}");
    }
}

#[test]
fn a_signature_is_for_what_the_registers_hold() {
    let signer = example();
    let image = of(&signer, [7; 32]);
    let wanted: Pcrs = [7, 11].into_iter().collect();
    let holding = |value| move |pcr| (pcr == 11).then_some(value);
    let found = image.approval(wanted, holding([7; 32])).unwrap();
    assert_eq!(found.pcrs, [11].into_iter().collect());
    assert_eq!(found.signature, b"signature");
    assert!(image.approval(wanted, holding([8; 32])).is_none());
    assert!(image.approval(wanted, |_| None).is_none());
    assert!(
        image
            .approval([7].into_iter().collect(), holding([7; 32]))
            .is_none()
    );
}

#[test]
fn signatures_are_written_as_systemd_has_them() {
    let signer = example();
    let pcrs: Pcrs = [11].into_iter().collect();
    let text = signatures(&signer, pcrs, &[0xab; 32], &[1, 2, 3]);
    let expected = format!(
        "{{\"sha256\":[{{\"pcrs\":[11],\"pkfp\":\"{}\",\"pol\":\"{}\",\"sig\":\"AQID\"}}]}}",
        signer.fingerprint(),
        "ab".repeat(32)
    );
    assert_eq!(text, expected);
    // systemd-measure writes other banks beside it; those by another key are nobody's here.
    let foreign = text.replacen("{\"sha256\"", "{\"sha1\":[],\"sha256\"", 1);
    let foreign = foreign.replace(&signer.fingerprint(), &"0".repeat(64));
    let image = SignedPolicy::parse(&pem(&signer), &foreign).unwrap();
    assert!(image.entries.is_empty());
    assert!(SignedPolicy::parse(&pem(&signer), "{").is_err());
}

use std::io::Cursor;

use minisign::KeyPair;

use super::*;
use crate::uki::{Parts, assemble, samples};

struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn public(&self) -> String {
        self.0.pk.to_base64()
    }

    fn sign(&self, image: &[u8]) -> String {
        let signed = minisign::sign(Some(&self.0.pk), &self.0.sk, image, None, None);
        signed.unwrap().into_string()
    }
}

fn image(os_release: &str) -> Vec<u8> {
    let kernel = samples::kernel();
    let parts = Parts {
        os_release: os_release.as_bytes(),
        cmdline: "console=tty0",
        kernel: &kernel,
        initramfs: b"070701",
        policy: None,
    };
    assemble(&samples::program(5), &parts).unwrap()
}

fn told(image: &[u8], signature: &str, keys: &[&str], running: &str) -> Result<Checked, String> {
    let keys = Keys::read(keys.iter().copied()).unwrap();
    let running = running.parse().unwrap();
    let terms = Terms {
        keys: &keys,
        running: &running,
        allow_downgrade: false,
        secure_boot: false,
        allowed: &[],
    };
    check(&mut Cursor::new(image), signature, &terms).map_err(|rejection| rejection.to_string())
}

#[test]
fn a_signed_image_of_a_newer_version_is_taken() {
    let signer = Signer::new();
    let other = Signer::new();
    let image = image("ID=axion\nVERSION_ID=\"0.2.0\"\n");
    let signature = signer.sign(&image);
    let keys = [
        other.public(),
        format!("untrusted comment: x\n{}\n", signer.public()),
    ];
    let keys = keys.each_ref().map(String::as_str);
    for running in ["0.1.0", "0.2.0"] {
        let checked = told(&image, &signature, &keys, running).unwrap();
        assert_eq!(checked.version.to_string(), "0.2.0");
        assert_eq!(checked.size, u64::try_from(image.len()).unwrap());
        assert_eq!(checked.digest, crate::inspect::digest(&image));
        assert!(Keys::read(keys).unwrap().ids().contains(&checked.key));
    }
}

#[test]
fn under_secure_boot_an_image_is_signed_for_firmware_too() {
    let signer = Signer::new();
    let unsigned = image("VERSION_ID=0.2.0\n");
    let signed = authenticode::attach(&unsigned, &[7; 64]).unwrap();
    let keys = Keys::read([signer.public().as_str()]).unwrap();
    let terms = Terms {
        keys: &keys,
        running: &"0.1.0".parse().unwrap(),
        allow_downgrade: false,
        secure_boot: true,
        allowed: &[],
    };
    let told = |image: &[u8], allowed: &[u8]| {
        check(
            &mut Cursor::new(image),
            &signer.sign(image),
            &Terms { allowed, ..terms },
        )
    };
    assert!(matches!(told(&unsigned, &[]), Err(Rejection::NotForFirmware)));
    told(&signed, &[]).unwrap();
    let by = |certificate: [u8; 40]| authenticode::samples::list(&certificate);
    told(&signed, &by([7; 40])).unwrap();
    let refused = told(&signed, &by([8; 40]));
    assert!(
        matches!(refused, Err(Rejection::StrangeToFirmware)),
        "{refused:?}"
    );
    told(&signed, &[by([8; 40]), by([7; 40])].concat()).unwrap();
}

#[test]
fn an_older_version_needs_a_word() {
    let signer = Signer::new();
    let image = image("VERSION_ID=0.2.0\n");
    let signature = signer.sign(&image);
    let refused = told(&image, &signature, &[&signer.public()], "0.10.0").unwrap_err();
    assert_eq!(
        refused,
        "the image is Axion 0.2.0, and 0.10.0 runs; an older one is taken with `--allow-downgrade`"
    );
    let keys = Keys::read([signer.public().as_str()]).unwrap();
    let terms = Terms {
        keys: &keys,
        running: &"0.10.0".parse().unwrap(),
        allow_downgrade: true,
        secure_boot: false,
        allowed: &[],
    };
    assert!(check(&mut Cursor::new(&image), &signature, &terms).is_ok());
}

#[test]
fn what_nobody_trusted_has_signed_is_refused() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let image = image("VERSION_ID=0.2.0\n");
    let signature = signer.sign(&image);
    let public = signer.public();

    let refused = told(&image, &signature, &[], "0.1.0").unwrap_err();
    assert!(refused.contains("keys = [\"RW...\"]"), "{refused}");
    let refused = told(&image, &stranger.sign(&image), &[&public], "0.1.0").unwrap_err();
    let id = |signer: &Signer| id(&signer.public()).unwrap();
    assert!(
        refused.contains(&format!("the key {}", id(&stranger))),
        "{refused}"
    );
    assert!(refused.contains(&format!("trusts {}", id(&signer))), "{refused}");
    for text in ["", "x", "untrusted comment: x\nRWQ=\ntrusted comment: y\nAA==\n"] {
        let refused = told(&image, text, &[&public], "0.1.0").unwrap_err();
        assert!(refused.contains("none of minisign's"), "{refused}");
    }
}

#[test]
fn what_was_changed_is_refused_wherever_it_was_changed() {
    let signer = Signer::new();
    let image = image("VERSION_ID=0.2.0\n");
    let (signature, public) = (signer.sign(&image), signer.public());
    for at in [0, 0x100, image.len() / 2, image.len() - 1] {
        let mut changed = image.clone();
        changed[at] ^= 1;
        let refused = told(&changed, &signature, &[&public], "0.1.0").unwrap_err();
        assert!(
            refused.contains("it was changed, or it is not whole"),
            "{refused}"
        );
    }
    let refused = told(&image[..image.len() - 1], &signature, &[&public], "0.1.0").unwrap_err();
    assert!(refused.contains("it was changed"), "{refused}");
    // A comment that is not the signed one.
    let changed = signature.replace("trusted comment: timestamp", "trusted comment: timestomp");
    assert_ne!(changed, signature);
    assert!(told(&image, &changed, &[&public], "0.1.0").is_err());
}

#[test]
fn what_is_signed_and_no_uki_is_refused() {
    let signer = Signer::new();
    let mut cut = image("VERSION_ID=0.2.0\n");
    cut.truncate(cut.len() - 0x300);
    let mut other_machine = image("VERSION_ID=0.2.0\n");
    other_machine[0x84..0x86].copy_from_slice(&0xaa64_u16.to_le_bytes());
    let table = [
        (b"MZ".to_vec(), "no PE32+ program"),
        (samples::program(5), "not one section .osrel"),
        (cut, "section .linux is not whole"),
        (other_machine, "another processor"),
        (image("ID=axion\n"), "no `VERSION_ID`"),
        (image("VERSION_ID=new\n"), "`new` is no version"),
    ];
    for (image, what) in table {
        let refused = told(&image, &signer.sign(&image), &[&signer.public()], "0.1.0").unwrap_err();
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn a_key_that_is_none_is_refused() {
    for text in ["", "RWQ", "nonsense", &Signer::new().public()[1..]] {
        assert!(Keys::read([text]).is_err(), "{text}");
    }
}

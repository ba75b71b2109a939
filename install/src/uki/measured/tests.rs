use super::super::samples::{kernel, program};
use super::super::{Parts, PcrPolicy, assemble};
use super::*;

fn image(policy: Option<&PcrPolicy>) -> Vec<u8> {
    let kernel = kernel();
    let parts = Parts {
        os_release: b"ID=axion\n",
        cmdline: "console=tty0",
        kernel: &kernel,
        initramfs: b"070701",
        policy,
    };
    assemble(&program(7), &parts).unwrap()
}

/// The register when these are measured one after the other.
fn register(sections: &[(&[u8], &[u8])]) -> [u8; 32] {
    sections.iter().fold([0; 32], |register, (name, content)| {
        [*name, *content].iter().fold(register, |register, event| {
            let both = [&register[..], &Sha256::digest(event)].concat();
            Sha256::digest(both).into()
        })
    })
}

#[test]
fn sections_are_measured_in_the_stubs_order_as_they_are_loaded() {
    // In memory the kernel is longer than in its file.
    let mut loaded = kernel();
    loaded.resize(0x2000, 0);
    let mut sections: Vec<(&[u8], &[u8])> = vec![
        (b".linux\0", &loaded),
        (b".osrel\0", b"ID=axion\n"),
        (b".cmdline\0", b"console=tty0"),
        (b".initrd\0", b"070701"),
        (b".uname\0", b"6.12.1"),
    ];
    assert_eq!(measured(&image(None)).unwrap(), register(&sections));

    let mut policy = PcrPolicy {
        key: "a key".to_owned(),
        signatures: String::new(),
    };
    sections.push((b".pcrpkey\0", b"a key"));
    assert_eq!(measured(&image(Some(&policy))).unwrap(), register(&sections));
    // What is said about the register does not change it.
    policy.signatures = "a signature".to_owned();
    let signed = image(Some(&policy));
    assert_eq!(measured(&signed).unwrap(), register(&sections));
    let find = |bytes: &[u8]| signed.windows(bytes.len()).any(|window| window == bytes);
    assert!(find(b".pcrsig\0") && find(b"a signature"));
}

#[test]
fn what_is_cut_off_or_no_image_is_refused() {
    let whole = image(None);
    assert!(measured(&whole[..whole.len() - 0x200]).is_err());
    assert!(measured(b"MZ").is_err());
}

use minisign::KeyPair;

use super::*;
use crate::fixture::{SCRIPT, edit, media, sources, tell};

#[test]
fn media_that_are_whole_are_served() {
    let dir = media();
    let files = Files::open(&sources(dir.path())).unwrap();
    assert_eq!(files.cmdline, "console=tty0");
    let (name, served) = files.get("vmlinuz").unwrap();
    assert_eq!((name, served.size, served.problem()), ("vmlinuz", 10_000, None));
    // What the machines do not need is not served, were it in the directory or not.
    for name in ["SHA256SUMS", "axion.ipxe", "../vmlinuz", "axion.iso"] {
        assert!(files.get(name).is_none(), "{name}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_purpose() {
    let dir = media();
    std::fs::remove_file(dir.path().join("vmlinuz")).unwrap();
    let error = Files::open(&sources(dir.path())).unwrap_err();
    assert!(
        error.to_string().ends_with("vmlinuz (the kernel) missing"),
        "{error}"
    );
    let dir = media();
    std::fs::remove_file(dir.path().join("undionly.kpxe")).unwrap();
    let error = Files::open(&sources(dir.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("undionly.kpxe (iPXE for BIOS) missing"),
        "{error}"
    );
    // Other iPXE programs may stand elsewhere, without sums.
    let other = media();
    let sources = Sources {
        ipxe: Some(other.path().to_owned()),
        ..sources(dir.path())
    };
    Files::open(&sources).unwrap();
    let signed = Sources {
        imgverify: true,
        ..sources
    };
    let error = Files::open(&signed).unwrap_err();
    assert!(error.to_string().contains("vmlinuz.sig"), "{error}");
}

#[test]
fn a_byte_that_differs_or_a_file_without_a_sum_is_refused() {
    let dir = media();
    std::fs::write(dir.path().join("initramfs.cpio"), "another root").unwrap();
    let error = Files::open(&sources(dir.path())).unwrap_err();
    assert!(error.hint().unwrap().contains("build them again"));
    assert!(matches!(error, Error::Sum(path) if path.ends_with("initramfs.cpio")));
    // Who wants to tell machines more is told how.
    let dir = media();
    let edited = SCRIPT.replace("vmlinuz ", "vmlinuz axion.mode=install ");
    std::fs::write(dir.path().join("axion.ipxe"), edited).unwrap();
    let error = Files::open(&sources(dir.path())).unwrap_err();
    assert!(error.to_string().contains("axion.ipxe"), "{error}");
    assert!(error.hint().unwrap().contains("--kernel-args axion.mode=install"));
    let dir = media();
    let sums = std::fs::read_to_string(dir.path().join(SUMS)).unwrap();
    let short: String = sums.lines().skip(1).map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.path().join(SUMS), short).unwrap();
    let error = Files::open(&sources(dir.path())).unwrap_err();
    assert!(matches!(error, Error::NoSum(path) if path.ends_with("vmlinuz")));
    std::fs::write(dir.path().join(SUMS), format!("{sums}hello\n")).unwrap();
    let error = Files::open(&sources(dir.path())).unwrap_err();
    assert!(matches!(error, Error::Sums { line: 7, .. }), "{error}");
}

#[test]
fn a_key_wants_its_signature_over_the_sums() {
    let dir = media();
    let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().unwrap();
    let key = dir.path().join("key.pub");
    std::fs::write(&key, pk.to_box().unwrap().to_string()).unwrap();
    let sources = Sources {
        key: Some(key.clone()),
        ..sources(dir.path())
    };
    assert!(Files::open(&sources).unwrap_err().to_string().contains(SIGNATURE));
    let sums = std::fs::read(dir.path().join(SUMS)).unwrap();
    let sign = |what: &[u8]| {
        let signature = minisign::sign(None, &sk, what, None, None).unwrap();
        std::fs::write(dir.path().join(SIGNATURE), signature.to_string()).unwrap();
    };
    sign(&sums);
    Files::open(&sources).unwrap();
    sign(b"other sums");
    let error = Files::open(&sources).unwrap_err();
    assert!(error.to_string().contains("is not signed by that key"), "{error}");
    std::fs::write(&key, "hello").unwrap();
    let error = Files::open(&sources).unwrap_err();
    assert!(error.to_string().contains("no public key"), "{error}");
}

#[test]
fn a_file_that_is_replaced_is_served_as_checked_and_one_that_is_written_over_is_not_served() {
    let dir = media();
    let files = Files::open(&sources(dir.path())).unwrap();
    std::fs::remove_file(dir.path().join("vmlinuz")).unwrap();
    std::fs::write(dir.path().join("vmlinuz"), "new").unwrap();
    assert_eq!(files.get("vmlinuz").unwrap().1.problem(), None);
    std::fs::write(dir.path().join("axion.efi"), "changed").unwrap();
    let problem = files.get("axion.efi").unwrap().1.problem().unwrap();
    assert!(problem.contains("was changed"), "{problem}");
}

#[test]
fn the_script_says_what_the_kernel_is_told() {
    assert_eq!(cmdline(SCRIPT).as_deref(), Some("console=tty0"));
    assert_eq!(
        cmdline("kernel vmlinuz initrd=initramfs.cpio").as_deref(),
        Some("")
    );
    assert_eq!(cmdline("#!ipxe\nboot\n"), None);
    let media = include_str!("../../../image/axion.ipxe");
    assert_eq!(cmdline(media).as_deref(), Some("@CMDLINE@"));
}

#[test]
fn media_that_are_signed_say_so_and_what_they_tell_the_kernel() {
    let dir = media();
    let files = Files::open(&sources(dir.path())).unwrap();
    assert!(!files.signed && !files.names_config());
    let chain = format!(
        "\n{}axion.efi console=tty0 ||\nkernel vmlinuz ",
        loader::IPXE_CHAIN
    );
    edit(dir.path(), &SCRIPT.replace("\nkernel vmlinuz ", &chain));
    let files = Files::open(&sources(dir.path())).unwrap();
    assert!(files.signed && !files.names_config());
    assert_eq!(files.cmdline, "console=tty0");
    tell(dir.path(), "axion.config=http://10.0.0.1/x.toml");
    assert!(Files::open(&sources(dir.path())).unwrap().names_config());
}

#[test]
fn a_single_medium_is_checked_against_the_list_beside_it() {
    let dir = media();
    let medium = dir.path().join("axion.efi");
    assert!(check_medium(&medium, None).unwrap());
    std::fs::write(&medium, "other").unwrap();
    assert!(matches!(check_medium(&medium, None), Err(Error::Sum(_))));
    let stranger = dir.path().join("other.img");
    std::fs::write(&stranger, "x").unwrap();
    assert!(matches!(check_medium(&stranger, None), Err(Error::NoSum(_))));
    std::fs::remove_file(dir.path().join(SUMS)).unwrap();
    assert!(!check_medium(&stranger, None).unwrap());
    assert!(check_medium(&stranger, Some(&medium)).is_err());
}

#[test]
fn an_image_is_served_whole_and_in_its_parts() {
    let dir = media();
    let (kernel, initramfs) = (b"the kernel".repeat(100), b"the root".repeat(300_000));
    let image = [b"headers".as_slice(), &kernel, b"between", &initramfs].concat();
    let path = dir.path().join("image");
    std::fs::write(&path, &image).unwrap();
    let held = Held {
        image: path.clone(),
        sha256: Sha256::digest(&image).into(),
        kernel: Part {
            start: 7,
            length: 1000,
        },
        initramfs: Part {
            start: 1014,
            length: 2_400_000,
        },
        cmdline: "console=tty0 axion.config=http://c/${mac}.toml".to_owned(),
        ipxe: dir.path().to_owned(),
    };
    let files = Files::hold(&held).unwrap();
    assert_eq!(
        files.cmdline,
        "console=tty0 axion.config=http://c/${netX/mac:hexhyp}.toml"
    );
    let content = |name: &str| {
        let (_, served) = files.get(name).unwrap();
        let mut bytes = vec![0; usize::try_from(served.size).unwrap()];
        served.read(&mut bytes, 0).unwrap();
        assert!(served.read(&mut [0; 2], served.size - 1).is_err() || name != UKI);
        bytes
    };
    assert_eq!(content(KERNEL), kernel);
    assert_eq!(content(INITRAMFS), initramfs);
    assert_eq!(content(UKI), image);
    assert_eq!(content(BIOS_LOADER).len(), 1468 * 40);
    let facts = files.facts();
    let sum = |name| facts.iter().find(|file| file.name == name).unwrap().sha256;
    assert_eq!(sum(INITRAMFS), <[u8; 32]>::from(Sha256::digest(&initramfs)));
    assert_eq!(facts.len(), 5);

    let beyond = Held {
        initramfs: Part {
            start: 1015,
            length: 2_400_000,
        },
        ..held.clone()
    };
    assert!(matches!(Files::hold(&beyond).unwrap_err(), Error::Sum(at) if at == path));
    let other = Held {
        sha256: [1; 32],
        ..held.clone()
    };
    assert!(matches!(Files::hold(&other).unwrap_err(), Error::Sum(at) if at == path));
    std::fs::write(dir.path().join("snponly.efi"), "another").unwrap();
    assert!(matches!(Files::hold(&held).unwrap_err(), Error::Sum(at) if at.ends_with("snponly.efi")));
}

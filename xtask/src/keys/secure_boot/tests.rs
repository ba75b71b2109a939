use super::*;

fn options(directory: &Path) -> Options {
    Options {
        directory: Some(directory.to_owned()),
        owner: "Example 1".to_owned(),
        trust: Vec::new(),
    }
}

#[test]
#[ignore = "runs efitools"]
fn firmware_gets_three_signed_changes_and_only_the_owner_reads_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    make(&options(&keys)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    let mut names: Vec<_> = fs::read_dir(&keys)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let wanted = KINDS.map(|(name, _)| ["auth", "cer", "crt", "esl", "key"].map(|e| format!("{name}.{e}")));
    let mut wanted = wanted.concat();
    wanted.extend(PCR_KEY.map(str::to_owned));
    wanted.sort();
    assert_eq!(names, wanted);
    for (name, _) in KINDS {
        assert_eq!(mode(&keys.join(format!("{name}.key"))), 0o600, "{name}");
        // EFI_VARIABLE_AUTHENTICATION_2 ends with the list that it is about.
        let read = |extension| fs::read(keys.join(format!("{name}.{extension}"))).unwrap();
        let (change, list, certificate) = (read("auth"), read("esl"), read("cer"));
        assert!(change.ends_with(&list), "{name}");
        assert!(list.ends_with(&certificate), "{name}");
    }
    assert_eq!(mode(&keys.join("pcr.key")), 0o600);
    let vouches = fs::read_to_string(keys.join("pcr.pub")).unwrap();
    assert!(axion_tpm::Signer::from_pem(&vouches).is_ok(), "{vouches}");
    let subject = output(
        Command::new("openssl")
            .args(["x509", "-noout", "-subject", "-in"])
            .arg(keys.join("db.crt")),
    );
    assert!(subject.unwrap().contains("Example 1 Secure Boot db"));

    let error = make(&options(&keys)).unwrap_err().to_string();
    assert!(error.contains("exists; name another"), "{error}");

    // The list of what may start has both, ours first.
    let more = dir.path().join("more");
    let trusting = Options {
        trust: vec![keys.join("db.crt")],
        ..options(&more)
    };
    make(&trusting).unwrap();
    let list = fs::read(more.join("db.esl")).unwrap();
    assert!(list.ends_with(&fs::read(keys.join("db.cer")).unwrap()));
    assert!(list.len() > fs::read(keys.join("db.esl")).unwrap().len() * 3 / 2);
    let trusting = Options {
        trust: vec![keys.join("db.esl")],
        ..options(&dir.path().join("none"))
    };
    let error = make(&trusting).unwrap_err().to_string();
    assert!(error.contains("no certificate in PEM"), "{error}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "something is left behind"
    );
}

#[test]
fn an_owner_is_a_plain_name() {
    for bad in ["", "  ", "a/CN=b", "$x", "a\nb", &"x".repeat(41)] {
        assert!(check_owner(bad).is_err(), "{bad}");
    }
    check_owner("Example HPC-Centre 1.0").unwrap();
}

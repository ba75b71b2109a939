use super::*;

const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4a4d32";

#[test]
fn the_best_name_that_there_is_counts() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = Nodes::open(dir.path()).unwrap();
    let machine = Identity::new(
        Some(&UUID.to_uppercase()),
        Some("AX 17/3"),
        Some("52:54:00:12:34:56"),
    );
    assert_eq!(nodes.find(&machine), None);
    for name in ["default", "52-54-00-12-34-56", "AX-17-3", UUID] {
        let name = format!("{name}.toml");
        std::fs::write(dir.path().join(&name), "hostname = \"hpc-${serial}\"\n").unwrap();
        assert_eq!(nodes.find(&machine), Some(name));
    }
    assert_eq!(nodes.find(&Identity::default()).as_deref(), Some("default.toml"));
    assert!(nodes.read("default.toml").unwrap().contains("${serial}"));
    Nodes::open(dir.path()).unwrap();
}

#[test]
fn a_node_asks_as_ipxe_does() {
    // A UKI with `axion.config=http://…/config.toml?mac=${mac}` in it, which init fills in.
    let by = |mac| Identity::new(None, None, Some(mac));
    assert_eq!(by("52-54-00-12-34-56"), by("52:54:00:12:34:56"));
    assert_eq!(
        by("52-54-00-12-34-56").names(),
        ["52-54-00-12-34-56.toml", "default.toml"]
    );
}

#[test]
fn values_that_could_break_out_are_none() {
    let machine = Identity::new(Some("../../etc"), Some("../../etc/passwd"), Some("nonsense"));
    assert_eq!(machine.uuid, None);
    assert_eq!(machine.mac, None);
    assert_eq!(machine.names(), ["..-..-etc-passwd.toml", "default.toml"]);
    let zeros = "00000000-0000-0000-0000-000000000000";
    assert_eq!(Identity::new(Some(zeros), Some("  "), None), Identity::default());
}

#[test]
fn mistakes_are_found_before_a_machine_asks() {
    let refuse = |name: &str, text: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        Nodes::open(dir.path()).unwrap_err().to_string()
    };
    let error = refuse("default.toml", "\nhostnam = \"x\"\n");
    assert!(error.contains("default.toml") && error.contains('2'), "{error}");
    // Names that no machine would ask for.
    for name in [
        "my node.toml",
        "52-54-00-AB-34-56.toml",
        "4C4C4544-0042-3510-8052-B4C04F4A4D32.toml",
    ] {
        let error = refuse(name, "");
        assert!(error.contains("small letters"), "{error}");
    }
    assert!(Nodes::open(Path::new("/no/such/directory")).is_err());
}

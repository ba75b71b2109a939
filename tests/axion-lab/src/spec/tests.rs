use super::*;

#[test]
fn the_config_travels_inline_with_the_tokens_hash() {
    let spec = Spec::new("m")
        .config_with_token("hostname = \"lab\"\n")
        .kernel_arg("nosmt");
    let line = spec.kernel_command_line();
    let encoded = line
        .split(' ')
        .find_map(|arg| arg.strip_prefix("axion.config=inline:"))
        .unwrap();
    let config = String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    assert!(
        config.contains(&spec.token.hash()) && config.contains("hostname = \"lab\""),
        "{config}"
    );
    assert!(!line.contains(spec.token.as_str()), "{line}");
    assert!(
        line.starts_with("console=ttyS1 axion.log=ttyS1 ") && line.ends_with(" nosmt"),
        "{line}"
    );
}

#[test]
fn impossible_machines_are_refused() {
    assert_eq!(Spec::new("fine-1").problem(), None);
    assert!(Spec::new("a/b").problem().unwrap().contains("a-z"));
    assert!(Spec::new("m").cpus(3, 2).problem().unwrap().contains("3 CPUs"));
    assert!(
        Spec::new("m")
            .config("#".repeat(2000))
            .problem()
            .unwrap()
            .contains("command line")
    );
}

#[test]
fn a_medium_brings_its_own_command_line_and_initramfs() {
    let spec = || Spec::new("m").boot_from(Firmware::Uefi, Drive::CdRom, "/m.iso");
    assert_eq!(spec().config_volume("").problem(), None);
    for impossible in [
        spec().config(""),
        spec().kernel_arg("quiet"),
        spec().initramfs("/i"),
    ] {
        assert!(impossible.problem().unwrap().contains("volume"));
    }
    let spec = Spec::new("m").boot_from_network("/tftp");
    assert_eq!(spec.problem(), None);
    let lonely = spec.network(Network::None);
    assert!(lonely.problem().unwrap().contains("network"));
}

#[test]
fn the_config_for_a_medium_names_the_log_line_and_the_tokens_hash() {
    let spec = Spec::new("m");
    let config = spec.medium_config("hostname = \"lab\"\n");
    let parsed = config.lines().collect::<Vec<_>>();
    assert_eq!(
        parsed,
        [
            format!("api.token_hashes = [\"{}\"]", spec.token.hash()).as_str(),
            "console.log = \"ttyS1\"",
            "hostname = \"lab\"",
        ]
    );
}

use clap::Parser;

use super::*;
use crate::args::{Cli, Command as Any};

fn serve(line: &str) -> Result<Serve, clap::Error> {
    let words = ["axctl", "netboot", "serve", "media"]
        .into_iter()
        .chain(line.split_whitespace());
    match Cli::try_parse_from(words)?.command {
        Any::Netboot(Command::Serve(serve)) => Ok(*serve),
        other => panic!("{other:?}"),
    }
}

#[test]
fn uefi_loads_ipxe_where_there_is_something_to_be_told() {
    let table = [
        ("", UefiLoader::Best),
        ("--dhcp-range 10.0.0.2-10.0.0.9", UefiLoader::Best),
        ("--configs nodes", UefiLoader::Ipxe),
        ("--kernel-args quiet", UefiLoader::Ipxe),
        ("--imgverify", UefiLoader::Ipxe),
        ("--uki", UefiLoader::Uki),
        ("--uki --configs nodes", UefiLoader::Uki),
    ];
    for (line, wanted) in table {
        assert_eq!(serve(line).unwrap().uefi(), wanted, "{line}");
    }
    for line in [
        "--uki --kernel-args quiet",
        "--dhcp-range 10.0.0.9-10.0.0.2",
        "--router 10.0.0.254",
        "--dns 10.0.0.53",
        "--http-port 0",
        "--tls-cert a.crt",
        "--tls-key a.key",
        "--tls-name boot.example.org",
    ] {
        assert!(serve(line).is_err(), "{line}");
    }
}

#[test]
fn configs_of_a_node_s_machines_are_named() {
    let config = |line: &str| {
        let words = ["axctl", "netboot", "config"]
            .into_iter()
            .chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command)
    };
    let put = config("put default -").unwrap();
    assert!(
        matches!(&put, Any::Netboot(Command::Config(ConfigCommand::Put { name, file }))
            if name == "default" && file.as_os_str() == "-"),
        "{put:?}"
    );
    assert!(config("put default").is_err() && config("rm").is_err());
    assert!(Cli::try_parse_from(["axctl", "netboot", "status"]).is_ok());
}

#[test]
fn a_lone_dhcp_server_may_say_more_of_its_network() {
    let told = serve("--dhcp-range 10.0.0.2-10.0.0.9 --router 10.0.0.254 --dns 10.0.0.53,10.9.0.53").unwrap();
    assert_eq!(told.router, Some(Ipv4Addr::new(10, 0, 0, 254)));
    assert_eq!(
        told.dns,
        [Ipv4Addr::new(10, 0, 0, 53), Ipv4Addr::new(10, 9, 0, 53)]
    );
}

#[test]
fn what_is_not_checked_is_said() {
    let place = interface::Place {
        interface: "eth0".to_owned(),
        address: [10, 0, 0, 1].into(),
        mask: [255, 255, 255, 0].into(),
    };
    let words = introduction(&serve("").unwrap(), &place, None);
    assert!(
        words.contains("on eth0 (10.0.0.1, HTTP port 8069) beside the site's DHCP server"),
        "{words}"
    );
    assert!(words.contains("not checked without --key"), "{words}");
    let words = introduction(
        &serve("--key k.pub --dhcp-range 10.0.0.2-10.0.0.9").unwrap(),
        &place,
        None,
    );
    assert!(
        words.contains("lending 10.0.0.2-10.0.0.9") && words.contains("signed by k.pub"),
        "{words}"
    );
}

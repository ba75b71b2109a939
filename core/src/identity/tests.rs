//! The order of preference, and what is not to be believed.

use super::*;
use crate::fixture;

const BOOT_ID: &str = "0b6f0f9e-5a40-4f0e-8a55-d2b0e1c7a001\n";
const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4d4d32";

fn facts(uuid: Option<&str>, mac: Option<&str>) -> Facts {
    Facts {
        uuid: uuid.map(str::to_owned),
        mac: mac.map(str::to_owned),
        ..Facts::default()
    }
}

#[test]
fn the_most_lasting_source_is_taken() {
    let both = facts(Some(UUID), Some("52:54:00:12:34:56"));
    let stored = MachineId::decide(Some("00112233445566778899AABBCCDDEEFF\n"), &both, BOOT_ID);
    assert_eq!(
        (stored.as_str(), stored.origin()),
        ("00112233445566778899aabbccddeeff", Origin::Stored)
    );

    let smbios = MachineId::decide(Some("torn wri"), &both, BOOT_ID);
    assert_eq!(
        (smbios.as_str(), smbios.origin()),
        ("4c4c4544004235108052b4c04f4d4d32", Origin::Smbios)
    );
    assert_eq!(smbios.default_hostname(), "axion-4c4c4544");

    // Fixed for ever: nodes in the field keep their identity over upgrades.
    let mac = MachineId::decide(None, &facts(None, Some("52:54:00:12:34:56")), BOOT_ID);
    assert_eq!(
        (mac.as_str(), mac.origin()),
        ("be5743e66f0de414cbf13d7edd42bb0a", Origin::Mac)
    );
    assert!(mac.is_stable());

    let random = MachineId::decide(None, &facts(None, None), BOOT_ID);
    assert_eq!(
        (random.as_str(), random.is_stable()),
        ("0b6f0f9e5a404f0e8a55d2b0e1c7a001", false)
    );
}

#[test]
fn placeholders_of_firmware_are_not_believed() {
    for shared in [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE",
        "03000200-0400-0500-0006-000700080009",
        "Not Settable",
    ] {
        assert!(!is_real_uuid(shared), "{shared}");
    }
    assert!(is_real_uuid(UUID));
    for blank in [
        "",
        "0",
        "Default string",
        "To be filled by O.E.M.",
        "........",
        "0123456789",
    ] {
        assert!(!is_real_serial(blank), "{blank}");
    }
    assert!(is_real_serial("CZ1234567Q"));
}

#[test]
fn facts_are_read_from_sysfs() {
    let root = fixture::root(
        "sys/class/dmi/id/product_uuid = 4C4C4544-0042-3510-8052-B4C04F4D4D32
         sys/class/dmi/id/product_serial = SN-7 /42
         sys/devices/pci/eth1/device/vendor = 0x8086
         sys/class/net/lo/address = 00:00:00:00:00:00
         sys/class/net/eth1/address = 52:54:00:AA:00:02
         sys/class/net/eth1/addr_assign_type = 0
         sys/class/net/eth1/device -> ../../../devices/pci/eth1/device
         sys/class/net/eth0/address = 02:00:00:00:00:01
         sys/class/net/eth0/addr_assign_type = 1
         sys/class/net/eth0/device -> ../../../devices/pci/eth1/device",
    );
    let facts = Facts::read(root.path());
    assert_eq!(facts.uuid.as_deref(), Some(UUID));
    assert_eq!(facts.serial.as_deref(), Some("SN-7 /42"));
    // eth0's address is lower, but random.
    assert_eq!(facts.mac.as_deref(), Some("52:54:00:aa:00:02"));
    assert_eq!(Facts::read(&root.path().join("none")), Facts::default());
}

#[test]
fn templates_are_filled_in() {
    let facts = Facts {
        serial: Some("SN-7 /42".to_owned()),
        mac: Some("52:54:00:12:34:56".to_owned()),
        hostname: Some("n1".to_owned()),
        uuid: None,
    };
    let fill = |template| substitute(template, &facts).map_err(|e| e.to_string());
    assert_eq!(
        fill("http://c/${hostname}/${mac}.toml?$x").unwrap(),
        "http://c/n1/52-54-00-12-34-56.toml?$x"
    );
    assert_eq!(fill("${serial}").unwrap(), "SN-7--42");
    assert_eq!(
        fill("${uuid}").unwrap_err(),
        "this machine has no usable SMBIOS UUID for `${uuid}`"
    );
    assert_eq!(fill("a${mac").unwrap_err(), "`${` without a `}` after it");
    assert_eq!(
        fill("${arch}").unwrap_err(),
        "`${arch}` is not known; allowed are `${serial}`, `${uuid}`, `${mac}` and, in URLs, `${hostname}`"
    );
    let id = MachineId::decide(None, &facts, BOOT_ID);
    assert_eq!(hostname("HPC-${serial}", &facts, &id).unwrap(), "hpc-sn-7--42");
    assert_eq!(hostname("", &facts, &id).unwrap(), id.default_hostname());
    assert!(hostname("${hostname}", &facts, &id).is_err());
}

use axion_core::topology::{Disk, PciDevice, Sriov, Topology};

use super::*;

const SCREEN: Style = Style {
    width: Some(80),
    colour: false,
};

fn devices() -> Vec<Device> {
    let function = |address: &str, class, driver: &str| PciDevice {
        address: address.to_owned(),
        vendor: 0x8086,
        device: 0x1521,
        class,
        driver: Some(driver.to_owned()),
        node: Some(1),
        iommu_group: Some(14),
        ..PciDevice::default()
    };
    let pci = vec![
        PciDevice {
            link: Some(PciLink {
                speed_mts: 8000,
                width: 4,
                max_speed_mts: 16_000,
                max_width: 4,
            }),
            sriov: Some(Sriov { total: 7, enabled: 2 }),
            acs: Some(Acs {
                capable: 0x5f,
                enabled: 0x1d,
            }),
            ..function("0000:01:00.0", 0x02_0000, "igb")
        },
        PciDevice {
            physical_function: Some("0000:01:00.0".to_owned()),
            reset_methods: vec!["flr".to_owned()],
            ..function("0000:01:10.0", 0x02_0000, "vfio-pci")
        },
        PciDevice {
            iommu_group: None,
            ..function("0000:02:00.0", 0x01_0802, "nvme")
        },
    ];
    let disks = vec![Disk {
        name: "nvme0n1".to_owned(),
        pci: Some("0000:02:00.0".to_owned()),
        ..Disk::default()
    }];
    Device::all(&Topology {
        pci,
        disks,
        ..Topology::default()
    })
}

#[test]
fn the_list_fits_eighty_columns() {
    let text = list(&devices(), &SCREEN);
    for line in text.lines() {
        assert!(console::measure_text_width(line) <= 80, "{line}\n{text}");
    }
    for part in [
        "0000:01:10.0",
        "8086:1521",
        "vfio-pci",
        "x4 8.0",
        "2/7",
        "nvme0n1",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn one_function_says_what_giving_it_away_takes() {
    let devices = devices();
    let [card, function, disk] = devices.as_slice() else {
        panic!("{devices:?}")
    };
    let text = show(card, &SCREEN);
    for part in [
        "Class              Ethernet controller (020000)",
        "Goes with          0000:01:10.0",
        "Link               x4 8.0 GT/s, of x4 16.0 GT/s",
        "Virtual functions  2 of 7",
        "Resets             none: what a VM leaves in it stays",
        "Access control     on: what is behind it reaches the IOMMU only",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let text = show(function, &SCREEN);
    assert!(text.contains("Function of        0000:01:00.0") && text.contains("Resets             flr"));
    let text = show(disk, &SCREEN);
    assert!(
        text.contains("Carries            nvme0n1") && text.contains("Goes with          -"),
        "{text}"
    );
}

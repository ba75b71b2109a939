//! Fake machines: two sockets with everything, and one with next to nothing.

use proptest::prelude::*;

use super::*;
use crate::fixture;

const TWO_SOCKETS: &str = r"
    proc/cpuinfo = processor : 0\nvendor_id : AuthenticAMD\nmodel name : AMD EPYC 9654\nflags : fpu svm pdpe1gb\n\nvendor_id : X
    sys/devices/system/cpu/online = 0-2
    sys/devices/system/cpu/isolated = 2-3
    sys/devices/system/cpu/cpufreq/x = 1
    sys/devices/system/cpu/smt/control = on
    sys/devices/system/cpu/cpu0/cpufreq/scaling_driver = acpi-cpufreq
    sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors = performance schedutil
    sys/firmware/acpi/tables/IVRS = x
    sys/devices/system/cpu/cpu0/topology/physical_package_id = 0
    sys/devices/system/cpu/cpu0/topology/core_id = 0
    sys/devices/system/cpu/cpu0/topology/thread_siblings_list = 0-1
    sys/devices/system/cpu/cpu0/cache/index0/level = 1
    sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list = 0-1
    sys/devices/system/cpu/cpu0/cache/index3/level = 3
    sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list = 0-2
    sys/devices/system/cpu/cpu1/topology/physical_package_id = 0
    sys/devices/system/cpu/cpu10/topology/physical_package_id = 1
    sys/devices/system/cpu/cpu2/topology/physical_package_id = 1
    sys/devices/system/cpu/cpu2/topology/core_id = 7
    sys/devices/system/node/node0/cpulist = 0-1
    sys/devices/system/node/node0/meminfo = Node 0 MemTotal:       3000 kB\nNode 0 MemFree:        1000 kB
    sys/devices/system/node/node0/distance = 10 21
    sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages = 64
    sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages = 60
    sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages = 1
    sys/devices/system/node/node0/hugepages/hugepages-1048576kB/free_hugepages = 0
    sys/devices/system/node/node1/cpulist = 2,10
    sys/devices/system/node/node1/meminfo = Node 1 MemTotal:       4000 kB\nNode 1 MemFree:        4000 kB
    sys/devices/system/node/node1/distance = 21 10
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/vendor = 0x8086
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/device = 0x10c9
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/class = 0x020000
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/numa_node = 1
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/sriov_totalvfs = 7
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/sriov_numvfs = 2
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/driver -> ../../../../bus/pci/drivers/igb
    sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/iommu_group -> ../../../../kernel/iommu_groups/14
    sys/devices/pci0000:00/0000:00:02.0/vendor = 0x144d
    sys/devices/pci0000:00/0000:00:02.0/device = 0xa80a
    sys/devices/pci0000:00/0000:00:02.0/class = 0x010802
    sys/devices/pci0000:00/0000:00:02.0/numa_node = -1
    sys/devices/pci0000:00/0000:00:02.0/nvme/nvme0/serial = S4EV   
    sys/devices/pci0000:00/0000:00:02.0/nvme/nvme0/model = Samsung SSD
    sys/devices/pci0000:00/0000:00:03.0/vendor = 0x1af4
    sys/devices/pci0000:00/0000:00:03.0/device = 0x1000
    sys/devices/pci0000:00/0000:00:03.0/class = 0x020000
    sys/devices/pci0000:00/0000:00:03.0/virtio2/driver -> ../../../../bus/virtio/drivers/virtio_net
    sys/bus/pci/devices/0000:01:00.0 -> ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0
    sys/bus/pci/devices/0000:00:02.0 -> ../../../devices/pci0000:00/0000:00:02.0
    sys/bus/pci/devices/0000:00:03.0 -> ../../../devices/pci0000:00/0000:00:03.0
    sys/block/nvme0n1/device -> ../../devices/pci0000:00/0000:00:02.0/nvme/nvme0
    sys/block/nvme0n1/wwid = eui.0025385
    sys/block/nvme0n1/size = 2048
    sys/block/nvme0n1/queue/logical_block_size = 512
    sys/block/nvme0n1/queue/physical_block_size = 4096
    sys/block/nvme0n1/queue/rotational = 0
    sys/block/nvme0c0n1/device -> ../../devices/pci0000:00/0000:00:02.0/nvme/nvme0
    sys/block/nvme0c0n1/hidden = 1
    sys/block/loop0/size = 0
    sys/block/zd0/size = 100
    sys/block/zram0/size = 100
    sys/block/sr0/device -> ../../devices/pci0000:00/0000:00:02.0/nvme/nvme0
    sys/class/net/lo/mtu = 65536
    sys/class/net/eth0/device -> ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0
    sys/class/net/eth0/address = 52:54:00:12:34:56
    sys/class/net/eth0/carrier = 1
    sys/class/net/eth0/speed = 1000
    sys/class/net/eth0/mtu = 9000
    sys/class/net/eth1/device -> ../../../devices/pci0000:00/0000:00:03.0/virtio2
    sys/class/net/eth1/address = 52:54:00:12:34:57
    sys/class/net/eth1/speed = -1
    sys/class/net/eth1/mtu = 1500
";

#[test]
fn a_machine_with_two_sockets() {
    let root = fixture::root(TWO_SOCKETS);
    let machine = Topology::read(root.path());

    assert_eq!(machine.cpu_model.vendor, "AuthenticAMD");
    assert_eq!(machine.cpu_model.name, "AMD EPYC 9654");
    assert_eq!(machine.cpu_model.virtualization.as_deref(), Some("svm"));
    assert!(machine.cpu_model.gigabyte_pages);
    assert_eq!(machine.cpu_model.smt, SmtState::On);
    assert_eq!(
        machine.cpu_model.frequency_driver.as_deref(),
        Some("acpi-cpufreq")
    );
    assert_eq!(machine.cpu_model.governors, ["performance", "schedutil"]);
    assert_eq!(machine.iommu, Some(IommuKind::Amd));

    let table: Vec<String> = machine
        .cpus
        .iter()
        .map(|c| {
            let state = (
                if c.online { "on" } else { "off" },
                if c.isolated { "isolated" } else { "shared" },
            );
            let place = format!("socket {} core {} node {}", c.socket, c.core, c.node);
            format!(
                "{} {place} siblings {} llc {} {} {}",
                c.id, c.siblings, c.llc, state.0, state.1
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            "0 socket 0 core 0 node 0 siblings 0-1 llc 0-2 on shared",
            "1 socket 0 core 0 node 0 siblings 1 llc 1 on shared",
            "2 socket 1 core 7 node 1 siblings 2 llc 2 on isolated",
            "10 socket 1 core 0 node 1 siblings 10 llc 10 off shared",
        ]
    );

    let [near, far] = machine.nodes.as_slice() else {
        panic!("{:?}", machine.nodes)
    };
    assert_eq!((near.memory_total, near.memory_free), (3000 << 10, 1000 << 10));
    assert_eq!(near.distances, [10, 21]);
    assert_eq!(
        near.hugepages,
        [
            Hugepages {
                page_size: 2 << 20,
                total: 64,
                free: 60
            },
            Hugepages {
                page_size: 1 << 30,
                total: 1,
                free: 0
            },
        ]
    );
    assert_eq!((far.cpus.to_string().as_str(), far.hugepages.len()), ("2,10", 0));
}

#[test]
fn devices_know_where_they_hang() {
    let root = fixture::root(TWO_SOCKETS);
    let machine = Topology::read(root.path());

    let nic = machine.pci.iter().find(|f| f.address == "0000:01:00.0").unwrap();
    assert_eq!((nic.vendor, nic.device, nic.class), (0x8086, 0x10c9, 0x02_0000));
    assert_eq!(
        (nic.driver.as_deref(), nic.node, nic.iommu_group),
        (Some("igb"), Some(1), Some(14))
    );
    assert_eq!(nic.sriov, Some(Sriov { total: 7, enabled: 2 }));

    let [disk] = machine.disks.as_slice() else {
        panic!("{:?}", machine.disks)
    };
    let expected = Disk {
        name: "nvme0n1".to_owned(),
        kind: DiskKind::Nvme,
        wwid: Some("eui.0025385".to_owned()),
        serial: Some("S4EV".to_owned()),
        model: Some("Samsung SSD".to_owned()),
        size: 1 << 20,
        logical_sector: 512,
        physical_sector: 4096,
        pci: Some("0000:00:02.0".to_owned()),
        ..Disk::default()
    };
    assert_eq!(disk, &expected);

    let [eth0, eth1] = machine.nics.as_slice() else {
        panic!("{:?}", machine.nics)
    };
    assert_eq!(
        (eth0.driver.as_deref(), eth0.node, eth0.mtu),
        (Some("igb"), Some(1), 9000)
    );
    assert_eq!((eth0.carrier, eth0.speed_mbps), (Some(true), Some(1000)));
    assert_eq!(
        (eth1.driver.as_deref(), eth1.pci.as_deref()),
        (Some("virtio_net"), Some("0000:00:03.0"))
    );
    assert_eq!((eth1.carrier, eth1.speed_mbps, eth1.node), (None, None, None));
}

#[test]
fn a_machine_without_numa_is_node_0() {
    let root = fixture::root(
        r"sys/devices/system/cpu/online = 0-1
          sys/devices/system/cpu/cpu0
          sys/devices/system/cpu/cpu1
          sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages = 5
          sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages = 5
          proc/meminfo = MemTotal:  2048 kB\nMemFree:  1024 kB\nMemAvailable: 1500 kB",
    );
    let machine = Topology::read(root.path());
    let [only] = machine.nodes.as_slice() else {
        panic!("{:?}", machine.nodes)
    };
    assert_eq!(
        (only.id, only.cpus.to_string().as_str(), only.memory_total),
        (0, "0-1", 2 << 20)
    );
    assert_eq!(
        (only.hugepages.len(), only.distances.as_slice()),
        (1, [10].as_slice())
    );
    assert!(machine.cpus.iter().all(|c| c.online && c.node == 0));
}

#[test]
fn an_empty_root_is_an_inventory_with_holes() {
    let root = fixture::root("");
    let machine = Topology::read(root.path());
    assert!(machine.cpus.is_empty() && machine.pci.is_empty() && machine.nics.is_empty());
    assert_eq!(machine.nodes.len(), 1);
    assert_eq!(
        (machine.cpu_model.smt, machine.iommu),
        (SmtState::Unsupported, None)
    );
}

#[test]
fn the_machine_that_runs_the_test_can_be_read() {
    let machine = Topology::read(std::path::Path::new("/"));
    assert!(machine.cpus.iter().any(|c| c.online));
    assert!(machine.nodes.iter().any(|n| n.memory_total > 0));
}

#[test]
fn what_is_no_cpu_list_says_so() {
    for text in ["a", "3-1", "1-", "-", "0-99999"] {
        assert_eq!(
            text.parse::<CpuSet>().unwrap_err().to_string(),
            format!("`{text}` is not a CPU list; allowed are numbers and ranges, as in `0-3,8`")
        );
    }
    assert!("\n".parse::<CpuSet>().unwrap().is_empty());
}

#[test]
fn masks_are_written_as_the_kernel_does() {
    for (list, mask) in [
        ("", "0"),
        ("0,2", "5"),
        ("0-35", "f,ffffffff"),
        ("64", "1,00000000,00000000"),
    ] {
        assert_eq!(list.parse::<CpuSet>().unwrap().mask(), mask);
    }
    assert_eq!(CpuSet::from_mask("0000000f\n").unwrap().to_string(), "0-3");
    assert_eq!(CpuSet::from_mask("x"), None);
}

proptest! {
    #[test]
    fn cpu_lists_round_trip(cpus in prop::collection::btree_set(0u32..4096, 0..40)) {
        let set: CpuSet = cpus.into_iter().collect();
        prop_assert_eq!(set.to_string().parse(), Ok(set.clone()));
        prop_assert_eq!(CpuSet::from_mask(&set.mask()), Some(set));
    }
}

#[test]
fn a_pci_function_tells_its_link_resets_and_parent() {
    let root = fixture::root(
        r"sys/bus/pci/devices/0000:01:00.0/vendor = 0x8086
          sys/bus/pci/devices/0000:01:00.0/device = 0x1521
          sys/bus/pci/devices/0000:01:00.0/current_link_speed = 2.5 GT/s PCIe
          sys/bus/pci/devices/0000:01:00.0/max_link_speed = 16.0 GT/s PCIe
          sys/bus/pci/devices/0000:01:00.0/current_link_width = 4
          sys/bus/pci/devices/0000:01:00.0/max_link_width = 4
          sys/bus/pci/devices/0000:01:00.0/reset_method = flr bus
          sys/bus/pci/devices/0000:01:10.0/vendor = 0x8086
          sys/bus/pci/devices/0000:01:10.0/device = 0x1520
          sys/bus/pci/devices/0000:01:10.0/physfn -> ../0000:01:00.0
          sys/bus/pci/devices/0000:01:10.0/current_link_speed = Unknown
          sys/bus/pci/devices/0000:01:10.0/max_link_speed = Unknown
          sys/bus/pci/devices/0000:01:10.0/current_link_width = 0
          sys/bus/pci/devices/0000:01:10.0/max_link_width = 255
          run/axion/acs = 0000:01:00.0 31 29\nnonsense",
    );
    let machine = Topology::read(root.path());
    let [physical, virtual_] = machine.pci.as_slice() else {
        panic!("{:?}", machine.pci)
    };
    let link = PciLink {
        speed_mts: 2500,
        width: 4,
        max_speed_mts: 16_000,
        max_width: 4,
    };
    assert_eq!(physical.link, Some(link));
    assert!(link.is_reduced());
    assert_eq!(physical.reset_methods, ["flr", "bus"]);
    assert!(physical.acs.unwrap().isolates());
    assert_eq!((virtual_.link, virtual_.acs), (None, None));
    assert_eq!(virtual_.physical_function.as_deref(), Some("0000:01:00.0"));
}

#[test]
fn access_control_is_found_in_the_configuration_space() {
    let config = |capabilities: &[(usize, u32, u32)]| {
        let mut config = vec![0_u8; 4096];
        for (at, header, word) in capabilities {
            config[*at..at + 4].copy_from_slice(&header.to_le_bytes());
            config[at + 4..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        config
    };
    let found = Acs {
        capable: 0x5f,
        enabled: 0x1d,
    };
    let (aer, acs) = (0x0001_u32 | 1 << 16, 0x000d_u32 | 1 << 16);
    let behind = config(&[(0x100, aer | 0x148 << 20, 0), (0x148, acs, 0x001d_005f)]);
    for (what, config, expected) in [
        ("first", config(&[(0x100, acs, 0x001d_005f)]), Some(found)),
        ("behind another", behind.clone(), Some(found)),
        ("none", config(&[(0x100, aer, 0)]), None),
        ("no extended space", config(&[]), None),
        ("absent", vec![0xff; 4096], None),
        ("a loop", config(&[(0x100, aer | 0x100 << 20, 0)]), None),
        ("out of the space", config(&[(0x100, aer | 0xffc << 20, 0)]), None),
        ("what everyone may read", behind[..64].to_vec(), None),
    ] {
        assert_eq!(Acs::of_config_space(&config), expected, "{what}");
    }
    let root = fixture::root("");
    let device = root.path().join("sys/bus/pci/devices/0000:00:01.0");
    std::fs::create_dir_all(&device).unwrap();
    std::fs::write(device.join("config"), behind).unwrap();
    let read = read_acs(root.path());
    assert_eq!(write_acs(&read), "0000:00:01.0 95 29\n");
}

#[test]
fn classes_have_names() {
    for (class, name) in [
        (0x01_0802, "NVMe controller"),
        (0x02_0000, "Ethernet controller"),
        (0x03_0200, "3D controller"),
        (0x06_0400, "PCI bridge"),
        (0x06_8000, "bridge"),
        (0xff_0000, "device"),
    ] {
        assert_eq!(class_name(class), name);
    }
}

#[test]
fn a_disk_on_usb_can_be_unplugged_whatever_it_says() {
    let root = fixture::root(
        "
    sys/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/model = Enclosure
    sys/block/sda/device -> ../../devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0
    sys/block/sda/removable = 0
    sys/block/sda/size = 2048
    sys/devices/pci0000:00/0000:00:15.0/usbfake/model = Built in
    sys/block/sdb/device -> ../../devices/pci0000:00/0000:00:15.0/usbfake
    sys/block/sdb/removable = 0
    sys/block/sdb/size = 2048
",
    );
    let disks = Topology::read(root.path()).disks;
    let removable = disks.iter().map(|disk| (disk.name.as_str(), disk.removable));
    assert_eq!(removable.collect::<Vec<_>>(), [("sda", true), ("sdb", false)]);
}

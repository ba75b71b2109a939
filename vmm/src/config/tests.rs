use axion_api::vm::HugepageSize;
use axion_api::vmm::{BootConfig, NetConfig};
use proptest::prelude::*;

use axion_api::vmm::DiskConfig;

use super::devices::default_queues;
use super::*;

pub(super) fn config() -> VmmConfig {
    VmmConfig {
        name: "hello".to_owned(),
        cpus: 1,
        cpu_model: Default::default(),
        memory: MemoryConfig {
            size: 128 << 20,
            ..Default::default()
        },
        boot: BootConfig {
            kernel: "/k".to_owned(),
            initrd: None,
            cmdline: String::new(),
        },
        disks: Vec::new(),
        nets: Vec::new(),
        vsock: None,
        balloon: None,
        console: Default::default(),
        topology: None,
        placement: Default::default(),
        dedicated: false,
        sandbox: SandboxMode::Enforce,
    }
}

fn refused(change: impl FnOnce(&mut VmmConfig)) -> String {
    let mut config = config();
    change(&mut config);
    check(&config).unwrap_err().to_string()
}

#[test]
fn good_config_passes() {
    check(&config()).unwrap();
}

#[test]
fn memory_to_come_is_whole_blocks_of_one_node() {
    let mut good = config();
    good.memory.max = Some(192 << 20);
    check(&good).unwrap();
    for max in [0, 128 << 20, (128 << 20) + 4096] {
        let error = refused(|c| c.memory.max = Some(max));
        assert!(
            error.starts_with(&format!(
                "memory.max: {max} is not allowed; memory.size and a multiple of"
            )),
            "{error}"
        );
    }
    let error = refused(|c| {
        c.memory.max = Some(192 << 20);
        c.memory.nodes = vec![Default::default(); 2];
    });
    assert!(error.contains("one NUMA node"), "{error}");
}

#[test]
fn config_of_an_earlier_version_is_still_one() {
    let text = r#"{"name":"hello","cpus":1,"memory":{"size":134217728},"boot":{"kernel":"/k","cmdline":""}}"#;
    assert_eq!(serde_json::from_str::<VmmConfig>(text).unwrap(), config());
}

#[test]
fn errors_name_field_value_and_range() {
    assert_eq!(refused(|c| c.cpus = 0), "cpus: 0 is not allowed; 1 to 1024");
    assert_eq!(
        refused(|c| c.memory.size = 33 << 20 | 1),
        "memory.size: 34603009 is not allowed; at least 33554432 bytes, and a multiple of the page size 4096"
    );
    assert!(
        refused(|c| c.memory = MemoryConfig {
            size: 33 << 20,
            hugepages: HugepageSize::TwoMiB,
            ..Default::default()
        })
        .contains("2097152")
    );
    assert_eq!(
        refused(|c| c.boot.kernel = "k".to_owned()),
        "boot.kernel: \"k\" is not allowed; an absolute path"
    );
    assert!(refused(|c| c.boot.initrd = Some(String::new())).starts_with("boot.initrd: \"\""));
}

#[test]
fn disks_are_checked_by_field() {
    let disk = |change: fn(&mut DiskConfig)| {
        let mut disk = DiskConfig {
            path: "/d".to_owned(),
            read_only: false,
            serial: None,
            direct: Default::default(),
            queues: None,
        };
        change(&mut disk);
        refused(|c| c.disks = vec![disk])
    };
    assert_eq!(
        disk(|d| d.path = "d".to_owned()),
        "disks[0].path: \"d\" is not allowed; an absolute path"
    );
    assert_eq!(
        disk(|d| d.queues = Some(0)),
        "disks[0].queues: 0 is not allowed; 1 to 32"
    );
    assert!(disk(|d| d.serial = Some("x".repeat(21))).starts_with("disks[0].serial: "));
    assert!(disk(|d| d.serial = Some("a\n".to_owned())).contains("1 to 20 printable"));
}

#[test]
fn old_configs_still_parse() {
    let text = r#"{"name":"a","cpus":1,"memory":{"size":1},"boot":{"kernel":"/x","cmdline":""}}"#;
    let config: VmmConfig = serde_json::from_str(text).unwrap();
    assert!(config.disks.is_empty());
    let text = r#"{"path":"/d"}"#;
    let disk: DiskConfig = serde_json::from_str(text).unwrap();
    assert_eq!(
        (disk.read_only, disk.direct, disk.queues),
        (false, Default::default(), None)
    );
    assert_eq!((default_queues(1), default_queues(64)), (1, 4));
}

#[test]
fn files_report_where_they_are_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let missing = load(dir.path()).err().unwrap().to_string();
    assert!(
        missing.starts_with("cannot read ") && missing.ends_with("config.json"),
        "{missing}"
    );
    fs::write(
        dir.path().join(CONFIG_FILE),
        "{\n \"name\": \"a\",\n \"cpu\": 1 }",
    )
    .unwrap();
    let error = load(dir.path()).err().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("unknown field `cpu`") && cause.contains("line 3"),
        "{cause}"
    );
}

proptest! {
    #[test]
    fn names_are_exactly_the_allowed_ones(name in "\\PC{0,50}|[a-z][a-z0-9-]{0,45}") {
        let mut config = config();
        config.name = name.clone();
        let allowed = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= 40
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        prop_assert_eq!(check(&config).is_ok(), allowed);
    }

    #[test]
    fn accepted_memory_is_whole_pages(size in any::<u64>(), huge in 0usize..3) {
        let hugepages = [HugepageSize::None, HugepageSize::TwoMiB, HugepageSize::OneGiB][huge];
        let mut config = config();
        config.memory = MemoryConfig { size, hugepages, ..Default::default() };
        let whole = size % memory::page_size(hugepages) == 0 && size >= 32 << 20;
        prop_assert_eq!(check(&config).is_ok(), whole);
    }
}

#[test]
fn network_interfaces_are_checked() {
    let nets = |change: fn(&mut Vec<NetConfig>)| {
        let net = |tap: &str| NetConfig {
            tap: tap.to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: None,
            queues: None,
        };
        let mut config = config();
        config.nets = vec![net("a"), net("vm7-1")];
        change(&mut config.nets);
        check(&config).map_err(|error| error.to_string())
    };
    nets(|_| {}).unwrap();
    for (change, told) in [
        (
            (|nets| nets[1].tap = "a/b".to_owned()) as fn(&mut Vec<NetConfig>),
            "nets[1].tap: \"a/b\" is not allowed; the name of a network device: 1 to 15 characters",
        ),
        (
            |nets| nets[0].tap.clear(),
            "nets[0].tap: \"\" is not allowed; the name of a network device: 1 to 15 characters",
        ),
        (
            |nets| nets[1].tap = "a".to_owned(),
            "nets[1].tap: \"a\" is not allowed; a device that no other interface has",
        ),
        (
            |nets| nets[0].mac = "ff:ff:ff:ff:ff:ff".to_owned(),
            "nets[0].mac: \"ff:ff:ff:ff:ff:ff\" is not allowed; the address of one station, as 02:00:00:00:00:01",
        ),
        (
            |nets| nets[0].mtu = Some(67),
            "nets[0].mtu: 67 is not allowed; 68 to 65535",
        ),
        (
            |nets| nets[1].queues = Some(33),
            "nets[1].queues: 33 is not allowed; 1 to 32",
        ),
        (
            |nets| nets.resize(7, nets[0].clone()),
            "nets: 7 is not allowed; at most 6 network interfaces",
        ),
    ] {
        assert_eq!(nets(change), Err(told.to_owned()));
    }
}

#[test]
fn other_devices_are_checked() {
    let vsock = |cid| refused(|c| c.vsock = Some(VsockConfig { cid }));
    for cid in [0, 2, u32::MAX] {
        let expected = format!("vsock.cid: {cid} is not allowed; 3 to 4294967294");
        assert_eq!(vsock(cid), expected);
    }
    let balloon = |size| {
        refused(|c| {
            c.balloon = Some(BalloonConfig {
                size,
                ..Default::default()
            });
        })
    };
    let allowed = "a multiple of 4096 bytes, at most the memory's 134217728";
    assert_eq!(balloon(1), format!("balloon.size: 1 is not allowed; {allowed}"));
    assert!(balloon((128 << 20) + 4096).ends_with(allowed));
    let huge = refused(|c| {
        c.memory.hugepages = HugepageSize::TwoMiB;
        c.balloon = Some(BalloonConfig::default());
    });
    assert!(
        huge.starts_with("balloon: ") && huge.contains("ordinary pages"),
        "{huge}"
    );
    // 24 disks, 6 networks and the entropy device are all that there is room for.
    let full = |c: &mut VmmConfig| {
        let disk: DiskConfig = serde_json::from_str(r#"{"path":"/d"}"#).unwrap();
        c.disks = vec![disk; 24];
        c.nets = (0..6)
            .map(|number| NetConfig {
                tap: format!("t{number}"),
                mac: "02:00:00:00:00:01".to_owned(),
                mtu: None,
                queues: None,
            })
            .collect();
    };
    let mut most = config();
    full(&mut most);
    check(&most).unwrap();
    let more = refused(|c| {
        full(c);
        c.console = ConsoleDevice::Virtio;
    });
    assert!(more.ends_with("at most 31 PCI functions, not 32"), "{more}");
}

//! Labels, disks and programs for tests.

use std::path::Path;

use axion_core::topology::{Disk, DiskKind};

use crate::label::LABEL;

/// A pair of a label's list.
fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut body = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    body.extend(name.as_bytes());
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(kind.to_be_bytes());
    body.extend(1u32.to_be_bytes());
    body.extend(value);
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &size.to_be_bytes(), &body].concat()
}

pub(crate) fn number(name: &str, value: u64) -> Vec<u8> {
    pair(name, 8, &value.to_be_bytes())
}

pub(crate) fn string(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(value.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    pair(name, 9, &bytes)
}

/// A label with these pairs.
pub(crate) fn label(pairs: &[Vec<u8>]) -> Vec<u8> {
    let mut label = vec![0; 16 << 10];
    label.extend([1, 1, 0, 0]);
    label.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    label.extend(pairs.concat());
    label.resize(usize::try_from(LABEL).unwrap(), 0);
    label
}

/// The label of a device of a pool.
pub(crate) fn pool_label(pool: &str, guid: u64, state: u64, hostid: u64) -> Vec<u8> {
    label(&[
        number("version", 5000),
        string("name", pool),
        number("state", state),
        number("txg", 42),
        number("pool_guid", guid),
        number("errata", 0),
        number("hostid", hostid),
        string("hostname", "other"),
        number("top_guid", 7),
        number("guid", 8),
    ])
}

/// An NVMe disk of 10 GiB.
pub(crate) fn nvme(name: &str, serial: &str) -> Disk {
    Disk {
        name: name.to_owned(),
        kind: DiskKind::Nvme,
        wwid: Some(format!("nvme.{serial}")),
        serial: Some(serial.to_owned()),
        size: 10 << 30,
        logical_sector: 512,
        physical_sector: 512,
        ..Disk::default()
    }
}

/// A node below a temporary directory, with programs that write down how they are called.
pub(crate) struct Node {
    pub(crate) root: tempfile::TempDir,
}

impl Node {
    /// A node with ZFS, without disks and pools.
    pub(crate) fn new() -> Self {
        let node = Self {
            root: tempfile::tempdir().unwrap(),
        };
        node.write("dev/zfs", b"");
        node.write("calls", b"");
        node.program("zpool");
        node.program("zfs");
        node
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A program that notes its arguments and standard input, and writes the file `NAME-VERB.json`, or `NAME-VERB.err` and
    /// fails.
    fn program(&self, name: &str) {
        let root = self.root.path().display();
        let script = format!(
            "#!/bin/sh\ncd {root}\necho \"{name} $*\" >> calls\n\
             case \"$*\" in *prompt*) read -r key; echo \"key $key\" >> calls;; esac\n\
             if [ -e {name}-$1.err ]; then cat {name}-$1.err >&2; exit 1; fi\n\
             if [ -e {name}-$1.json ]; then cat {name}-$1.json; fi\n"
        );
        program(&self.root.path().join(name), &script);
    }

    /// Has the program `name` do something else first: a line of shell.
    pub(crate) fn before(&self, name: &str, first: &str) {
        let path = self.root.path().join(name);
        let script = std::fs::read_to_string(&path).unwrap();
        let (start, rest) = script.split_once('\n').unwrap();
        program(&path, &format!("{start}\n{first}{rest}"));
    }

    /// A disk of `size` bytes, all zeros, with a serial number.
    pub(crate) fn disk(&self, name: &str, serial: &str, size: u64) {
        self.write(
            &format!("sys/block/{name}/size"),
            (size / 512).to_string().as_bytes(),
        );
        self.write(&format!("sys/block/{name}/device/serial"), serial.as_bytes());
        let path = format!("dev/{name}");
        self.write(&path, b"");
        let file = std::fs::File::options()
            .write(true)
            .open(self.root.path().join(path))
            .unwrap();
        file.set_len(size).unwrap();
    }

    /// A partition of it, called `label` in the disk's table.
    pub(crate) fn part(&self, disk: &str, node: &str, label: &str, size: u64) {
        let directory = format!("sys/block/{disk}/{node}");
        self.write(&format!("{directory}/partition"), b"3");
        self.write(&format!("{directory}/size"), (size / 512).to_string().as_bytes());
        let facts = format!("DEVNAME={node}\nPARTN=3\nPARTNAME={label}\n");
        self.write(&format!("{directory}/uevent"), facts.as_bytes());
        let path = format!("dev/{node}");
        self.write(&path, &vec![0x55; 2 << 20]);
        let file = std::fs::File::options()
            .write(true)
            .open(self.root.path().join(path))
            .unwrap();
        file.set_len(size).unwrap();
    }

    pub(crate) fn storage(&self, hostid: u32) -> crate::Storage {
        let tools = crate::command::Tools {
            zpool: self.root.path().join("zpool"),
            zfs: self.root.path().join("zfs"),
            ..Default::default()
        };
        crate::Storage::new(tools, self.root.path(), hostid)
    }

    /// How the programs were called since the last time, without what only looks.
    pub(crate) fn changes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.path().join("calls")).unwrap();
        self.write("calls", b"");
        let looks = ["zpool status", "zpool list", "zfs list"];
        let is_change = |line: &&str| !looks.iter().any(|look| line.starts_with(look));
        text.lines().filter(is_change).map(str::to_owned).collect()
    }
}

/// What `zpool status -j --json-int -p` writes of a mirror whose second half was pulled out.
pub(crate) const STATUS: &str = r#"{
  "output_version": { "command": "zpool status", "vers_major": 0, "vers_minor": 1 },
  "pools": {
    "tank": {
      "name": "tank",
      "state": "DEGRADED",
      "pool_guid": 12034567890123456789,
      "txg": 1423,
      "spa_version": 5000,
      "zpl_version": 5,
      "status": "One or more devices have been removed.\n\tSufficient replicas exist for the pool to continue functioning in a\n\tdegraded state.\n",
      "action": "Online the device using zpool online' or replace the device with\n\t'zpool replace'.\n",
      "scan_stats": {
        "function": "SCRUB",
        "state": "FINISHED",
        "start_time": 1764000000,
        "end_time": 1764000060,
        "to_examine": 1048576,
        "examined": 1048576,
        "skipped": 0,
        "processed": 4096,
        "errors": 0,
        "bytes_per_scan": 0,
        "pass_start": 1764000000,
        "scrub_pause": 0,
        "scrub_spent_paused": 0,
        "issued_bytes_per_scan": 1048576,
        "issued": 1048576
      },
      "vdevs": {
        "tank": {
          "name": "tank",
          "vdev_type": "root",
          "guid": 12034567890123456789,
          "state": "DEGRADED",
          "alloc_space": 1048576,
          "total_space": 10200547328,
          "def_space": 10200547328,
          "read_errors": 0,
          "write_errors": 0,
          "checksum_errors": 0,
          "vdevs": {
            "mirror-0": {
              "name": "mirror-0",
              "vdev_type": "mirror",
              "guid": 5555555555555555555,
              "state": "DEGRADED",
              "read_errors": 0,
              "write_errors": 0,
              "checksum_errors": 0,
              "vdevs": {
                "nvme0n1p1": {
                  "name": "nvme0n1p1",
                  "vdev_type": "disk",
                  "guid": 1111111111111111111,
                  "path": "/dev/nvme0n1p1",
                  "state": "ONLINE",
                  "read_errors": 0,
                  "write_errors": 0,
                  "checksum_errors": 2
                },
                "nvme1n1p1": {
                  "name": "nvme1n1p1",
                  "vdev_type": "disk",
                  "guid": 2222222222222222222,
                  "path": "/dev/nvme1n1p1",
                  "state": "REMOVED",
                  "read_errors": 3,
                  "write_errors": 1,
                  "checksum_errors": 0
                }
              }
            }
          }
        }
      },
      "logs": {
        "nvme2n1p1": {
          "name": "nvme2n1p1",
          "vdev_type": "disk",
          "guid": 3333333333333333333,
          "path": "/dev/nvme2n1p1",
          "class": "log",
          "state": "ONLINE",
          "read_errors": 0,
          "write_errors": 0,
          "checksum_errors": 0
        }
      },
      "error_count": 0
    }
  }
}"#;

/// What `zpool list -j --json-int -p -o …` writes of the same.
pub(crate) const LIST: &str = r#"{
  "output_version": { "command": "zpool list", "vers_major": 0, "vers_minor": 1 },
  "pools": {
    "tank": {
      "name": "tank",
      "type": "POOL",
      "state": "DEGRADED",
      "pool_guid": 12034567890123456789,
      "txg": 1423,
      "spa_version": 5000,
      "zpl_version": 5,
      "properties": {
        "size": { "value": 10200547328, "source": { "type": "NONE", "data": "-" } },
        "allocated": { "value": 1048576, "source": { "type": "NONE", "data": "-" } },
        "free": { "value": 10199498752, "source": { "type": "NONE", "data": "-" } },
        "fragmentation": { "value": 3, "source": { "type": "NONE", "data": "-" } },
        "ashift": { "value": 12, "source": { "type": "LOCAL", "data": "-" } },
        "autotrim": { "value": "on", "source": { "type": "LOCAL", "data": "-" } },
        "readonly": { "value": "off", "source": { "type": "DEFAULT", "data": "-" } }
      }
    }
  }
}"#;

/// What `zfs list -j --json-int -p -t filesystem,volume -o …` writes.
pub(crate) const DATASETS: &str = r#"{
  "output_version": { "command": "zfs list", "vers_major": 0, "vers_minor": 1 },
  "datasets": {
    "tank": {
      "name": "tank", "type": "FILESYSTEM", "pool": "tank", "createtxg": 1,
      "properties": {
        "used": { "value": 2097152, "source": { "type": "NONE", "data": "-" } },
        "available": { "value": 9800000000, "source": { "type": "NONE", "data": "-" } },
        "referenced": { "value": 98304, "source": { "type": "NONE", "data": "-" } },
        "compressratio": { "value": "1.53x", "source": { "type": "NONE", "data": "-" } },
        "compression": { "value": "lz4", "source": { "type": "LOCAL", "data": "-" } },
        "recordsize": { "value": 131072, "source": { "type": "DEFAULT", "data": "-" } },
        "volblocksize": { "value": "-", "source": { "type": "NONE", "data": "-" } },
        "volsize": { "value": "-", "source": { "type": "NONE", "data": "-" } },
        "quota": { "value": 0, "source": { "type": "DEFAULT", "data": "-" } },
        "reservation": { "value": 0, "source": { "type": "DEFAULT", "data": "-" } },
        "mountpoint": { "value": "/run/axion/pools/tank", "source": { "type": "LOCAL", "data": "-" } },
        "mounted": { "value": "no", "source": { "type": "NONE", "data": "-" } },
        "origin": { "value": "-", "source": { "type": "NONE", "data": "-" } },
        "encryption": { "value": "off", "source": { "type": "DEFAULT", "data": "-" } },
        "keystatus": { "value": "none", "source": { "type": "NONE", "data": "-" } },
        "creation": { "value": 1764000000, "source": { "type": "NONE", "data": "-" } }
      }
    },
    "tank/axion": {
      "name": "tank/axion", "type": "FILESYSTEM", "pool": "tank", "createtxg": 9,
      "properties": { "mounted": { "value": "no" }, "recordsize": { "value": 131072 } }
    },
    "tank/secret": {
      "name": "tank/secret", "type": "FILESYSTEM", "pool": "tank", "createtxg": 12,
      "properties": {
        "used": { "value": 98304 },
        "compression": { "value": "zstd" },
        "recordsize": { "value": 1048576 },
        "quota": { "value": 1073741824 },
        "mountpoint": { "value": "/run/axion/pools/tank/secret" },
        "mounted": { "value": "yes" },
        "encryption": { "value": "aes-256-gcm" },
        "keystatus": { "value": "available" }
      }
    },
    "tank/vol": {
      "name": "tank/vol", "type": "VOLUME", "pool": "tank", "createtxg": 15,
      "properties": {
        "used": { "value": 1073741824 },
        "compressratio": { "value": 1 },
        "compression": { "value": "lz4" },
        "recordsize": { "value": "-" },
        "volblocksize": { "value": 16384 },
        "volsize": { "value": 1073741824 },
        "mounted": { "value": "-" },
        "origin": { "value": "tank/base@a" }
      }
    }
  }
}"#;

/// What `zfs list -j --json-int -p -t snapshot -o …` writes.
pub(crate) const SNAPSHOTS: &str = r#"{
  "output_version": { "command": "zfs list", "vers_major": 0, "vers_minor": 1 },
  "datasets": {
    "tank/a@tuesday": {
      "name": "tank/a@tuesday", "type": "SNAPSHOT", "pool": "tank", "createtxg": 30,
      "dataset": "tank/a", "snapshot_name": "tuesday",
      "properties": {
        "guid": { "value": 9988776655443322110 }, "used": { "value": 0 }, "referenced": { "value": 98304 },
        "creation": { "value": 1764003600 }, "clones": { "value": "tank/b,tank/c" }
      }
    },
    "tank/a@monday": {
      "name": "tank/a@monday", "type": "SNAPSHOT", "pool": "tank", "createtxg": 20,
      "dataset": "tank/a", "snapshot_name": "monday",
      "properties": {
        "guid": { "value": 42 }, "used": { "value": 4096 }, "referenced": { "value": 98304 },
        "creation": { "value": 1764000000 }, "clones": { "value": "-" }
      }
    }
  }
}"#;

/// Writes a program, by another process: a file that this one has open for writing is so in whatever its other threads start at
/// that moment, and the kernel runs no such file (ETXTBSY).
pub(crate) fn program(path: &Path, script: &str) {
    let text = path.with_extension("text");
    std::fs::write(&text, script).unwrap();
    let mut install = std::process::Command::new("install");
    let made = install.args(["-m", "755"]).arg(text).arg(path).status().unwrap();
    assert!(made.success());
}

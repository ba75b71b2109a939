//! File systems that the node mounts, as data.

use std::path::Path;

use nix::mount::{MsFlags, mount};

/// A file system to mount.
#[derive(Debug, Clone, Copy)]
pub struct Mount {
    /// What is mounted: a device, a file, or a name for people.
    pub source: &'static str,
    /// Where; made when it does not exist.
    pub target: &'static str,
    /// File system type.
    pub kind: &'static str,
    /// Flags.
    pub flags: MsFlags,
    /// Options of the file system.
    pub options: &'static str,
}

/// A file system that could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {kind} ({source_name}) on {target}")]
pub struct MountError {
    kind: String,
    source_name: String,
    target: String,
    source: std::io::Error,
}

const NO_PROGRAMS: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);
const NO_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

const fn api(source: &'static str, target: &'static str, kind: &'static str, options: &'static str) -> Mount {
    Mount {
        source,
        target,
        kind,
        flags: NO_PROGRAMS,
        options,
    }
}

/// What stage 1 needs; stage 2 takes it along.
pub const STAGE1: &[Mount] = &[
    api("proc", "/proc", "proc", ""),
    api("sysfs", "/sys", "sysfs", ""),
    Mount {
        source: "devtmpfs",
        target: "/dev",
        kind: "devtmpfs",
        flags: MsFlags::MS_NOSUID,
        options: "mode=0755",
    },
    Mount {
        source: "tmpfs",
        target: "/run",
        kind: "tmpfs",
        flags: NO_DEVICES,
        options: "mode=0755,size=20%",
    },
];

/// What the node cannot do without.
pub const ESSENTIAL: &[Mount] = &[
    api(
        "cgroup2",
        "/sys/fs/cgroup",
        "cgroup2",
        "nsdelegate,memory_recursiveprot",
    ),
    Mount {
        source: "devpts",
        target: "/dev/pts",
        kind: "devpts",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        options: "mode=0620,gid=5,ptmxmode=0666",
    },
    Mount {
        source: "tmpfs",
        target: "/dev/shm",
        kind: "tmpfs",
        flags: NO_DEVICES,
        options: "mode=1777",
    },
    Mount {
        source: "tmpfs",
        target: "/tmp",
        kind: "tmpfs",
        flags: NO_DEVICES,
        options: "mode=1777,size=20%",
    },
    Mount {
        source: "tmpfs",
        target: "/var",
        kind: "tmpfs",
        flags: NO_DEVICES,
        options: "mode=0755",
    },
];

/// What is there on some kernels and machines only.
pub const OPTIONAL: &[Mount] = &[
    api("securityfs", "/sys/kernel/security", "securityfs", ""),
    api("bpf", "/sys/fs/bpf", "bpf", "mode=0700"),
    // The agent (group axion) attests what is set there.
    api("debugfs", "/sys/kernel/debug", "debugfs", "mode=0750,gid=900"),
    api("tracefs", "/sys/kernel/tracing", "tracefs", "mode=0700"),
    api("efivarfs", "/sys/firmware/efi/efivars", "efivarfs", ""),
    Mount {
        source: "hugetlbfs",
        target: "/dev/hugepages",
        kind: "hugetlbfs",
        flags: NO_DEVICES,
        options: "mode=0755",
    },
];

/// What a kernel left behind. Mounted once the node is ready: reading an NVRAM takes as long as the firmware likes.
pub const PSTORE: Mount = api("pstore", "/sys/fs/pstore", "pstore", "");

/// Volumes of a node without a pool. It is a file system of its own, so that a guest that fills its disk does not keep the
/// agent from writing its store.
pub const VOLUMES: Mount = Mount {
    source: "tmpfs",
    target: axion_core::paths::VOLUMES,
    kind: "tmpfs",
    flags: NO_PROGRAMS,
    options: "mode=0711,size=50%",
};

impl Mount {
    /// Mounts it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn perform(&self) -> Result<(), MountError> {
        self.perform_at(Path::new(self.target), self.source)
    }

    /// Mounts it from another source on another place.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn perform_at(&self, target: &Path, source: &str) -> Result<(), MountError> {
        // On a file system that has no such directory and takes none, mount(2) says what is missing.
        let _ = std::fs::create_dir_all(target);
        mount(
            Some(source),
            target,
            Some(self.kind),
            self.flags,
            Some(self.options),
        )
        .map_err(|errno| MountError {
            kind: self.kind.to_owned(),
            source_name: source.to_owned(),
            target: target.display().to_string(),
            source: errno.into(),
        })
    }
}

/// The type of the file system that is mounted at `target`, in `/proc/self/mounts`'s text: the one on top, where there are several.
pub fn kind_at<'m>(mounts: &'m str, target: &str) -> Option<&'m str> {
    let kind = |line: &'m str| {
        let mut words = line.split(' ').skip(1);
        (words.next() == Some(target)).then(|| words.next()).flatten()
    };
    mounts.lines().rev().find_map(kind)
}

/// The targets in `/proc/self/mounts`'s text that hold data to be written back, the last mounted first.
pub fn to_unmount(mounts: &str) -> Vec<&str> {
    let on_disk = |line: &&str| {
        let mut words = line.split(' ').skip(1);
        let (target, kind) = (words.next(), words.next());
        target != Some("/") && kind.is_some_and(|k| !is_volatile(k))
    };
    mounts
        .lines()
        .rev()
        .filter(on_disk)
        .filter_map(|line| line.split(' ').nth(1))
        .collect()
}

fn is_volatile(kind: &str) -> bool {
    let in_tables = [STAGE1, ESSENTIAL, OPTIONAL]
        .into_iter()
        .flatten()
        .any(|m| m.kind == kind);
    in_tables
        || kind == PSTORE.kind
        || matches!(
            kind,
            "rootfs" | "ramfs" | "erofs" | "debugfs" | "configfs" | "mqueue" | "overlay"
        )
}

#[cfg(test)]
mod tests;

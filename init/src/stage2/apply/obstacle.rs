//! What speaks against an action while VMs run and devices are in use.

use std::fs;
use std::path::{Path, PathBuf};

use axion_core::config::PageSize;
use axion_core::paths;
use axion_core::profile::{Action, NodePages};

/// Driver that keeps a function for VMs.
const VFIO: &str = "vfio-pci";
const DEVICES: &str = "/sys/bus/pci/devices";
/// Flag of an interface that is up (netdevice(7)).
const IFF_UP: u32 = 1;

/// Why `action` would disturb somebody, where it would.
pub(super) fn obstacle(root: &Path, action: &Action) -> Option<String> {
    let node = Look { root };
    match action {
        Action::Smt { on: false } => node
            .vms_run()
            .then(|| "VMs run, and CPUs that they may be on would go offline; stop them first".to_owned()),
        Action::Hugepages { page_size, nodes } => {
            nodes.iter().find_map(|pool| node.pages_in_use(*page_size, *pool))
        }
        Action::VfioBind { address, .. } => node.in_use(address),
        Action::VirtualFunctions {
            address, vfs, vfio, ..
        } => node.functions_in_use(address, *vfs, *vfio),
        _ => None,
    }
}

/// Looks at the node below a root.
struct Look<'a> {
    root: &'a Path,
}

impl Look<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The last name of a link's target.
    fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Names in a directory, in order.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether a process is in a VM's cgroup (Documentation/admin-guide/cgroup-v2.rst, `cgroup.events`).
    fn vms_run(&self) -> bool {
        let events = format!("/sys/fs/cgroup/{}/cgroup.events", paths::VMS_CGROUP);
        let events = self.text(&events).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// The kernel would take what is free and turn the rest into surplus pages, which go as soon as they are given back.
    fn pages_in_use(&self, size: PageSize, wanted: NodePages) -> Option<String> {
        let pool = format!("hugepages/hugepages-{}kB", size.bytes() >> 10);
        let numa = format!("/sys/devices/system/node/node{}/{pool}", wanted.node);
        let directory = if self.path(&numa).exists() || wanted.node > 0 {
            numa
        } else {
            format!("/sys/kernel/mm/{pool}")
        };
        let pages = self.number(&format!("{directory}/nr_hugepages"))?;
        let free = self.number(&format!("{directory}/free_hugepages"))?;
        let used = pages.saturating_sub(free);
        (pages > wanted.pages && used > wanted.pages).then(|| {
            format!(
                "node {} has {used} pages of {size} in use, and {} are planned; stop the VMs that have them",
                wanted.node, wanted.pages
            )
        })
    }

    /// Splitting a function anew takes all of its virtual ones away; binding them takes those that are astray.
    fn functions_in_use(&self, address: &str, vfs: u32, vfio: bool) -> Option<String> {
        let device = format!("{DEVICES}/{address}");
        let now = self.number(&format!("{device}/sriov_numvfs")).unwrap_or_default();
        let again = now != 0 && now != u64::from(vfs);
        let function = |vf: u64| {
            let function = self.link_name(&format!("{device}/virtfn{vf}"))?;
            let astray = self.driver(&function).as_deref() != Some(VFIO);
            let touched = again || (vfio && astray);
            touched.then(|| self.in_use(&function)).flatten()
        };
        (0..now).find_map(function)
    }

    fn driver(&self, address: &str) -> Option<String> {
        self.link_name(&format!("{DEVICES}/{address}/driver"))
    }

    /// Who has a function: a process that has its IOMMU group open, or the host itself.
    fn in_use(&self, address: &str) -> Option<String> {
        let device = format!("{DEVICES}/{address}");
        if let Some(group) = self.link_name(&format!("{device}/iommu_group"))
            && let Some(process) = self.holder(&format!("/dev/vfio/{group}"))
        {
            return Some(format!(
                "{address} is in IOMMU group {group}, which {process} has open; stop that VM first"
            ));
        }
        match self.driver(address) {
            Some(driver) if driver != VFIO => self.used_by_host(address),
            _ => None,
        }
    }

    /// A process that has `file` open: `axion-vmm (4242)`.
    fn holder(&self, file: &str) -> Option<String> {
        let processes = self.names("/proc").into_iter();
        let mut processes = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let holds = |process: &String| {
            let open = format!("/proc/{process}/fd");
            self.names(&open).iter().any(|descriptor| {
                let target = fs::read_link(self.path(&format!("{open}/{descriptor}")));
                target.is_ok_and(|target| target == Path::new(file))
            })
        };
        let process = processes.find(holds)?;
        let name = self.text(&format!("/proc/{process}/comm")).unwrap_or_default();
        Some(format!("{name} ({process})"))
    }

    /// Disks of a function, and its interfaces that are up.
    fn used_by_host(&self, address: &str) -> Option<String> {
        let disk = self.of_class("block", address).into_iter().next();
        let disk = disk.map(|disk| {
            format!("the host has the disk {disk} on {address}; the next boot binds it before it is used")
        });
        let is_up = |interface: &String| {
            let flags = self
                .text(&format!("/sys/class/net/{interface}/flags"))
                .unwrap_or_default();
            u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|flags| flags & IFF_UP != 0)
        };
        disk.or_else(|| {
            let interface = self.of_class("net", address).into_iter().find(is_up)?;
            Some(format!(
                "the host's interface {interface} on {address} is up; the next boot binds it before it is"
            ))
        })
    }

    /// Devices of a class that are below a function.
    fn of_class(&self, class: &str, address: &str) -> Vec<String> {
        let Ok(function) = fs::canonicalize(self.path(&format!("{DEVICES}/{address}"))) else {
            return Vec::new();
        };
        let directory = format!("/sys/class/{class}");
        let mut names = self.names(&directory);
        names.retain(|name| {
            let device = fs::canonicalize(self.path(&format!("{directory}/{name}")));
            device.is_ok_and(|device| device.starts_with(&function))
        });
        names
    }
}

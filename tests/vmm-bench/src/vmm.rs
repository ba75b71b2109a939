//! How each VMM is started: one vCPU, [`GUEST_MIB`] of memory, the same kernel, command line and devices.
//!
//! Each gets what its own documentation recommends for speed: QEMU its smallest firmware and a machine without legacy devices,
//! `io_uring` past the page cache and a thread for the disk; everyone `vhost-net` who has it. QEMU gets the virtio-rng that every guest of
//! ours has; its small build has no PCI device to give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{BYTE_KERNEL, DIRECTORY, DISK, GUEST_MIB, INITRD, JOB, Job, KERNEL, net};

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vmm {
    /// Ours.
    Axion,
    /// Debian's QEMU.
    Qemu,
    /// Debian's QEMU with nothing but the machine type microvm built in.
    QemuMicrovm,
    /// Firecracker.
    Firecracker,
    /// Cloud Hypervisor.
    CloudHypervisor,
}

/// Our VMM on the host, as it ships.
pub const AXION: &str = "/usr/lib/axion/axion-vmm";

impl Vmm {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Axion => "axion-vmm",
            Self::Qemu => "qemu-system-x86_64",
            Self::QemuMicrovm => "qemu-system-x86_64-microvm",
            Self::Firecracker => "firecracker",
            Self::CloudHypervisor => "cloud-hypervisor",
        }
    }

    /// Whether it can do `job`. QEMU's small build has no PCI devices but the bus itself, and our guest kernel no virtio-mmio.
    pub const fn can(self, job: Job) -> bool {
        !matches!((self, job), (Self::QemuMicrovm, Job::Disk | Job::Net))
    }

    /// Where its program is on the host.
    pub fn program(self) -> PathBuf {
        match self {
            Self::Axion => PathBuf::from(AXION),
            Self::Qemu | Self::QemuMicrovm => Path::new(DIRECTORY).join("qemu/usr/bin").join(self.name()),
            Self::Firecracker | Self::CloudHypervisor => Path::new(DIRECTORY).join(self.name()),
        }
    }

    /// Its command for `job`, with its files in the new directory `dir`. The guest's console is its standard output, but for
    /// ours: there it is a socket.
    ///
    /// # Errors
    /// A config file cannot be written.
    pub fn command(self, job: Job, dir: &Path) -> Result<Command> {
        match self {
            Self::Axion => axion(job, dir),
            Self::Qemu | Self::QemuMicrovm => qemu(self, job),
            Self::Firecracker => firecracker(job, dir),
            Self::CloudHypervisor => cloud_hypervisor(job),
        }
    }

    /// The socket of the guest's console, if it is one.
    pub fn console(self, dir: &Path) -> Option<PathBuf> {
        (self == Self::Axion).then(|| dir.join("console.sock"))
    }
}

fn kernel(job: Job) -> &'static str {
    match job {
        Job::Byte => BYTE_KERNEL,
        _ => KERNEL,
    }
}

fn initrd(job: Job) -> Option<&'static str> {
    (job != Job::Byte).then_some(INITRD)
}

/// The guest's command line.
fn command_line(job: Job) -> Result<String> {
    let job = serde_json::to_value(job)?;
    let job = job.as_str().unwrap_or_default();
    Ok(format!("console=ttyS0 quiet panic=-1 reboot=t {JOB}{job}"))
}

fn axion(job: Job, dir: &Path) -> Result<Command> {
    let mut config = json!({
        "name": "bench",
        "cpus": 1,
        "memory": { "size": GUEST_MIB << 20 },
        "boot": { "kernel": kernel(job), "initrd": initrd(job), "cmdline": command_line(job)? },
    });
    match job {
        Job::Disk => set(&mut config, "disks", json!([{ "path": DISK }])),
        Job::Net => set(&mut config, "nets", json!([{ "tap": net::TAP, "mac": net::MAC }])),
        Job::Byte | Job::Idle => {}
    }
    write(&dir.join("config.json"), &config)?;
    let mut command = Command::new(Vmm::Axion.program());
    command.arg("--run-dir").arg(dir);
    Ok(command)
}

fn qemu(vmm: Vmm, job: Job) -> Result<Command> {
    let root = Path::new(DIRECTORY).join("qemu");
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(vmm.program());
    command.arg("-L").arg(root.join("usr/share/qemu"));
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    // The guest kernel finds interrupts and PCI by ACPI.
    let has_pci = vmm == Vmm::Qemu && job != Job::Byte;
    let pci = if has_pci { ",pcie=on" } else { "" };
    command.arg("-M");
    command.arg(format!(
        "microvm,acpi=on,pit=off,pic=off,rtc=off,isa-serial=on{pci}"
    ));
    command.args(["-bios", "qboot.rom"]);
    command.args(["-accel", "kvm", "-cpu", "host", "-smp", "1", "-serial", "stdio"]);
    command.arg("-m").arg(format!("{GUEST_MIB}M"));
    command.args(["-kernel", kernel(job), "-append", &command_line(job)?]);
    if let Some(initrd) = initrd(job) {
        command.args(["-initrd", initrd]);
    }
    if has_pci {
        command.args(["-device", "virtio-rng-pci"]);
    }
    match job {
        Job::Disk => {
            command.args(["-object", "iothread,id=t0", "-drive"]);
            command.arg(format!(
                "file={DISK},if=none,format=raw,cache=none,aio=io_uring,id=d0"
            ));
            command.args(["-device", "virtio-blk-pci,drive=d0,iothread=t0"]);
        }
        Job::Net => {
            command.arg("-netdev");
            command.arg(format!(
                "tap,id=n0,ifname={},script=no,downscript=no,vhost=on",
                net::TAP
            ));
            command.arg("-device");
            command.arg(format!("virtio-net-pci,netdev=n0,romfile=,mac={}", net::MAC));
        }
        Job::Byte | Job::Idle => {}
    }
    Ok(command)
}

fn firecracker(job: Job, dir: &Path) -> Result<Command> {
    let mut config = json!({
        "boot-source": { "kernel_image_path": kernel(job), "boot_args": command_line(job)? },
        "machine-config": { "vcpu_count": 1, "mem_size_mib": GUEST_MIB },
        "drives": [],
    });
    if let Some(source) = config.get_mut("boot-source")
        && let Some(initrd) = initrd(job)
    {
        set(source, "initrd_path", json!(initrd));
    }
    match job {
        Job::Disk => {
            let drive = json!([{
                "drive_id": "d0", "path_on_host": DISK, "is_root_device": false, "is_read_only": false,
                "io_engine": "Async",
            }]);
            set(&mut config, "drives", drive);
        }
        Job::Net => {
            let interface = json!([{ "iface_id": "n0", "host_dev_name": net::TAP, "guest_mac": net::MAC }]);
            set(&mut config, "network-interfaces", interface);
        }
        Job::Byte | Job::Idle => {}
    }
    let file = dir.join("config.json");
    write(&file, &config)?;
    let mut command = Command::new(Vmm::Firecracker.program());
    // The guest kernel has no virtio-mmio.
    command
        .args(["--no-api", "--enable-pci", "--config-file"])
        .arg(file);
    Ok(command)
}

fn cloud_hypervisor(job: Job) -> Result<Command> {
    let mut command = Command::new(Vmm::CloudHypervisor.program());
    command.args(["--kernel", kernel(job), "--cmdline", &command_line(job)?]);
    command.args([
        "--cpus",
        "boot=1",
        "--serial",
        "tty",
        "--console",
        "off",
        "--memory",
    ]);
    command.arg(format!("size={GUEST_MIB}M"));
    if let Some(initrd) = initrd(job) {
        command.args(["--initramfs", initrd]);
    }
    match job {
        Job::Disk => {
            command.arg("--disk").arg(format!("path={DISK},direct=on"));
        }
        Job::Net => {
            command
                .arg("--net")
                .arg(format!("tap={},mac={}", net::TAP, net::MAC));
        }
        Job::Byte | Job::Idle => {}
    }
    Ok(command)
}

fn set(value: &mut Value, key: &str, new: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), new);
    }
}

fn write(file: &Path, config: &Value) -> Result<()> {
    fs::write(file, config.to_string()).with_context(|| format!("writing {}", file.display()))
}

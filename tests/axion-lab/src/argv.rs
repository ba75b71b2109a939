//! A spec as arguments of `qemu-system-x86_64`; pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::spec::{
    Boot, DiskBus, DiskContent, Display, Drive, Firmware, Iommu, Network, NetworkBoot, Spec, WatchdogDevice,
};

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The computer's own virtualization.
    Kvm,
    /// Emulation, of an AMD processor with SVM and nested paging.
    Tcg,
}

impl Accelerator {
    /// The best one of this computer: KVM only where the processor has VT-x or SVM. A `/dev/kvm` alone says nothing: it may
    /// interpret instructions one by one.
    pub fn detect() -> Self {
        Self::of_cpuinfo(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
    }

    /// The best one by the text of `/proc/cpuinfo`.
    pub fn of_cpuinfo(cpuinfo: &str) -> Self {
        let flags = cpuinfo
            .lines()
            .find(|line| line.starts_with("flags"))
            .unwrap_or_default();
        if flags
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm")
        {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }

    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "EPYC,+svm,+npt,+pdpe1gb"],
        }
    }
}

/// Files, sockets and ports of one start of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// bzImage.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initramfs: PathBuf,
    /// Directory of UEFI's firmware.
    pub firmware: PathBuf,
    /// UEFI's boot variables: a copy of the machine's own of [`UEFI_VARIABLES`].
    pub nvram: PathBuf,
    /// Socket that QEMU connects ttyS0 to.
    pub console: PathBuf,
    /// Socket that QEMU connects ttyS1 to.
    pub log: PathBuf,
    /// Socket that QEMU connects its monitor to.
    pub qmp: PathBuf,
    /// Socket of the TPM in software, where the machine has one.
    pub tpm: Option<PathBuf>,
    /// Raw files of the disks, in the spec's order.
    pub disks: Vec<PathBuf>,
    /// Port of this computer that leads to the API, on QEMU's user network.
    pub port: Option<u16>,
}

/// UEFI firmware (Debian package ovmf), without Secure Boot.
const UEFI_CODE: &str = "OVMF_CODE_4M.fd";
/// The same with it: it keeps its variables to itself, by way of the system management mode.
const SECURE_UEFI_CODE: &str = "OVMF_CODE_4M.secboot.fd";
/// Its boot variables as they leave the factory.
pub const UEFI_VARIABLES: &str = "OVMF_VARS_4M.fd";

/// Port of the agent's API on the machine.
const API_PORT: u16 = axion_api::DEFAULT_PORT;

/// Arguments of QEMU for `spec`.
pub fn arguments(spec: &Spec, accelerator: Accelerator, wiring: &Wiring) -> Vec<OsString> {
    let mut argv = Argv::default();
    argv.flags(["-nodefaults", "-no-user-config", "-name", &spec.name]);
    let irqchip = if spec.iommu.is_some() {
        ",kernel-irqchip=split"
    } else {
        ""
    };
    let smm = if spec.secure_boot.is_some() { ",smm=on" } else { "" };
    argv.flags(["-M", &format!("q35{irqchip}{smm}")]);
    argv.flags(accelerator.arguments());
    argv.processors(spec);
    argv.boot(spec, wiring);
    argv.serial_ports(wiring);
    argv.file("-chardev", "socket,id=qmp,path=", &wiring.qmp);
    argv.flags(["-mon", "chardev=qmp,mode=control"]);
    argv.devices(spec, wiring);
    if spec.exit_on_reboot {
        argv.flags(["-no-reboot"]);
    }
    argv.0
}

#[derive(Default)]
struct Argv(Vec<OsString>);

impl Argv {
    fn flags<'a>(&mut self, flags: impl IntoIterator<Item = &'a str>) {
        self.0.extend(flags.into_iter().map(OsString::from));
    }

    /// `flag` and `prefix` with a path behind it; QEMU reads a doubled comma as a comma of the path.
    fn file(&mut self, flag: &str, prefix: &str, path: &Path) {
        let text = path.to_string_lossy();
        let path = if prefix.is_empty() {
            text.into_owned()
        } else {
            text.replace(',', ",,")
        };
        self.flags([flag, &format!("{prefix}{path}")]);
    }

    fn processors(&mut self, spec: &Spec) {
        let per_socket = spec.cpus.checked_div(spec.sockets).unwrap_or(spec.cpus);
        let cores = per_socket.checked_div(spec.threads).unwrap_or(per_socket);
        self.flags([
            "-smp",
            &format!(
                "{},sockets={},cores={cores},threads={}",
                spec.cpus, spec.sockets, spec.threads
            ),
        ]);
        let nodes: u64 = spec.numa.iter().map(|node| node.memory_mib).sum();
        let memory = if spec.numa.is_empty() {
            spec.memory_mib
        } else {
            nodes
        };
        self.flags(["-m", &format!("{memory}M")]);
        for (id, node) in spec.numa.iter().enumerate() {
            self.flags([
                "-object",
                &format!("memory-backend-ram,id=mem{id},size={}M", node.memory_mib),
            ]);
            let cpus = format!("cpus={}-{}", node.first_cpu, node.last_cpu);
            self.flags(["-numa", &format!("node,nodeid={id},{cpus},memdev=mem{id}")]);
        }
        if let Some(uuid) = &spec.uuid {
            self.flags(["-uuid", uuid]);
        }
        if let Some(serial) = &spec.serial {
            self.flags(["-smbios", &format!("type=1,serial={serial}")]);
        }
    }

    fn network(&mut self, spec: &Spec, port: Option<u16>) {
        let mac = spec.mac.as_ref().map(|mac| format!(",mac={mac}"));
        let device = format!("virtio-net-pci,netdev=net0{}", mac.unwrap_or_default());
        let backend = match (spec.network, port) {
            (Network::User { .. }, Some(port)) => {
                format!("user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:{API_PORT}")
            }
            (Network::Tap { name, .. }, _) => {
                format!("tap,id=net0,ifname={name},script=no,downscript=no")
            }
            _ => return,
        };
        match &spec.boot {
            Boot::Network { directory } => {
                self.file(
                    "-netdev",
                    &format!("{backend},bootfile=axion.ipxe,tftp="),
                    directory,
                );
                self.flags(["-device", &format!("{device},bootindex=0")]);
            }
            Boot::Card { firmware, by } => {
                // Without the card's ROM, OVMF's own driver and its own PXE are used, as on metal.
                let rom = if *firmware == Firmware::Uefi {
                    ",romfile="
                } else {
                    ""
                };
                let device = format!("{device},bootindex=0{rom}");
                self.flags(["-netdev", &backend, "-device", &device]);
                // OVMF tries PXE first.
                if *by == NetworkBoot::Http {
                    self.flags(["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]);
                }
            }
            // An empty romfile spares the machine seconds in iPXE.
            _ => self.flags(["-netdev", &backend, "-device", &format!("{device},romfile=")]),
        }
    }

    fn boot(&mut self, spec: &Spec, wiring: &Wiring) {
        self.firmware(spec, wiring);
        match &spec.boot {
            Boot::Kernel => {
                self.file("-kernel", "", &wiring.kernel);
                self.file("-initrd", "", &wiring.initramfs);
                self.flags(["-append", &spec.kernel_command_line()]);
            }
            Boot::Medium { drive, file, .. } => self.medium(*drive, file, spec.writes_medium),
            // A disk or the network card is what it starts from.
            Boot::Disks | Boot::Card { .. } | Boot::Network { .. } => {}
        }
    }

    fn firmware(&mut self, spec: &Spec, wiring: &Wiring) {
        if spec.firmware() == Firmware::Uefi {
            let flash = |unit: u8| format!("if=pflash,unit={unit},format=raw,");
            let code = format!("{}readonly=on,file=", flash(0));
            let program = if spec.secure_boot.is_some() {
                // Nobody but firmware writes its variables, or keys would be worth nothing.
                self.flags(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
                SECURE_UEFI_CODE
            } else {
                UEFI_CODE
            };
            self.file("-drive", &code, &wiring.firmware.join(program));
            let mode = if spec.read_only_variables {
                "readonly=on,"
            } else {
                ""
            };
            self.file("-drive", &format!("{}{mode}file=", flash(1)), &wiring.nvram);
            if let Some(cas) = &spec.https_cas {
                self.file("-fw_cfg", "name=etc/edk2/https/cacerts,file=", cas);
            }
        }
    }

    /// A drive whose writes are logged, as they come through a raw file, in sectors of 512 bytes.
    fn recorded(&mut self, n: usize, file: &Path, log: &Path) {
        let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
        let (file, log) = (path(file), path(log));
        self.flags([
            "-drive",
            &format!(
                "if=none,id=disk{n},driver=blklogwrites,log-sector-size=512,\
                 file.driver=raw,file.file.driver=file,file.file.filename={file},log.driver=file,log.filename={log}"
            ),
        ]);
    }

    /// The medium, first in the firmware's boot order.
    fn medium(&mut self, drive: Drive, file: &Path, writes: bool) {
        let mode = match drive {
            Drive::CdRom => "media=cdrom,readonly=on",
            _ if writes => "snapshot=off",
            _ => "snapshot=on",
        };
        self.file(
            "-drive",
            &format!("if=none,id=medium,format=raw,{mode},file="),
            file,
        );
        let device = match drive {
            Drive::CdRom => "ide-cd,drive=medium",
            Drive::UsbStick => {
                self.flags(["-device", "qemu-xhci,id=xhci"]);
                "usb-storage,bus=xhci.0,drive=medium,removable=on"
            }
            Drive::Nvme => "nvme,drive=medium,serial=axion-medium",
            Drive::Virtio => "virtio-blk-pci,drive=medium,serial=axion-medium",
        };
        self.flags(["-device", &format!("{device},bootindex=0")]);
    }

    fn serial_ports(&mut self, wiring: &Wiring) {
        self.file("-chardev", "socket,id=ttyS0,path=", &wiring.console);
        self.file("-chardev", "socket,id=ttyS1,path=", &wiring.log);
        self.flags(["-serial", "chardev:ttyS0", "-serial", "chardev:ttyS1"]);
    }

    fn devices(&mut self, spec: &Spec, wiring: &Wiring) {
        match spec.iommu {
            None => {}
            Some(Iommu::Intel) => self.flags(["-device", "intel-iommu,intremap=on,caching-mode=on"]),
            Some(Iommu::Amd) => self.flags(["-device", "amd-iommu,intremap=on"]),
        }
        if spec.sriov_nic {
            // Virtual functions have bus numbers behind the card's own; a port leaves them some.
            self.flags([
                "-device",
                "pcie-root-port,id=sriov,chassis=1,slot=1",
                "-netdev",
                "user,id=net-sriov",
                "-device",
                "igb,bus=sriov,netdev=net-sriov,romfile=",
            ]);
        }
        self.flags(["-display", "none"]);
        self.flags(match spec.display {
            Display::None => ["-vga", "none"],
            Display::Text => ["-vga", "cirrus"],
            Display::Framebuffer => ["-vga", "std"],
        });
        match spec.watchdog {
            WatchdogDevice::None => {}
            WatchdogDevice::I6300esb => self.flags(["-device", "i6300esb", "-action", "watchdog=reset"]),
        }
        if let Some(socket) = &wiring.tpm {
            self.file("-chardev", "socket,id=tpm,path=", socket);
            self.flags([
                "-tpmdev",
                "emulator,id=tpm0,chardev=tpm",
                "-device",
                "tpm-crb,tpmdev=tpm0",
            ]);
        }
        self.network(spec, wiring.port);
        for (n, (disk, file)) in spec.disks.iter().zip(&wiring.disks).enumerate() {
            match &disk.content {
                DiskContent::Recorded { log, .. } => self.recorded(n, file, log),
                _ => self.file("-drive", &format!("if=none,id=disk{n},format=raw,file="), file),
            }
            let device = match disk.bus {
                DiskBus::Nvme => format!("nvme,drive=disk{n},serial=axion-{n}"),
                DiskBus::NvmeSlot => {
                    let port = format!("pcie-root-port,id=slot{n},chassis={0},slot={0}", n + 10);
                    self.flags(["-device", &port]);
                    format!("nvme,id=card{n},bus=slot{n},drive=disk{n},serial=axion-{n}")
                }
                DiskBus::Virtio => format!("virtio-blk-pci,drive=disk{n},serial=axion-{n}"),
            };
            self.flags(["-device", &device]);
        }
    }
}

#[cfg(test)]
mod tests;

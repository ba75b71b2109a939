//! What the parts of a lab machine are: what it starts from, firmware, disks, network, devices.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// What a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// QEMU itself loads the image's kernel and initramfs; the lab writes the kernel command line.
    Kernel,
    /// Firmware starts what is on a medium, as it does on metal; the kernel command line is the medium's.
    Medium {
        /// Which firmware.
        firmware: Firmware,
        /// How the medium is attached.
        drive: Drive,
        /// The medium, a raw file. What the machine writes to it is gone with the machine.
        file: PathBuf,
    },
    /// Firmware starts what it finds on the machine's own disks.
    Disks,
    /// SeaBIOS and iPXE start `axion.ipxe` from a directory that the user network serves by TFTP.
    Network {
        /// The directory, with `axion.ipxe` and what that loads.
        directory: PathBuf,
    },
    /// Firmware starts what the network that its card is in offers it.
    Card {
        /// Which firmware: SeaBIOS has an iPXE of QEMU's on the card, OVMF a PXE of its own.
        firmware: Firmware,
        /// How it asks.
        by: NetworkBoot,
    },
}

/// How firmware boots from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkBoot {
    /// By PXE.
    Pxe,
    /// By HTTP, which UEFI alone does.
    Http,
}

/// Firmware of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF, with boot variables of the machine's own.
    Uefi,
}

/// How a boot medium is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// A CD in a SATA drive.
    CdRom,
    /// A USB stick on an xHCI controller.
    UsbStick,
    /// An NVMe disk.
    Nvme,
    /// A virtio disk.
    Virtio,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaNode {
    /// First CPU.
    pub first_cpu: u32,
    /// Last CPU.
    pub last_cpu: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
}

/// One disk; its file is made in the machine's directory when it is to be a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// How the machine sees it.
    pub bus: DiskBus,
    /// What is on it.
    pub content: DiskContent,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskBus {
    /// An NVMe controller with one name space.
    Nvme,
    /// The same in a slot that it can be pulled out of while the machine runs.
    NvmeSlot,
    /// virtio-blk.
    Virtio,
}

/// What a disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskContent {
    /// Nothing: a sparse file of so many MiB.
    Blank {
        /// Size, MiB.
        mib: u64,
    },
    /// A FAT volume labelled `AXION-CFG`, without a partition table, with these files.
    ConfigVolume(Vec<(String, Vec<u8>)>),
    /// A raw file, used as it is and written to.
    File(PathBuf),
    /// The same; what is written to it and when it is flushed goes to `log` as well, a new file as `dm-log-writes` has it.
    Recorded {
        /// The raw file.
        disk: PathBuf,
        /// The log.
        log: PathBuf,
    },
}

impl From<&Path> for DiskContent {
    fn from(disk: &Path) -> Self {
        Self::File(disk.to_owned())
    }
}

impl From<&PathBuf> for DiskContent {
    fn from(disk: &PathBuf) -> Self {
        Self::File(disk.clone())
    }
}

/// How a machine reaches the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A virtio NIC behind QEMU's user network (DHCP, 10.0.2.0/24; this computer is 10.0.2.2), the API forwarded from a port of
    /// 127.0.0.1.
    User {
        /// Port on this computer; `None`: a free one.
        port: Option<u16>,
    },
    /// A virtio NIC behind a tap device of the network namespace that the machine is started in ([`crate::lan::Lan`]).
    Tap {
        /// The device.
        name: &'static str,
        /// The address that the machine will have there, where its API is looked for.
        address: Ipv4Addr,
    },
    /// No NIC.
    None,
}

/// What translates the devices' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iommu {
    /// VT-d, with interrupt remapping.
    Intel,
    /// AMD-Vi, with interrupt remapping.
    Amd,
}

/// Watchdog hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchdogDevice {
    /// None that is armed.
    None,
    /// Intel 6300ESB, which resets the machine.
    I6300esb,
}

/// Display adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// None.
    None,
    /// An adapter that the kernel leaves in VGA text mode; read it with [`crate::Machine::vga_text`].
    Text,
    /// An adapter with a frame buffer; look at it with [`crate::Machine::screendump`].
    Framebuffer,
}

//! What a lab machine is made of.
//!
//! A [`Spec`] is a value: it can be built, compared and turned into arguments without a QEMU in sight. What every lab machine
//! has: a q35 board, two serial ports (ttyS0 for the operator, ttyS1 for the log), a QMP socket.

mod parts;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::node::Token;

pub use parts::{
    Boot, Disk, DiskBus, DiskContent, Display, Drive, Firmware, Iommu, Network, NetworkBoot, NumaNode,
    WatchdogDevice,
};

/// A machine to be started with [`Spec::start`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name: of its directory and in messages; a-z, 0-9 and `-`.
    pub name: String,
    /// What it starts from.
    pub boot: Boot,
    /// Firmware, where `boot` does not say.
    pub firmware: Firmware,
    /// File of the boot variables of a UEFI that knows Secure Boot; it outlives the machine, and one that is not there is made as it
    /// leaves the factory, in setup mode. None: a UEFI without, with variables of the machine's own.
    pub secure_boot: Option<PathBuf>,
    /// Its UEFI cannot write its boot variables.
    pub read_only_variables: bool,
    /// What the machine writes to the medium that it boots from stays in its file.
    pub writes_medium: bool,
    /// File with the CAs that its UEFI trusts for HTTPS, as an EFI signature list ([`crate::media::signature_list`]); none: it trusts
    /// nobody.
    pub https_cas: Option<PathBuf>,
    /// CPUs in all, a multiple of `sockets`.
    pub cpus: u32,
    /// CPU sockets.
    pub sockets: u32,
    /// Threads of each core.
    pub threads: u32,
    /// Memory, MiB; with `numa` the sum of its nodes counts instead.
    pub memory_mib: u64,
    /// NUMA nodes; none: one node with everything.
    pub numa: Vec<NumaNode>,
    /// Disks, in order.
    pub disks: Vec<Disk>,
    /// Network.
    pub network: Network,
    /// MAC address of its NIC; none: QEMU's first, which two machines in one network cannot both have.
    pub mac: Option<String>,
    /// IOMMU.
    pub iommu: Option<Iommu>,
    /// An Intel 82576 network card behind a port of its own: SR-IOV, up to 7 virtual functions.
    pub sriov_nic: bool,
    /// Directory with the state of a TPM 2.0 in software; none: no TPM.
    pub tpm: Option<PathBuf>,
    /// Hardware watchdog.
    pub watchdog: WatchdogDevice,
    /// Display adapter.
    pub display: Display,
    /// SMBIOS UUID, in its text form.
    pub uuid: Option<String>,
    /// SMBIOS serial number; none: QEMU gives none.
    pub serial: Option<String>,
    /// End instead of restarting when the system reboots.
    pub exit_on_reboot: bool,
    /// Kernel arguments behind those that the lab gives.
    pub kernel_args: Vec<String>,
    /// Machine config (TOML), given as `axion.config=inline:`.
    pub config: Option<String>,
    /// Token whose hash goes into `config` unless the test writes that itself.
    pub token: Token,
    /// Initramfs instead of the image's.
    pub initramfs: Option<PathBuf>,
    /// Kernel (a bzImage) instead of the image's.
    pub kernel: Option<PathBuf>,
    /// Waits until no other lab machine runs on this computer; only a person's own machine should not.
    pub exclusive: bool,
}

impl Spec {
    /// A machine of 2 CPUs and 2 GiB with a network.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            boot: Boot::Kernel,
            firmware: Firmware::Bios,
            secure_boot: None,
            read_only_variables: false,
            writes_medium: false,
            https_cas: None,
            cpus: 2,
            sockets: 1,
            threads: 1,
            memory_mib: 2048,
            numa: Vec::new(),
            disks: Vec::new(),
            network: Network::User { port: None },
            mac: None,
            iommu: None,
            sriov_nic: false,
            tpm: None,
            watchdog: WatchdogDevice::None,
            display: Display::None,
            uuid: None,
            serial: None,
            exit_on_reboot: false,
            kernel_args: Vec::new(),
            config: None,
            token: Token::random(),
            initramfs: None,
            kernel: None,
            exclusive: true,
        }
    }

    /// Started by `firmware` from the medium `file`. What the lab tells other machines on the kernel command line has to be in
    /// the config: [`Spec::medium_config`].
    #[must_use]
    pub fn boot_from(self, firmware: Firmware, drive: Drive, file: impl Into<PathBuf>) -> Self {
        let boot = Boot::Medium {
            firmware,
            drive,
            file: file.into(),
        };
        Self { boot, ..self }
    }

    /// With UEFI.
    #[must_use]
    pub fn uefi(self) -> Self {
        Self {
            firmware: Firmware::Uefi,
            ..self
        }
    }

    /// With a UEFI that knows Secure Boot and has its boot variables in the file `variables`.
    #[must_use]
    pub fn secure_boot(self, variables: impl Into<PathBuf>) -> Self {
        Self {
            firmware: Firmware::Uefi,
            secure_boot: Some(variables.into()),
            ..self
        }
    }

    /// What the machine writes to the medium that it boots from stays in its file.
    #[must_use]
    pub fn writes_medium(self) -> Self {
        Self {
            writes_medium: true,
            ..self
        }
    }

    /// With a UEFI that cannot write its boot variables.
    #[must_use]
    pub fn read_only_variables(self) -> Self {
        Self {
            firmware: Firmware::Uefi,
            read_only_variables: true,
            ..self
        }
    }

    /// With a UEFI that trusts the CAs in the file `cas` for HTTPS.
    #[must_use]
    pub fn https_cas(self, cas: impl Into<PathBuf>) -> Self {
        Self {
            firmware: Firmware::Uefi,
            https_cas: Some(cas.into()),
            ..self
        }
    }

    /// Started by its firmware from its own disks; as with a medium, the lab's part has to be in the config.
    #[must_use]
    pub fn boot_from_disks(self) -> Self {
        Self {
            boot: Boot::Disks,
            ..self
        }
    }

    /// Started by iPXE from `directory`; as with a medium, the lab's part has to be in the config.
    #[must_use]
    pub fn boot_from_network(self, directory: impl Into<PathBuf>) -> Self {
        let boot = Boot::Network {
            directory: directory.into(),
        };
        Self { boot, ..self }
    }

    /// Started by `firmware` from what its network offers; as with a medium, the lab's part has to be in the config.
    #[must_use]
    pub fn boot_from_card(self, firmware: Firmware, by: NetworkBoot) -> Self {
        let boot = Boot::Card { firmware, by };
        Self { boot, ..self }
    }

    /// So many CPUs in so many sockets.
    #[must_use]
    pub fn cpus(self, cpus: u32, sockets: u32) -> Self {
        Self {
            cpus,
            sockets,
            ..self
        }
    }

    /// So much memory, MiB.
    #[must_use]
    pub fn memory_mib(self, memory_mib: u64) -> Self {
        Self { memory_mib, ..self }
    }

    /// One more NUMA node, with CPUs `first_cpu` to `last_cpu`.
    #[must_use]
    pub fn numa_node(mut self, first_cpu: u32, last_cpu: u32, memory_mib: u64) -> Self {
        self.numa.push(NumaNode {
            first_cpu,
            last_cpu,
            memory_mib,
        });
        self
    }

    /// One more disk.
    #[must_use]
    pub fn disk(mut self, bus: DiskBus, content: impl Into<DiskContent>) -> Self {
        let content = content.into();
        self.disks.push(Disk { bus, content });
        self
    }

    /// A volume `AXION-CFG` whose `axion.toml` is `config`.
    #[must_use]
    pub fn config_volume(self, config: &str) -> Self {
        let files = vec![("axion.toml".to_owned(), config.as_bytes().to_vec())];
        self.disk(DiskBus::Virtio, DiskContent::ConfigVolume(files))
    }

    /// That network.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// With a NIC of that MAC address.
    #[must_use]
    pub fn mac(self, mac: impl Into<String>) -> Self {
        Self {
            mac: Some(mac.into()),
            ..self
        }
    }

    /// So many threads in each core; they count as CPUs.
    #[must_use]
    pub fn threads(self, threads: u32) -> Self {
        Self { threads, ..self }
    }

    /// With that IOMMU.
    #[must_use]
    pub fn iommu(self, iommu: Iommu) -> Self {
        Self {
            iommu: Some(iommu),
            ..self
        }
    }

    /// With a network card that has virtual functions.
    #[must_use]
    pub fn sriov_nic(self) -> Self {
        Self {
            sriov_nic: true,
            ..self
        }
    }

    /// With the TPM 2.0 whose state is in `directory`; an empty one is that of a new TPM.
    #[must_use]
    pub fn tpm(self, directory: impl Into<PathBuf>) -> Self {
        Self {
            tpm: Some(directory.into()),
            ..self
        }
    }

    /// That kernel instead of the image's.
    #[must_use]
    pub fn kernel(self, path: impl AsRef<Path>) -> Self {
        Self {
            kernel: Some(path.as_ref().to_owned()),
            ..self
        }
    }

    /// With that watchdog.
    #[must_use]
    pub fn watchdog(self, watchdog: WatchdogDevice) -> Self {
        Self { watchdog, ..self }
    }

    /// With that display adapter.
    #[must_use]
    pub fn display(self, display: Display) -> Self {
        Self { display, ..self }
    }

    /// With that SMBIOS UUID.
    #[must_use]
    pub fn uuid(self, uuid: impl Into<String>) -> Self {
        Self {
            uuid: Some(uuid.into()),
            ..self
        }
    }

    /// With that SMBIOS serial number.
    #[must_use]
    pub fn serial(self, serial: impl Into<String>) -> Self {
        Self {
            serial: Some(serial.into()),
            ..self
        }
    }

    /// QEMU ends when the system reboots.
    #[must_use]
    pub fn exit_on_reboot(self) -> Self {
        Self {
            exit_on_reboot: true,
            ..self
        }
    }

    /// One more kernel argument.
    #[must_use]
    pub fn kernel_arg(mut self, argument: impl Into<String>) -> Self {
        self.kernel_args.push(argument.into());
        self
    }

    /// Exactly that machine config, token or not.
    #[must_use]
    pub fn config(self, toml: impl Into<String>) -> Self {
        Self {
            config: Some(toml.into()),
            ..self
        }
    }

    /// A machine config that accepts the machine's token and says `toml` besides (any key or table but `api`).
    #[must_use]
    pub fn config_with_token(self, toml: &str) -> Self {
        let config = format!("api.token_hashes = [\"{}\"]\n{toml}", self.token.hash());
        self.config(config)
    }

    /// A machine config for a medium's `axion.toml`: it accepts the machine's token, writes the log to ttyS1 and says `toml`
    /// besides (any key or table but `api` and `console`).
    pub fn medium_config(&self, toml: &str) -> String {
        let hash = self.token.hash();
        format!("api.token_hashes = [\"{hash}\"]\nconsole.log = \"ttyS1\"\n{toml}")
    }

    /// That token instead of a random one; call it before [`Spec::config_with_token`].
    #[must_use]
    pub fn token(self, token: Token) -> Self {
        Self { token, ..self }
    }

    /// That initramfs instead of the image's.
    #[must_use]
    pub fn initramfs(self, path: impl AsRef<Path>) -> Self {
        Self {
            initramfs: Some(path.as_ref().to_owned()),
            ..self
        }
    }

    /// Runs beside other lab machines.
    #[must_use]
    pub fn beside_others(self) -> Self {
        Self {
            exclusive: false,
            ..self
        }
    }

    /// The kernel's whole command line.
    pub fn kernel_command_line(&self) -> String {
        let mut args: Vec<String> = LAB_ARGS.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some(config) = &self.config {
            args.push(format!("axion.config=inline:{}", BASE64_STANDARD.encode(config)));
        }
        args.extend(self.kernel_args.iter().cloned());
        args.join(" ")
    }

    /// The firmware that starts it.
    pub fn firmware(&self) -> Firmware {
        match self.boot {
            Boot::Kernel | Boot::Disks => self.firmware,
            Boot::Medium { firmware, .. } | Boot::Card { firmware, .. } => firmware,
            Boot::Network { .. } => Firmware::Bios,
        }
    }

    /// Why no machine can be made of this, if so.
    pub fn problem(&self) -> Option<String> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(legal) {
            return Some("its name must be of a-z, 0-9 and `-`".to_owned());
        }
        if self.sockets == 0 || self.cpus == 0 || !self.cpus.is_multiple_of(self.sockets) {
            return Some(format!(
                "{} CPUs cannot be spread over {} sockets",
                self.cpus, self.sockets
            ));
        }
        let cores = self.cpus / self.sockets;
        if self.threads == 0 || !cores.is_multiple_of(self.threads) {
            return Some(format!(
                "{cores} CPUs of a socket cannot be cores of {} threads",
                self.threads
            ));
        }
        let tells_kernel = self.kernel.is_some()
            || self.config.is_some()
            || self.initramfs.is_some()
            || !self.kernel_args.is_empty();
        if self.boot != Boot::Kernel && tells_kernel {
            return Some(
                "it starts from a medium, which has its own kernel command line and initramfs; put the config on a volume"
                    .to_owned(),
            );
        }
        let by_network = matches!(self.boot, Boot::Network { .. } | Boot::Card { .. });
        if by_network && self.network == Network::None {
            return Some("it starts from the network and has none".to_owned());
        }
        if matches!(self.boot, Boot::Network { .. }) && !matches!(self.network, Network::User { .. }) {
            return Some("it starts from a directory, which QEMU's user network alone serves".to_owned());
        }
        if self.secure_boot.is_some() && self.firmware() != Firmware::Uefi {
            return Some("it starts by BIOS, which knows no Secure Boot".to_owned());
        }
        let http_by_bios = Boot::Card {
            firmware: Firmware::Bios,
            by: NetworkBoot::Http,
        };
        if self.boot == http_by_bios {
            return Some("it starts by HTTP, which its BIOS does not know".to_owned());
        }
        let line = self.kernel_command_line().len();
        (line >= COMMAND_LINE_SIZE).then(|| {
            format!(
                "its kernel command line has {line} bytes, of at most {}",
                COMMAND_LINE_SIZE - 1
            )
        })
    }
}

/// What the kernel of every lab machine is told. On a busy computer an emulated timer may skip the ticks that the kernel counts
/// to see whether it works, and the kernel then panics; under a hypervisor that it knows, it leaves the check out by itself.
const LAB_ARGS: [&str; 3] = ["console=ttyS1", "axion.log=ttyS1", "no_timer_check"];

/// Size of the kernel's command line buffer on x86 (arch/x86/include/asm/setup.h).
const COMMAND_LINE_SIZE: usize = 2048;

#[cfg(test)]
mod tests;

//! Where the parts of a running node meet in the file system.
//!
//! One place, so that init, agent, console, VMM and the tests cannot disagree.

/// Volatile state of the node: sockets, facts about this boot.
pub const RUN: &str = "/run/axion";
/// Socket of `org.axion.Init1` (D-Bus peer-to-peer), mode 0660, group [`GROUP_AXION`].
pub const INIT_SOCKET: &str = "/run/axion/init.sock";
/// Local socket of the agent's REST API (no TLS, no token; peers by credentials), mode 0660, group [`GROUP_AXION`].
pub const AGENT_SOCKET: &str = "/run/axion/agent/agent.sock";
/// Directory of the agent's volatile files; owned by the agent, group [`GROUP_AXION`], mode 2770.
pub const AGENT_RUN: &str = "/run/axion/agent";
/// The bearer token that the agent made itself, until an operator has confirmed on the console that they noted it.
pub const FIRST_TOKEN: &str = "/run/axion/agent/first-token";
/// SHA-256 fingerprint of the node's CA certificate, as `sha256:` and lower-case hex.
pub const FINGERPRINT: &str = "/run/axion/agent/fingerprint";
/// Effective machine config (JSON of `config::Effective`) that init resolved; readable by everyone, holds no secret.
pub const EFFECTIVE_CONFIG: &str = "/run/axion/config.json";
/// The machine id in force, 32 hex digits.
pub const MACHINE_ID_IN_FORCE: &str = "/run/axion/machine-id";
/// The boot profile of this boot (JSON of `profile::Resolved`); readable by everyone.
pub const PROFILE: &str = "/run/axion/profile.json";
/// The last isolation proof (JSON of `proof::Proof`); readable by everyone.
pub const PROOF: &str = "/var/lib/axion/proof.json";
/// The one before it.
pub const PREVIOUS_PROOF: &str = "/var/lib/axion/proof.previous.json";
/// ACS of the PCI functions, as only root may read it: `ADDRESS CAPABLE ENABLED` a line; readable by everyone.
pub const PCI_ACS: &str = "/run/axion/acs";
/// What was measured into the TPM in this boot: a line of JSON for each event, as the TCG's Canonical Event Log has them;
/// readable by everyone.
pub const TPM_EVENTS: &str = "/run/axion/tpm-events.json";
/// What a boot server on this node serves, put there by init: readable by everyone, written by root alone.
pub const NETBOOT_RUN: &str = "/run/axion/netboot";
/// The image as one UEFI program, which holds kernel and initramfs.
pub const NETBOOT_IMAGE: &str = "/run/axion/netboot/axion.efi";
/// What is known of it (JSON of `axion_api::netboot::HeldImage`).
pub const NETBOOT_FACTS: &str = "/run/axion/netboot/image.json";
/// Why there is nothing to serve, where there is not.
pub const NETBOOT_PROBLEM: &str = "/run/axion/netboot/problem";
/// Directory of the boot server's socket; owned by [`UID_NETBOOT`], group [`GROUP_AXION`], mode 2750.
pub const NETBOOT_SERVER_RUN: &str = "/run/axion/netboot/server";
/// Where the boot server tells the agent what it does: a line of JSON for each `axion_api::netboot::Told`.
pub const NETBOOT_SOCKET: &str = "/run/axion/netboot/server/steps.sock";
/// Machine configs of machines that boot from this node; written by the agent, read by the boot server.
pub const NETBOOT_CONFIGS: &str = "/var/lib/axion/netboot";
/// iPXE in the image, with its list of sums.
pub const IPXE: &str = "/usr/lib/axion/netboot";
/// Cgroup of the node's own services, below the root of the cgroups.
pub const NODE_CGROUP: &str = "axion.slice";
/// Cgroup of all VMs, below the root of the cgroups.
pub const VMS_CGROUP: &str = "vms.slice";
/// One directory per VM: `config.json`, `api.sock`, `console.sock`.
pub const VMS_RUN: &str = "/run/axion/vms";
/// Persistent state: a ZFS dataset when a pool exists, else a tmpfs that init mounts.
pub const STATE: &str = "/var/lib/axion";
/// The machine id, 32 hex digits, of a node whose state persists.
pub const MACHINE_ID: &str = "/var/lib/axion/machine-id";
/// The last crash (JSON of `axion_api::recovery::Crash`); readable by [`GROUP_AXION`], as it holds a kernel log.
pub const LAST_CRASH: &str = "/var/lib/axion/crash.json";
/// The agent's store and TLS keys; owned by the agent, mode 0700.
pub const AGENT_STATE: &str = "/var/lib/axion/agent";
/// Guest kernels and initial RAM disks that were uploaded, by SHA-256; owned by the agent, readable by VMMs.
pub const IMAGES: &str = "/var/lib/axion/images";
/// File systems of pools are mounted below it, each at its name.
pub const POOLS: &str = "/run/axion/pools";
/// Volumes of VMs: the directory is the agent's (mode 0711), each file's group is the VM that has it.
pub const VOLUMES: &str = "/var/lib/axion/volumes";
/// The guest kernel (ELF with a PVH note) that the image carries.
pub const GUEST_KERNEL: &str = "/usr/share/axion/guest/vmlinux";
/// The guest initramfs (Debian's busybox and a login shell on the console) that the image carries.
pub const GUEST_INITRD: &str = "/usr/share/axion/guest/initrd";
/// The public key that the image trusts for updates, where it was built with one.
pub const UPDATE_KEY: &str = "/usr/share/axion/update.pub";
/// The node agent.
pub const AGENT: &str = "/usr/lib/axion/axion-agent";
/// The TUI.
pub const CONSOLE: &str = "/usr/lib/axion/axion-console";
/// The virtual machine monitor.
pub const VMM: &str = "/usr/lib/axion/axion-vmm";

/// Group of the node's own services: may talk to init and to the agent's local socket.
pub const GROUP_AXION: u32 = 900;
/// User of the agent; its primary group is [`GROUP_AXION`].
pub const UID_AGENT: u32 = 901;
/// User of the console; its primary group is [`GROUP_AXION`].
pub const UID_CONSOLE: u32 = 902;
/// Group that may open `/dev/kvm`.
pub const GROUP_KVM: u32 = 903;
/// User of the boot server. Its primary group is [`GROUP_NETBOOT`]: it may talk to nobody.
pub const UID_NETBOOT: u32 = 904;
/// Group of the boot server, which may read the machines' configs.
pub const GROUP_NETBOOT: u32 = 904;
/// First user id given to VMM processes; each VM has one of its own.
pub const UID_VM_BASE: u32 = 100_000;
/// User of the guest that init starts to see whether an update can: far above any VM's.
pub const UID_SELF_TEST: u32 = 4_000_000_000;

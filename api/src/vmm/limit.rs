//! How much ordinary memory a VMM process may have: the limit of its cgroup (memory.max).
//!
//! | of                    | bytes                                        | for                                              |
//! |-----------------------|----------------------------------------------|--------------------------------------------------|
//! | guest memory          | all that it may ever have; none of hugepages | the guest; hugepages are in another account      |
//! | guest memory          | a 16th, of hugepages too                     | page tables, and what KVM keeps of each page     |
//! | the process           | 64 MiB                                       | itself (3 MiB), its sockets, what it reads first |
//! | each vCPU             | 2 MiB                                        | its thread, KVM's state of it                    |
//! | each disk, interface  | 16 MiB                                       | threads, rings, requests under way               |
//! | the socket device     | 256 MiB                                      | buffers of 512 connections, both ways            |
//!
//! A guest that runs guests of its own takes the most of the 16th: KVM's shadow pages may be 2 % of its pages
//! (`KVM_PERMILLE_MMU_PAGES`), each with a second page beside it. All the rest is some 1 %.
//!
//! It is a ceiling and no reservation: far above what a VMM uses, and below what one that leaks would take from others. At
//! the limit the kernel first takes back page cache, then kills the VMM, and nobody else.

use super::VmmConfig;
use crate::vm::HugepageSize;

const MIB: u64 = 1 << 20;
/// The process itself.
const PROCESS: u64 = 64 * MIB;
/// A vCPU.
const VCPU: u64 = 2 * MIB;
/// A disk or a network interface.
const DEVICE: u64 = 16 * MIB;
/// The socket device.
const VSOCK: u64 = 256 * MIB;
/// Of so many bytes of guest memory, one is for what describes it.
const SHARE: u64 = 16;

impl VmmConfig {
    /// Most ordinary memory that the process needs, bytes. What a disk's file takes where that lies in memory is not in it.
    pub fn memory_limit(&self) -> u64 {
        let guest = self.memory.max.unwrap_or(0).max(self.memory.size);
        let guest = match self.memory.hugepages {
            HugepageSize::None => guest.saturating_add(guest / SHARE),
            HugepageSize::TwoMiB | HugepageSize::OneGiB => guest / SHARE,
        };
        let count = |devices: usize| u64::try_from(devices).unwrap_or(u64::MAX);
        let devices = count(self.disks.len().saturating_add(self.nets.len()));
        let vsock = if self.vsock.is_some() { VSOCK } else { 0 };
        let parts = [
            PROCESS,
            VCPU.saturating_mul(self.cpus.into()),
            DEVICE.saturating_mul(devices),
            vsock,
        ];
        parts.into_iter().fold(guest, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::{NetConfig, VsockConfig};

    fn config(size: u64) -> VmmConfig {
        let text = format!(
            r#"{{"name":"a","cpus":2,"memory":{{"size":{size}}},"boot":{{"kernel":"/k","cmdline":""}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_limit_has_all_that_the_guest_may_ever_have_and_room_for_the_rest() {
        let mut vm = config(1024 * MIB);
        let room = 64 + 64 + 2 * 2;
        assert_eq!(vm.memory_limit(), (1024 + room) * MIB);
        vm.memory.max = Some(4096 * MIB);
        assert_eq!(vm.memory_limit(), (4096 + 256 + 64 + 4) * MIB);
        vm.nets = vec![NetConfig {
            tap: "vm0-0".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: None,
            queues: None,
        }];
        vm.vsock = Some(VsockConfig { cid: 3 });
        assert_eq!(vm.memory_limit(), (4096 + 256 + 64 + 4 + 16 + 256) * MIB);
    }

    #[test]
    fn hugepages_are_in_another_account() {
        let mut vm = config(256 * 1024 * MIB);
        vm.memory.hugepages = HugepageSize::OneGiB;
        assert_eq!(vm.memory_limit(), (16 * 1024 + 64 + 4) * MIB);
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(config(u64::MAX).memory_limit(), u64::MAX);
    }
}

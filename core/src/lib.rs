//! What the host is and what it should be.
//!
//! Everything here is pure: it reads through an injected root directory, decides, and changes nothing.
//! The effects live in `axion-init` and `axion-agent`.
//!
//! | module       | question it answers                                                      |
//! |--------------|--------------------------------------------------------------------------|
//! | [`cmdline`]  | what does the kernel command line say, in order?                         |
//! | [`config`]   | what did the operator ask for, and which source said so?                 |
//! | [`identity`] | which machine is this, the same at every boot?                           |
//! | [`mac`]      | how are Ethernet addresses written, and which does a guest get?          |
//! | [`topology`] | which CPUs, memory, NUMA nodes, PCI devices, disks and NICs are there?   |
//! | [`profile`]  | how are CPUs, memory and devices divided, and is it so?                   |
//! | [`placement`] | on which CPUs and NUMA nodes does a VM run, and what is left?            |
//! | [`proof`]    | is an isolated CPU left alone, and by what is it not?                    |
//! | [`secure_boot`] | does firmware check what it starts, and does the kernel keep to it?   |
//! | [`threads`]  | who may run on which CPU?                                                |
//! | [`quantity`] | how are byte sizes and durations written and read?                       |
//! | [`paths`]    | where do the parts of a running node meet in the file system?            |

pub mod cmdline;
pub mod config;
pub mod identity;
pub mod mac;
pub mod paths;
pub mod placement;
pub mod profile;
pub mod proof;
pub mod quantity;
pub mod secure_boot;
pub mod threads;
pub mod topology;

#[cfg(test)]
mod fixture;

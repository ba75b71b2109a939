//! PID 1 of an Axion node.
//!
//! ```text
//! kernel -> /init in the initramfs      stage 1: kernel interfaces, machine config, plan, the EROFS root, switch to it
//!        -> axion-init --stage2         stage 2: phases, supervision, D-Bus, shutdown
//! ```
//!
//! | module       | what it is about                                                                   |
//! |--------------|------------------------------------------------------------------------------------|
//! | [`stage1`]   | from the kernel's hand to the root file system                                     |
//! | [`stage2`]   | the phases of the boot as data, and the tasks in them                              |
//! | [`handover`] | what stage 1 tells stage 2                                                         |
//! | [`units`]    | services and transient units: states, processes, cgroups, output                  |
//! | [`dbus`]     | `org.axion.Init1`                                                                  |
//! | [`profile`]  | putting the boot profile in force                                                  |
//! | [`proof`]    | proving that isolated CPUs are left alone; `--probe` is its work                   |
//! | [`network`]  | links, addresses, DHCP, resolvers                                                  |
//! | [`install`]  | installation on a disk                                                             |
//! | [`config`]   | the machine config that the node keeps, shown and replaced                          |
//! | [`storage`]  | ZFS for whoever may ask                                                            |
//! | [`keys`]     | the TPM: measuring the boot, keys of encrypted datasets                             |
//! | [`log`]      | the node's log: ring, kernel log, forwarding                                       |
//! | [`slot`]     | the slot of an installed node: confirmed, or given up                              |
//! | [`loader`]   | what the loader says of the start                                                  |
//! | [`secure_boot`] | what firmware has checked stays checked                                         |
//! | [`crash`]    | how the kernel before this one ended                                               |
//! | [`firmware`] | what drivers asked for and did not get                                             |
//! | [`recovery`] | what the agent and the console ask about a node in trouble                          |
//! | [`rescue`]   | the shell of whoever is in front of the machine                                    |
//! | [`reset`]    | factory reset: ordered, and carried out at the next boot                           |
//! | [`power`]    | orderly shutdown and what asks for it                                              |
//! | [`failure`]  | the screen of a boot that cannot go on                                             |

mod boot_next;
mod clock;
mod config;
mod consoles;
mod crash;
mod dbus;
mod failure;
mod files;
mod firmware;
mod handover;
mod install;
mod keys;
mod loader;
mod log;
mod mounts;
mod names;
mod network;
mod node;
mod pool_watch;
mod power;
mod profile;
mod proof;
mod rcu;
mod recovery;
mod rescue;
mod reset;
mod secure_boot;
mod slot;
mod stage1;
mod stage2;
mod storage;
mod streams;
mod sync;
mod sys;
mod timekeeping;
mod units;
mod watchdog;

use std::io::Write;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::log::Log;

fn main() -> ExitCode {
    let stage2 = std::env::args_os().nth(1).is_some_and(|a| a == "--stage2");
    if std::env::args_os()
        .nth(1)
        .is_some_and(|a| a == proof::probe::FLAG)
    {
        return proof::probe::run(std::env::args().skip(2));
    }
    if std::process::id() != 1 {
        let _ = writeln!(
            std::io::stderr(),
            "axion-init: this is the node's PID 1; the kernel starts it as /init, and it starts itself with --stage2"
        );
        return ExitCode::from(2);
    }
    let stage: fn(&Log) -> Failure = if stage2 { stage2::run } else { stage1::run };
    let log = Log::open();
    failure::log_panics(&log);
    // PID 1 must not end, whatever happens: the kernel would panic, and nobody would read why.
    let failure = std::panic::catch_unwind(|| stage(&log)).unwrap_or_else(|_| Failure::internal());
    let action = failure::show(&failure, &log);
    power::last_resort(action)
}

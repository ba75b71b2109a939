//! Running a vCPU and serving its exits.

use kvm_bindings::{KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::asleep::Asleep;
use super::kick::{Kick, internal_suberror};
use super::{Exits, Shared};

/// Why a vCPU stopped by itself.
#[derive(Debug)]
pub enum Stop {
    /// Triple fault, which resets a PC: operating systems that find no other way rely on it (`reboot=t`).
    TripleFault,
    /// KVM asked for a reset.
    Reset,
    /// KVM asked for the end of the machine.
    Off,
    /// It cannot go on.
    Failed(VcpuError),
}

/// A vCPU cannot go on. `rip` is the guest's instruction pointer.
#[derive(Debug, thiserror::Error)]
pub enum VcpuError {
    /// `KVM_RUN` failed.
    #[error("KVM_RUN failed at RIP {rip:#x}")]
    Run {
        /// Guest's instruction pointer.
        rip: u64,
        /// Cause.
        source: kvm_ioctls::Error,
    },
    /// The CPU refused to enter the guest.
    #[error("the CPU refused to enter the guest at RIP {rip:#x}: hardware reason {reason:#x}")]
    Entry {
        /// Guest's instruction pointer.
        rip: u64,
        /// Hardware's reason.
        reason: u64,
    },
    /// KVM gave up.
    #[error("KVM gave up at RIP {rip:#x}: internal error {suberror}{}", explanation(*suberror))]
    Internal {
        /// Guest's instruction pointer.
        rip: u64,
        /// KVM's `suberror`.
        suberror: u32,
    },
    /// The guest reported its crash through KVM.
    #[error("the guest reported a crash at RIP {rip:#x}")]
    Crash {
        /// Guest's instruction pointer.
        rip: u64,
    },
    /// An exit that this machine has no use for.
    #[error("unexpected exit at RIP {rip:#x}: {exit}")]
    Unexpected {
        /// Guest's instruction pointer.
        rip: u64,
        /// The exit.
        exit: String,
    },
}

/// Names of `KVM_INTERNAL_ERROR_*`.
const fn explanation(suberror: u32) -> &'static str {
    match suberror {
        1 => " (cannot emulate the instruction)",
        2 => " (two exceptions at once)",
        3 => " (exception while delivering an event)",
        4 => " (unknown exit of the CPU)",
        _ => "",
    }
}

/// How to go on after an exit.
enum Next {
    Enter,
    /// Interrupted: look at the gate.
    Gate,
    Stop(Stop),
    Fail(Failure),
}

/// A failure before the registers were read.
enum Failure {
    Run(kvm_ioctls::Error),
    Entry(u64),
    Internal,
    Crash,
    Unexpected(String),
}

/// Runs the vCPU until the gate is shut (`None`) or it stops by itself.
pub fn run(fd: &mut VcpuFd, kick: &Kick, asleep: &Asleep, shared: &Shared, exits: &Exits) -> Option<Stop> {
    let mut next = Next::Gate;
    loop {
        match next {
            Next::Enter => {}
            Next::Gate => {
                kick.take();
                asleep.look(fd);
                // Tells a guest with kvm-clock that it was stopped, lest its watchdog barks; others refuse.
                let resumed = || {
                    let _ = fd.kvmclock_ctrl();
                };
                if !shared.gate.pass(resumed) {
                    return None;
                }
            }
            Next::Stop(stop) => return Some(stop),
            Next::Fail(failure) => return Some(Stop::Failed(diagnose(fd, failure))),
        }
        next = enter(fd, shared, exits);
    }
}

fn enter(fd: &mut VcpuFd, shared: &Shared, exits: &Exits) -> Next {
    let exit = match fd.run() {
        Ok(exit) => exit,
        Err(error) => {
            let (counter, next) = match error.errno() {
                nix::libc::EINTR => (&exits.interrupted, Next::Gate),
                // A CPU that waits for INIT got one.
                nix::libc::EAGAIN => (&exits.init_waits, Next::Enter),
                _ => (&exits.others, Next::Fail(Failure::Run(error))),
            };
            counter.count();
            return next;
        }
    };
    match exit {
        VcpuExit::IoOut(port, data) => {
            exits.port_writes.count();
            shared.ports.write(port.into(), data);
        }
        VcpuExit::IoIn(port, data) => {
            exits.port_reads.count();
            shared.ports.read(port.into(), data);
        }
        VcpuExit::MmioWrite(address, data) => {
            exits.mmio_writes.count();
            shared.memory.write(address, data);
        }
        VcpuExit::MmioRead(address, data) => {
            exits.mmio_reads.count();
            shared.memory.read(address, data);
        }
        VcpuExit::IoapicEoi(vector) => {
            exits.interrupt_ends.count();
            shared.ioapic.end_of_interrupt(vector);
        }
        VcpuExit::Intr => {
            exits.interrupted.count();
            return Next::Gate;
        }
        other => {
            exits.others.count();
            return stop(other);
        }
    }
    Next::Enter
}

/// What an exit means after which the vCPU does not go on.
fn stop(exit: VcpuExit<'_>) -> Next {
    match exit {
        VcpuExit::Shutdown => Next::Stop(Stop::TripleFault),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => Next::Stop(Stop::Reset),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => Next::Stop(Stop::Off),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _) => Next::Fail(Failure::Crash),
        VcpuExit::FailEntry(reason, _) => Next::Fail(Failure::Entry(reason)),
        VcpuExit::InternalError => Next::Fail(Failure::Internal),
        other => Next::Fail(Failure::Unexpected(format!("{other:?}"))),
    }
}

fn diagnose(fd: &mut VcpuFd, failure: Failure) -> VcpuError {
    let rip = fd.get_regs().map_or(0, |regs| regs.rip);
    match failure {
        Failure::Run(source) => VcpuError::Run { rip, source },
        Failure::Entry(reason) => VcpuError::Entry { rip, reason },
        Failure::Internal => VcpuError::Internal {
            rip,
            suberror: internal_suberror(fd),
        },
        Failure::Crash => VcpuError::Crash { rip },
        Failure::Unexpected(exit) => VcpuError::Unexpected { rip, exit },
    }
}

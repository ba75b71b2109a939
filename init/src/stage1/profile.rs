//! The boot profile before the root is mounted: it is planned here, because the plan may need another kernel command line.

use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config::resolve;
use axion_core::identity::{Facts, MachineId};
use axion_core::profile::{Declaration, KexecDecision, Resolved, Standing, is_restarted, is_second_start};
use axion_core::topology::{Platform, Topology, read_acs};
use axion_storage::hostid;

use super::{kexec, restart};
use crate::failure::chain;
use crate::handover::Handover;
use crate::log::Log;
use crate::profile::uses;

/// Plans for this machine and hands the plan over; starts the kernel again where the plan needs it.
///
/// # Errors
/// The kernel should have been started again and was not, in words. The boot goes on, and attestation says what is missing.
pub fn plan(cmdline: &CommandLine, handover: &mut Handover, log: &Log) -> Result<(), String> {
    let mut effective = resolve(&handover.documents());
    effective.rejected.extend(handover.rejected.iter().cloned());
    let mut declaration = Declaration::of_effective(&effective);
    let root = Path::new("/");
    let mut topology = if Resolved::is_off(&declaration, cmdline) {
        Topology {
            platform: Platform::read(root),
            ..Topology::default()
        }
    } else {
        Topology::read(root)
    };
    if !declaration.profile.vfio.is_empty() {
        let acs = read_acs(root);
        for function in &mut topology.pci {
            function.acs = acs.get(&function.address).copied();
        }
    }
    if uses::are_needed(&declaration) {
        // The machine id is what a pool's host is known by; one that is kept on a pool is the same.
        let machine = MachineId::decide(None, &Facts::read(root), "");
        let hostid = hostid::of(&machine.to_string());
        declaration.uses = uses::find(root, &topology, cmdline, &effective.config.storage, hostid);
    }
    let resolved = Resolved::of(&topology, &declaration, cmdline);
    tell(&resolved, log);
    if is_restarted(cmdline) {
        restart::settle(cmdline, log);
    }
    let decision = resolved.kexec(cmdline);
    handover.profile = Some(resolved);
    match next(decision) {
        Next::GoOn => Ok(()),
        Next::Switched => {
            log.warning("boot profile: off for this boot, as the kernel command line says");
            Ok(())
        }
        Next::Without(why) => Err(why),
        Next::StartAgain(command_line) => {
            log.info(&format!(
                "boot profile: starting the kernel again with: {command_line}"
            ));
            match kexec::start_again(&command_line, handover) {
                Err(e) => Err(format!(
                    "cannot start the kernel again for the profile: {}",
                    chain(&e)
                )),
                Ok(never) => match never {},
            }
        }
        Next::Restart => {
            let plan = handover.profile.as_ref().map(|resolved| &resolved.plan);
            let encryption = &effective.config.storage.encryption;
            match restart::with_stored(cmdline, plan, encryption, log) {
                Err(e) => Err(format!(
                    "cannot restart the machine for the profile: {}",
                    chain(&e)
                )),
                Ok(never) => match never {},
            }
        }
    }
}

/// What comes of a decision.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The kernel is as planned.
    GoOn,
    /// The operator wants it without a profile.
    Switched,
    /// The boot goes on without the arguments; why.
    Without(String),
    /// The kernel starts itself, with this command line.
    StartAgain(String),
    /// The arguments are stored, and the machine restarts.
    Restart,
}

fn next(decision: KexecDecision) -> Next {
    match decision {
        KexecDecision::NotNeeded => Next::GoOn,
        KexecDecision::SwitchedOff => Next::Switched,
        KexecDecision::AlreadyTried => Next::Without(
            "the kernel was started again for the profile and has not got its arguments; not a second time"
                .to_owned(),
        ),
        KexecDecision::TooLong { length } => Next::Without(format!(
            "the kernel command line would have {length} bytes, and the kernel keeps 2047"
        )),
        KexecDecision::Kexec { command_line } => Next::StartAgain(command_line),
        KexecDecision::Reboot => Next::Restart,
    }
}

fn tell(resolved: &Resolved, log: &Log) {
    for refusal in &resolved.refusals {
        log.error(&format!("boot profile refused: {refusal}"));
    }
    for note in &resolved.plan.notes {
        log.info(&format!("boot profile: {note}"));
    }
    if resolved.standing == Standing::Planned {
        let plan = &resolved.plan;
        let isolated = if plan.isolated.is_empty() {
            "none".to_owned()
        } else {
            plan.isolated.to_string()
        };
        log.info(&format!(
            "boot profile: {}, CPUs of workloads: {isolated}",
            plan.mode
        ));
    }
}

/// The config documents, where an earlier kernel of this boot has them already.
pub fn recall(cmdline: &CommandLine, handover: &mut Handover, log: &Log) -> bool {
    let carried = if is_second_start(cmdline) {
        kexec::carried()
    } else {
        None
    };
    let Some(carried) = carried else {
        return false;
    };
    for (source, _) in &carried.documents {
        log.info(&format!(
            "machine config: {source}, as the kernel before this one had it"
        ));
    }
    handover.documents = carried.documents;
    handover.rejected = carried.rejected;
    handover.volumes = carried.volumes;
    true
}

#[cfg(test)]
mod tests;

//! Stage 1: from the kernel's hand to the root file system.
//!
//! ```text
//! kernel interfaces   /proc /sys /dev /run
//! config              AXION-CFG volume, axion.config= on the command line
//! profile             planned for this machine; the same kernel again, once, where it needs other arguments
//! root                EROFS, a file in the initramfs, on /newroot; switch; exec stage 2
//! ```
//! With `axion.mode=install` on the command line and a disk in the config, nothing is planned, and the installer comes in place of
//! the switch: here, where the files that it installs still have their names. Without a disk, stage 2 asks a person, and what the
//! installer needs of this initramfs is kept for it.
//!
//! Synchronous and short; only a config URL starts an event loop and the network.

pub mod extras;
mod fetch;
mod installed;
pub mod kexec;
mod profile;
mod restart;
pub mod root;
mod sources;
mod unattended;
pub mod volume;

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use axion_api::init::{Outcome, Phase, Task};
use axion_core::cmdline::CommandLine;
use axion_core::config::{Boot, resolve};

use crate::clock;
use crate::failure::{Failure, chain};
use crate::handover::Handover;
use crate::install;
use crate::keys::policy;
use crate::log::Log;
use crate::mounts;
use crate::rcu;
use crate::reset;
use crate::secure_boot;
use crate::slot;

/// Runs stage 1. It comes back only when it failed.
pub fn run(log: &Log) -> Failure {
    match boot(log) {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}

fn boot(log: &Log) -> Result<Infallible, Failure> {
    let started = clock::since_start();
    let mut handover = Handover {
        kernel_us: clock::micros(started),
        ..Handover::default()
    };

    for mount in mounts::STAGE1 {
        mount.perform().map_err(|e| Failure {
            task: "set up the kernel's interfaces".to_owned(),
            cause: chain(&e),
            next_step: "boot the kernel that belongs to this initramfs".to_owned(),
            boot: Boot::default(),
        })?;
    }
    // Else the kernel takes ten lines in five seconds, and why the machine restarts may be the eleventh. A kernel whose command line
    // says otherwise refuses this.
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    rcu::hurry(true, log);
    handover.phases.push(phase("kernel-interfaces", log, started));

    let started = clock::since_start();
    let cmdline = CommandLine::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default());
    if !profile::recall(&cmdline, &mut handover, log) {
        sources::gather(&cmdline, &mut handover, log);
        // Only now are the disks up.
        if reset::take_config(&cmdline, &mut handover, log) {
            sources::gather(&cmdline, &mut handover, log);
        }
    }
    handover.phases.push(phase("gather-config", log, started));

    let asked = install::is_asked_for(&cmdline);
    if asked && unattended::is_told(&handover) {
        root::mount(Path::new(root::IMAGE)).map_err(|e| damaged(&handover, &e))?;
        return unattended::run(&cmdline, &handover, log);
    }

    let started = clock::since_start();
    let planned = if asked {
        // The kernel would not come along, and a machine that is to be installed has no work for a profile.
        let off = CommandLine::parse(&format!("{cmdline} axion.profile=off"));
        profile::plan(&off, &mut handover, log)
    } else {
        let planned = profile::plan(&cmdline, &mut handover, log);
        if !kexec::boots_others(&cmdline, &handover) {
            kexec::drop_kernel();
        }
        planned
    };
    let mut phase_of_plan = phase("plan-profile", log, started);
    if let Err(error) = planned {
        log.error(&format!("boot profile: {error}"));
        degrade(&mut phase_of_plan, &error);
    }
    handover.phases.push(phase_of_plan);

    let started = clock::since_start();
    root::mount(Path::new(root::IMAGE)).map_err(|e| damaged(&handover, &e))?;
    extras::show(log);
    if slot::running(&cmdline).is_none()
        && let Err(error) = root::keep_initramfs()
    {
        log.warning(&format!(
            "this start cannot be installed on a disk: {}",
            chain(&error)
        ));
    }
    handover.phases.push(phase("mount-root", log, started));

    handover.left_us = clock::micros(clock::since_start());
    handover.store().map_err(|e| damaged(&handover, &e))?;
    secure_boot::keep_signatures().map_err(|e| damaged(&handover, &e))?;
    policy::keep().map_err(|e| damaged(&handover, &e))?;
    root::switch_and_run().map_err(|e| damaged(&handover, &e))
}

/// The image cannot be used.
fn damaged(handover: &Handover, cause: &dyn std::error::Error) -> Failure {
    Failure {
        task: format!("start from {}", root::IMAGE),
        cause: chain(cause),
        next_step: "the image is damaged or incomplete: boot the previous one, or write the medium again"
            .to_owned(),
        boot: resolve(&handover.documents()).config.boot,
    }
}

/// The task of `phase` failed, and the boot goes on.
fn degrade(phase: &mut Phase, error: &str) {
    phase.outcome = Outcome::Degraded;
    for task in &mut phase.tasks {
        task.essential = false;
        task.error = Some(error.to_owned());
    }
}

/// A phase with one essential task, which succeeded.
fn phase(name: &str, log: &Log, started: Duration) -> Phase {
    let took = clock::since_start().saturating_sub(started);
    log.info(&format!("phase {name} ok in {} ms", took.as_millis()));
    let task = Task {
        name: name.to_owned(),
        essential: true,
        duration_us: clock::micros(took),
        error: None,
    };
    Phase {
        stage: 1,
        name: name.to_owned(),
        start_us: clock::micros(started),
        duration_us: clock::micros(took),
        outcome: Outcome::Ok,
        tasks: vec![task],
    }
}

//! The unattended installer: `axion.mode=install` and a disk in the machine config.
//!
//! ```text
//! config ─ disks ─ the one that is meant ┬ plan on every console ─ write ─ reboot or power off
//!                                        └ it is installed already: it is started ([`installed`])
//! ```
//! Here, where the files that it installs still have their names. The installed config is the one in force. A machine that always
//! starts the installer, as its firmware prefers the network, is installed once, and from then on comes to its disk by it.

use std::convert::Infallible;
use std::fs::File;
use std::time::Duration;

use axion_core::cmdline::CommandLine;
use axion_core::config::{AfterInstall, Boot, Document, Effective, FailureAction, Install, in_one, resolve};
use axion_install::perform::Progress;
use axion_install::select::{self, Candidate, SelectError};

use super::installed;
use crate::clock;
use crate::failure::{self, Failure, chain};
use crate::handover::Handover;
use crate::install::{self, Error, Image, Job, Origin};
use crate::log::Log;
use crate::{power, sys};

/// How long a disk is waited for.
const SETTLE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(200);
/// How long the end is shown: nobody waits for an installation without questions, and lines are written by then.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whether the config says which disk, or has an error that only an operator corrects.
pub fn is_told(handover: &Handover) -> bool {
    let effective = resolve(&handover.documents());
    let wrong = [&effective.rejected, &effective.ignored, &handover.rejected];
    let refused = wrong.iter().any(|documents| !documents.is_empty());
    refused || effective.config.install.disk.is_some()
}

/// Installs, and leaves the machine as the config says. It comes back only when nothing could be installed.
///
/// # Errors
/// The cause, and what an operator can do.
pub fn run(cmdline: &CommandLine, handover: &Handover, log: &Log) -> Result<Infallible, Failure> {
    let mut effective = resolve(&handover.documents());
    effective.rejected.extend(handover.rejected.iter().cloned());
    let mut screen = Screen {
        terminals: failure::open_terminals(),
        log,
    };
    match carry_out(cmdline, handover, &effective, &mut screen) {
        Ok(None) => leave(effective.config.install.after, &mut screen),
        Ok(Some(there)) => start(&there, &effective.config.boot, &mut screen),
        Err(error) => Err(Failure {
            task: "install Axion".to_owned(),
            cause: chain(&error),
            next_step: "correct [install] in the machine config or choose another disk, and start the installer again"
                .to_owned(),
            boot: effective.config.boot,
        }),
    }
}

/// Starts the installation that is there. Where that cannot be done from here, the machine stays as it is: it would come back to the
/// installer for ever.
fn start(there: &Candidate, boot: &Boot, screen: &mut Screen<'_>) -> Result<Infallible, Failure> {
    let version = there.contents.installed.as_deref().unwrap_or_default();
    screen.say(&format!(
        "\n{there}\nholds Axion {version} already, and is started. `install.existing = \"replace\"` would install it anew.\n"
    ));
    screen.log.info(&format!("{there} holds Axion {version} already"));
    let error = if install::is_uefi() {
        match installed::next_time(there) {
            Ok(()) => {
                screen.log.info("the firmware starts the disk next");
                power::last_resort(FailureAction::Reboot)
            }
            Err(error) => error,
        }
    } else {
        match installed::by_kexec(there, screen.log) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    };
    Err(Failure {
        task: format!("start the installation on {there}"),
        cause: chain(&error),
        next_step: "have the firmware start this disk first, or put `install.existing = \"replace\"` into the machine config"
            .to_owned(),
        boot: Boot {
            on_failure: FailureAction::Halt,
            ..boot.clone()
        },
    })
}

fn leave(after: AfterInstall, screen: &mut Screen<'_>) -> ! {
    let (words, action) = match after {
        AfterInstall::Reboot => ("Rebooting", FailureAction::Reboot),
        AfterInstall::PowerOff => ("Powering off", FailureAction::PowerOff),
    };
    screen.say(&format!("{words}; take the medium out.\n"));
    sys::pause(FAREWELL);
    power::last_resort(action)
}

/// Every console, and the log.
struct Screen<'a> {
    terminals: Vec<File>,
    log: &'a Log,
}

impl Screen<'_> {
    fn say(&mut self, text: &str) {
        failure::say(&mut self.terminals, &text.replace('\n', "\r\n"));
    }
}

/// Installs; gives the disk where it holds an installation already, and nothing is written.
fn carry_out(
    cmdline: &CommandLine,
    handover: &Handover,
    effective: &Effective,
    screen: &mut Screen<'_>,
) -> Result<Option<Candidate>, Error> {
    let config = &effective.config.install;
    install::check_config(effective)?;
    let documents = handover.documents();
    let disks = match wait_for_disks(config, &documents)? {
        Meant::Write(disks) => disks,
        Meant::Start(there) => return Ok(Some(*there)),
    };
    let image = Image::gather(&Origin::stage1())?;
    let text = in_one(&documents, "install");
    let disks = disks.into_iter().map(|disk| (disk, config.pool)).collect();
    let job = Job::prepare(disks, text, cmdline, image)?;
    let name = job.disk();
    screen.log.info(&format!("installing on {name}"));
    if let Some(shown) = job.summary(&effective.config.hostname) {
        let arguments = job.arguments();
        screen.say(&format!("\n{}\n  arguments   {arguments}\n\n", shown.text));
    }

    let began = clock::since_start();
    let mut bar = Bar::new(job.bytes());
    job.write(&mut |progress| {
        if let Some(text) = bar.show(progress) {
            screen.say(&text);
        }
    })?;
    let took = clock::since_start().saturating_sub(began);
    screen
        .log
        .info(&format!("installed on {name} in {} ms", took.as_millis()));
    screen.say(&format!("\nAxion {} is installed on {name}.\n", install::VERSION));
    job.start_next(screen.log);
    Ok(None)
}

/// What becomes of the disks that the config means.
enum Meant {
    /// The disk is written, and its mirror.
    Write(Vec<Candidate>),
    /// It is installed.
    Start(Box<Candidate>),
}

/// The disk that is meant, and its mirror; one that has not come up yet is waited for.
fn wait_for_disks(config: &Install, documents: &[Document]) -> Result<Meant, Error> {
    let end = clock::since_start() + SETTLE;
    loop {
        let candidates = install::candidates(documents);
        match select::select(&candidates, config) {
            Ok((disk, mirror)) => {
                let disks = std::iter::once(disk).chain(mirror);
                return Ok(Meant::Write(disks.cloned().collect()));
            }
            Err(SelectError::None { .. }) if clock::since_start() < end => sys::pause(STEP),
            Err(error) => match select::installed(&candidates, config) {
                Some(there) => return Ok(Meant::Start(Box::new(there.clone()))),
                None => return Err(error.into()),
            },
        }
    }
}

/// A line that grows.
struct Bar {
    total: u64,
    written: u64,
    /// Percent that were shown last.
    shown: u64,
}

impl Bar {
    const WIDTH: u64 = 40;

    const fn new(total: u64) -> Self {
        Self {
            total,
            written: 0,
            shown: 0,
        }
    }

    /// What is to be shown next, if anything.
    fn show(&mut self, progress: Progress) -> Option<String> {
        match progress {
            Progress::Step(what) => Some(format!("{what}\n")),
            Progress::Bytes(bytes) => {
                self.written += bytes;
                let percent = (self.written * 100).checked_div(self.total).unwrap_or(100);
                if percent == self.shown {
                    return None;
                }
                self.shown = percent;
                let full = percent * Self::WIDTH / 100;
                let bar: String = (0..Self::WIDTH)
                    .map(|n| if n < full { '#' } else { '.' })
                    .collect();
                let end = if percent >= 100 { "\n" } else { "" };
                Some(format!("\r  [{bar}] {percent:3} %{end}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;

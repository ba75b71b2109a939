//! The screen of a boot that cannot go on.
//!
//! The cause and the next step go to every terminal that a person may be looking at, to the kernel log and, through
//! `/dev/pmsg0`, to pstore, where the next boot finds them. Then a countdown, then what the config says.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use axion_core::config::{Boot, FailureAction};

use crate::clock;
use crate::consoles::Terminals;
use crate::log::{CRITICAL, Log};
use crate::sys;

/// Why a boot stopped.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The part that failed, for people: `mount the root file system`.
    pub task: String,
    /// The chain of causes.
    pub cause: String,
    /// What an operator can do.
    pub next_step: String,
    /// What follows.
    pub boot: Boot,
}

impl Failure {
    /// PID 1 itself is at fault; the panic's message is in the log.
    pub fn internal() -> Self {
        Self {
            task: "run axion-init".to_owned(),
            cause: "axion-init failed with an internal error; the kernel log has its message".to_owned(),
            next_step: "report the message; boot the previous image if it happens again".to_owned(),
            boot: Boot::default(),
        }
    }
}

/// An error and what caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Sends the message of every panic to the log: nobody reads PID 1's standard error.
pub fn log_panics(log: &Log) {
    let log = log.clone();
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("panic");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log.write(CRITICAL, "init", &format!("internal error: {text} ({place})"));
    }));
}

/// Shows the failure, counts down, and says what to do next. Blocks for the countdown; [`FailureAction::Halt`] comes
/// back at once, with the cause left on the consoles.
pub fn show(failure: &Failure, log: &Log) -> FailureAction {
    log.write(
        CRITICAL,
        "init",
        &format!("boot failed: cannot {}: {}", failure.task, failure.cause),
    );
    let mut terminals = open_terminals();
    let text = screen(failure);
    if let Ok(mut pstore) = OpenOptions::new().write(true).open("/dev/pmsg0") {
        let _ = pstore.write_all(text.as_bytes());
    }
    say(&mut terminals, &text.replace('\n', "\r\n"));
    let (verb, action) = match failure.boot.on_failure {
        FailureAction::Reboot => ("Rebooting", FailureAction::Reboot),
        FailureAction::PowerOff => ("Powering off", FailureAction::PowerOff),
        FailureAction::Halt => {
            say(
                &mut terminals,
                "The node stays as it is (boot.on_failure = \"halt\").\r\n",
            );
            return FailureAction::Halt;
        }
    };
    let end = clock::since_start() + failure.boot.countdown.0;
    loop {
        let left = end.saturating_sub(clock::since_start());
        if left.is_zero() {
            break;
        }
        say(&mut terminals, &format!("\r{verb} in {} s ", left.as_secs() + 1));
        sys::pause(left.min(Duration::from_secs(1)));
    }
    say(&mut terminals, &format!("\r{verb} now     \r\n"));
    action
}

fn screen(failure: &Failure) -> String {
    format!(
        "\n\n*** Axion cannot start ***\n\nCannot {}.\n\nCause:     {}\nNext step: {}\n\n",
        failure.task, failure.cause, failure.next_step
    )
}

/// Every terminal that a person may be looking at.
pub fn open_terminals() -> Vec<File> {
    let mut names = Terminals::read(Path::new("/")).all();
    if names.is_empty() {
        names.push("console".to_owned());
    }
    // A serial line that nobody drains must not hold the countdown up.
    let open = |name: String| {
        OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(Path::new("/dev").join(name))
            .ok()
    };
    names.into_iter().filter_map(open).collect()
}

/// Writes to terminals, as they take it.
pub fn say(terminals: &mut [File], text: &str) {
    for terminal in terminals {
        let _ = terminal.write_all(text.as_bytes());
    }
}

//! The rescue shell: root on the terminal that a console was on, for whoever stands in front of the machine.
//!
//! ```text
//! console, its own line ─> the config allows it? ─> busybox out of the guest's initramfs ─> console down ─> shell on the line
//!                                                                              console up again <─ the shell ends
//! ```
//! Three things keep it from the network: only the console and root may ask (init knows the peer by the kernel's word, and the
//! agent, which the network reaches, is turned away), it is on a terminal of the machine, and it is off unless the machine config
//! switches it on. That it was opened and closed is in the log, and is told to the agent, which writes it into its audit log.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::UnitState;
use axion_api::problem::{Kind, Problem};
use axion_api::recovery::NoticeKind;
use axion_core::paths;

use crate::failure::chain;
use crate::files::{self, Access};
use crate::node::Node;
use crate::storage::on_thread;
use crate::units::{CPU_WEIGHT, Cpus, Restart, Spec, Stdio, UnitError};

/// Where the shell's program is put.
const DIRECTORY: &str = "/run/axion/rescue";
/// Its name in the guest's initramfs.
const PROGRAM: &str = "bin/busybox";
/// Bytes of the program at most.
const LARGEST: u32 = 16 << 20;
/// The console shows the answer before it goes down.
const ANSWERED: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(200);
/// A console is down after so long, or is killed.
const DOWN: Duration = Duration::from_secs(10);

/// What the shell says first.
const GREETING: &str = "Axion rescue shell. You are root; what you do is not undone by anything.\n\
                        `exit` gives the console back. zpool, zfs and busybox's programs are here.";

/// Whether the peer may have a shell on `line`. Pure.
fn may_open(uid: u32, allowed: bool, line: &str, consoles: &[String]) -> Result<(), Problem> {
    if ![0, paths::UID_CONSOLE].contains(&uid) {
        let detail =
            "the rescue shell is for whoever is in front of the machine: it is asked for on the console";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    if !allowed {
        let detail = "the rescue shell is switched off; `console.rescue_shell = true` in the machine config switches it on";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    if !consoles.iter().any(|console| console == line) {
        let line = line.escape_debug();
        return Err(Problem::new(Kind::NotFound, format!("no console is on `{line}`")));
    }
    Ok(())
}

/// Opens a shell on the line of a console; that it runs is not waited for.
pub async fn open(node: &Arc<Node>, uid: u32, line: &str) -> Result<(), Problem> {
    let units = node.units.list().await;
    let consoles = units.iter().filter(|unit| unit.pid.is_some());
    let consoles = consoles.filter_map(|unit| unit.name.strip_prefix("console@").map(str::to_owned));
    let consoles: Vec<String> = consoles.collect();
    let allowed = node.config.get().is_some_and(|c| c.config.console.rescue_shell);
    if let Err(problem) = may_open(uid, allowed, line, &consoles) {
        node.log.warning(&format!(
            "audit: user {uid} was refused a rescue shell on {}: {}",
            line.escape_debug(),
            problem.detail
        ));
        return Err(problem);
    }
    let internal = |why: String| Problem::new(Kind::Internal, format!("no rescue shell: {why}"));
    let unpacked = on_thread(|| unpack(Path::new(paths::GUEST_INITRD), Path::new(DIRECTORY))).await;
    unpacked
        .map_err(|error| internal(error.to_string()))?
        .map_err(|error| internal(chain(&*error)))?;
    say(node, &format!("a rescue shell is opened on {line}"));
    let (node, line) = (node.clone(), line.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(ANSWERED).await;
        run(&node, &line).await;
        say(&node, &format!("the rescue shell on {line} is closed"));
    });
    Ok(())
}

/// Into the log, and to the agent's audit.
fn say(node: &Node, what: &str) {
    node.log.warning(&format!("audit: {what}"));
    node.notice(NoticeKind::Rescue, what.to_owned());
}

/// The shell in the place of the console, until it ends.
async fn run(node: &Node, line: &str) {
    let (console, shell) = (format!("console@{line}"), format!("rescue@{line}"));
    let stopped = node.units.stop(&console).await;
    if stopped.is_ok() && tokio::time::timeout(DOWN, down(node, &console)).await.is_err() {
        let _ = node.units.kill(&console).await;
        let _ = tokio::time::timeout(DOWN, down(node, &console)).await;
    }
    let started = match node.units.add(spec(&shell, line)).await {
        // It is there from the last time.
        Err(UnitError::Exists(_)) => node.units.start_unit(&shell).await,
        other => other.map(drop),
    };
    match started {
        Ok(()) => down(node, &shell).await,
        Err(error) => node.log.error(&format!(
            "the rescue shell on {line} is not started: {}",
            chain(&error)
        )),
    }
    if let Err(error) = node.units.start_unit(&console).await {
        node.log.error(&format!(
            "the console on {line} is not started again: {}",
            chain(&error)
        ));
    }
}

/// Waits until a unit is down.
async fn down(node: &Node, name: &str) {
    loop {
        let unit = node.units.get(name).await;
        if unit.is_ok_and(|unit| matches!(unit.state, UnitState::Inactive | UnitState::Failed)) {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn spec(name: &str, line: &str) -> Spec {
    let busybox = format!("{DIRECTORY}/busybox");
    let bin = format!("{DIRECTORY}/bin");
    let script = format!(
        "mkdir -p {bin}; {busybox} --install -s {bin} 2>/dev/null; printf '\\n%s\\n\\n' \"$GREETING\"; unset GREETING; \
         exec {busybox} sh -i"
    );
    let env = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let serial = !line.starts_with("tty") || line.starts_with("ttyS");
    Spec {
        name: name.to_owned(),
        description: format!("Rescue shell on {line}"),
        transient: false,
        argv: vec![busybox, "sh".to_owned(), "-c".to_owned(), script],
        env: vec![
            env("PATH", &format!("/usr/sbin:/usr/bin:{bin}")),
            env("HOME", "/"),
            env("TERM", if serial { "vt100" } else { "linux" }),
            env("PS1", "rescue# "),
            env("GREETING", GREETING),
        ],
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        run_directory: None,
        files: Vec::new(),
        volumes: Vec::new(),
        taps: Vec::new(),
        restart: Restart::OnError(0),
        stop_timeout: Duration::from_secs(2),
        stdio: Stdio::Terminal(line.to_owned()),
        notifies: false,
        oom_score: -900,
        cpus: Cpus {
            weight: CPU_WEIGHT,
            ..Cpus::default()
        },
        memory_max: None,
        own_pids: false,
        low_ports: false,
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Takes busybox out of the initramfs that guests start with: the image has no second one.
fn unpack(initramfs: &Path, directory: &Path) -> Result<(), Failed> {
    let to = directory.join("busybox");
    if to.exists() {
        return Ok(());
    }
    let root_only = Access {
        uid: 0,
        gid: 0,
        mode: 0o700,
    };
    let program = find(File::open(initramfs)?)?;
    files::directory(directory, root_only)?;
    Ok(files::replace(&to, &program, root_only)?)
}

/// The program in a cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst).
fn find(archive: impl Read) -> io::Result<Vec<u8>> {
    let mut rest = archive;
    loop {
        let mut file = cpio::newc::Reader::new(rest)?;
        if file.entry().is_trailer() {
            let none = format!("the guest's initramfs has no {PROGRAM}");
            return Err(io::Error::new(io::ErrorKind::NotFound, none));
        }
        if file.entry().name().trim_start_matches("./") == PROGRAM {
            if file.entry().file_size() > LARGEST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let mut program = Vec::new();
            file.read_to_end(&mut program)?;
            return Ok(program);
        }
        rest = file.finish()?;
    }
}

#[cfg(test)]
mod tests;

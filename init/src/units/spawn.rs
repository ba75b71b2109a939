//! Starting a unit's process.
//!
//! Between fork and exec the child enters its cgroup, gets a session (and its terminal), limits, groups and user, and
//! gives up gaining privileges; only then the program runs. Everything that needs memory is made before the fork.
//!
//! A process with process ids of its own is number 1 of a PID namespace: it sees nobody and can name nobody to send a signal
//! to. The kernel keeps signals from such a process for which it has no handler, SIGKILL from outside excepted, so it begins
//! with SIGTERM blocked: one that comes early waits until it looks for it (signalfd(2)).
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command, Stdio as ProcessStdio};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, pipe2, setgid, setgroups, setsid, setuid};
use rustix::termios::{self, ControlModes, InputModes, LocalModes, OptionalActions, OutputModes};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities,
};
use tokio::net::unix::pipe;

use super::cgroup::{Cgroup, CgroupError};
use super::notify;
use super::spec::{Spec, Stdio};
use crate::files::{self, Access, FileError};

/// A process that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its terminal.
    #[error("cannot open the terminal {line}")]
    Terminal {
        /// Terminal.
        line: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its terminal's owner.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its output.
    #[error("cannot make a pipe for its output")]
    Pipe(#[source] std::io::Error),
    /// The program.
    #[error("cannot run {program}")]
    Run {
        /// Program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It has no program.
    #[error("it names no program")]
    NoProgram,
}

/// File descriptors that a process may have; VMs with many queues need thousands.
const OPEN_FILES: u64 = 65_536;
/// Highest real-time priority that a VM may give its vCPUs: what its config may ask for.
const REAL_TIME: u64 = 99;

/// A process that was started.
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its output, where it goes to the log.
    pub output: Option<pipe::Receiver>,
    /// What a service of the node was to have of CPUs and memory, and runs without.
    pub missing: Option<CgroupError>,
}

/// Starts the process of a unit.
///
/// # Errors
/// Something that the process needs is missing, or the program cannot be run.
pub fn spawn(spec: &Spec) -> Result<Process, SpawnError> {
    let (program, arguments) = spec.argv.split_first().ok_or(SpawnError::NoProgram)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(k, v)| (k, v)));
    if spec.notifies {
        command.env("NOTIFY_SOCKET", notify::path(&spec.name));
    }
    command.current_dir(spec.run_directory.as_deref().unwrap_or(Path::new("/")));
    let output = match &spec.stdio {
        Stdio::Log => Some(connect_log(&mut command).map_err(SpawnError::Pipe)?),
        Stdio::Terminal(line) => {
            connect_terminal(&mut command, line, spec.uid)?;
            None
        }
    };
    let cgroup = Cgroup::of(&spec.name, spec.transient);
    let entrance = cgroup.open()?;
    let missing = match cgroup.allot(&spec.cpus, spec.memory_max) {
        // A VM that is not what was asked for is none; the node has to be reached.
        Err(error) if spec.transient => return Err(error.into()),
        allotted => allotted.err(),
    };
    let child = Child {
        cgroup: entrance,
        own_pids: spec.own_pids,
        terminal: matches!(spec.stdio, Stdio::Terminal(_)),
        lock_memory: spec.transient,
        low_ports: spec.low_ports,
        groups: spec.groups.iter().copied().map(Gid::from_raw).collect(),
        uid: Uid::from_raw(spec.uid),
        gid: Gid::from_raw(spec.gid),
    };
    // SAFETY: `Child::prepare` allocates nothing, takes no lock and makes only system calls, which is what a child of a
    // program with threads may do before exec (signal-safety(7)).
    unsafe { command.pre_exec(move || child.prepare()) };
    // The process is not waited for here: the supervisor reaps every child of PID 1.
    let process = if spec.own_pids {
        start_with_own_pids(command)
    } else {
        command.spawn()
    };
    let pid = process
        .map_err(|source| SpawnError::Run {
            program: program.clone(),
            source,
        })?
        .id();
    // The process may have ended already; then nothing is left to protect.
    let _ = files::set(
        Path::new(&format!("/proc/{pid}/oom_score_adj")),
        &spec.oom_score.to_string(),
    );
    Ok(Process { pid, output, missing })
}

/// Starts it as the first process of a PID namespace, where the kernel grants one.
fn start_with_own_pids(mut command: Command) -> std::io::Result<process::Child> {
    // The namespace is that of the calling thread's children from then on, and such a thread can start no other: this one is
    // for nothing else.
    let starter = std::thread::Builder::new().name("start".to_owned());
    let starter = starter.spawn(move || {
        // Whoever runs as the unit sees whether it has one.
        let _ = unshare(CloneFlags::CLONE_NEWPID);
        command.spawn()
    })?;
    let lost = |_| Err(std::io::Error::other("the thread that was to start it is gone"));
    starter.join().unwrap_or_else(lost)
}

fn connect_log(command: &mut Command) -> std::io::Result<pipe::Receiver> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    command
        .stdin(ProcessStdio::null())
        .stderr(writer.try_clone()?)
        .stdout(writer);
    pipe::Receiver::from_owned_fd(reader)
}

fn connect_terminal(command: &mut Command, line: &str, uid: u32) -> Result<(), SpawnError> {
    files::set_access(
        &Path::new("/dev").join(line),
        Access {
            uid,
            gid: 5,
            mode: 0o620,
        },
    )?;
    let failed = |source| SpawnError::Terminal {
        line: line.to_owned(),
        source,
    };
    let terminal = OwnedFd::from(open_terminal(line)?);
    let second = terminal.try_clone().map_err(failed)?;
    let third = terminal.try_clone().map_err(failed)?;
    command.stdin(terminal).stdout(second).stderr(third);
    Ok(())
}

/// Opens a terminal of `/dev` for reading and writing, set up as a program expects it.
///
/// # Errors
/// There is none of that name.
pub fn open_terminal(line: &str) -> Result<File, SpawnError> {
    let failed = |source| SpawnError::Terminal {
        line: line.to_owned(),
        source,
    };
    // Without O_NONBLOCK, opening a serial line waits for a carrier.
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
    let terminal = options.open(Path::new("/dev").join(line)).map_err(failed)?;
    reset_terminal(&terminal, line).map_err(|e| failed(e.into()))?;
    nix::fcntl::fcntl(&terminal, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_RDWR))
        .map_err(|e| failed(e.into()))?;
    Ok(terminal)
}

/// Line discipline as a program expects it; the last one may have died in raw mode.
fn reset_terminal(mut terminal: &File, line: &str) -> rustix::io::Result<()> {
    let mut settings = termios::tcgetattr(terminal)?;
    settings.input_modes = InputModes::ICRNL | InputModes::IUTF8;
    settings.output_modes = OutputModes::OPOST | OutputModes::ONLCR;
    settings.local_modes = LocalModes::ISIG
        | LocalModes::ICANON
        | LocalModes::ECHO
        | LocalModes::ECHOE
        | LocalModes::ECHOK
        | LocalModes::IEXTEN;
    settings
        .control_modes
        .remove(ControlModes::HUPCL | ControlModes::CRTSCTS);
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    // A line that `console=` set up keeps its speed; the kernel's default of 9600 is nobody's wish.
    if line.starts_with("ttyS") && settings.output_speed() == 9_600 {
        settings.set_speed(115_200)?;
    }
    termios::tcsetattr(terminal, OptionalActions::Now, &settings)?;
    // Leave the alternate screen, show the cursor, plain text.
    let _ = terminal.write_all(b"\x1b[?1049l\x1b[?25h\x1b[0m");
    Ok(())
}

/// What the child does to itself before exec.
struct Child {
    cgroup: File,
    own_pids: bool,
    terminal: bool,
    lock_memory: bool,
    low_ports: bool,
    groups: Vec<Gid>,
    uid: Uid,
    gid: Gid,
}

impl Child {
    fn prepare(&self) -> std::io::Result<()> {
        // "0" is the writer itself.
        nix::unistd::write(&self.cgroup, b"0")?;
        setsid()?;
        if self.own_pids {
            let mut waits = SigSet::empty();
            waits.add(Signal::SIGTERM);
            waits.thread_block()?;
        }
        if self.terminal {
            // SAFETY: TIOCSCTTY takes an int by value; 1 takes the terminal from a session that still has it.
            let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 1) };
            nix::errno::Errno::result(result)?;
        }
        setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if self.lock_memory {
            setrlimit(Resource::RLIMIT_MEMLOCK, libc::RLIM_INFINITY, libc::RLIM_INFINITY)?;
            setrlimit(Resource::RLIMIT_RTPRIO, REAL_TIME, REAL_TIME)?;
        }
        // Without the right to change users (a test), there is none to change.
        if Uid::effective().is_root() {
            if self.low_ports {
                keep_only(LOW_PORTS)?;
            }
            setgroups(&self.groups)?;
            setgid(self.gid)?;
            setuid(self.uid)?;
            if self.low_ports {
                hand_on(LOW_PORTS)?;
            }
        }
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    }
}

/// The one capability that a unit can be given.
const LOW_PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// Nothing that this process starts can have more than `kept`, which outlasts the change of the user.
fn keep_only(kept: CapabilitySet) -> rustix::io::Result<()> {
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        if capability != kept {
            // The kernel has fewer than there is room for.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    set_keep_capabilities(true)
}

/// The program, which is nobody's and has no capabilities of its own, gets these.
fn hand_on(kept: CapabilitySet) -> rustix::io::Result<()> {
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    set_capabilities(None, sets)?;
    configure_capability_in_ambient_set(kept, true)
}

#[cfg(test)]
mod tests;

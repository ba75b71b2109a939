//! One QEMU process, from its start to its exit.
//!
//! QEMU connects to sockets that the lab has opened before, so that not one byte of a serial port is lost. Everything that
//! the machine printed stays in its directory (`target/lab/NAME`, emptied by the next machine of that name):
//! `log` (ttyS1), `console` (ttyS0, raw), `qemu.err`, its disks. A machine that is dropped is killed.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde_json::json;
use tempfile::TempDir;

use crate::argv::{self, Accelerator, Wiring};
use crate::deadline::{self, Poll};
use crate::emulator::Emulator;
use crate::log::{Line, Log};
use crate::qmp::Qmp;
use crate::screen::Screen;
use crate::spec::{Firmware, Network, Spec};
use crate::tpm::SoftwareTpm;
use crate::turn::Turn;
use crate::{Error, Image, Node, Result, Token, media, vga};

/// How init announces that the node is ready.
pub const READY: &str = "axion: init: ready in ";
/// QEMU itself starts in well under a second; a busy computer takes its time.
const QEMU_START: Duration = Duration::from_secs(30);
/// Boot to ready takes some ten seconds in emulation.
const BOOT: Duration = Duration::from_secs(180);
/// An orderly shutdown, guests included.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// How often a display that announces nothing is looked at.
const GLANCE: Duration = Duration::from_millis(250);

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    spec: Spec,
    dir: PathBuf,
    started: Instant,
    child: Mutex<Child>,
    qmp: Mutex<Qmp>,
    log: Log,
    screen: Screen,
    api: Option<SocketAddr>,
    _tpm: Option<SoftwareTpm>,
    _sockets: TempDir,
    _turn: Option<Turn>,
}

impl Spec {
    /// Starts the machine with `image`; waits first for other lab machines to end.
    ///
    /// # Errors
    /// The spec is impossible, a file cannot be made, or QEMU does not start.
    pub fn start(self, image: &Image) -> Result<Machine> {
        if let Some(problem) = self.problem() {
            return Err(Error::Spec {
                machine: self.name,
                problem,
            });
        }
        let turn = if self.exclusive { Some(Turn::wait()?) } else { None };
        let dir = fresh_directory(&self.name)?;
        let emulator = Emulator::find();
        let sockets = tempfile::tempdir().map_err(Error::io("make", "a directory for sockets"))?;
        let disks = self
            .disks
            .iter()
            .enumerate()
            .map(|(n, disk)| media::disk_file(&dir, n, &disk.content));
        let wiring = Wiring {
            kernel: self.kernel.clone().unwrap_or_else(|| image.kernel()),
            initramfs: self.initramfs.clone().unwrap_or_else(|| image.initramfs()),
            nvram: boot_variables(&self, &emulator, &dir)?,
            firmware: emulator.firmware.clone(),
            console: sockets.path().join("console"),
            log: sockets.path().join("log"),
            qmp: sockets.path().join("qmp"),
            tpm: self.tpm.as_ref().map(|_| sockets.path().join("tpm")),
            disks: disks.collect::<Result<_>>()?,
            port: api_port(self.network)?,
        };
        Machine::spawn(self, dir, &emulator, &wiring, sockets, turn)
    }
}

impl Machine {
    fn spawn(
        spec: Spec,
        dir: PathBuf,
        emulator: &Emulator,
        wiring: &Wiring,
        sockets: TempDir,
        turn: Option<Turn>,
    ) -> Result<Self> {
        let listen = |path: &Path| UnixListener::bind(path).map_err(Error::io("listen on", path));
        let (console, log, qmp) = (
            listen(&wiring.console)?,
            listen(&wiring.log)?,
            listen(&wiring.qmp)?,
        );
        let tpm = match (&spec.tpm, &wiring.tpm) {
            (Some(state), Some(socket)) => Some(SoftwareTpm::start(state, socket)?),
            _ => None,
        };
        let errors = dir.join("qemu.err");
        let stderr = File::create(&errors).map_err(Error::io("create", &errors))?;
        let started = Instant::now();
        // A test that is killed takes its machine along, which else went on for ever.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&emulator.program)
            .args(argv::arguments(&spec, Accelerator::detect(), wiring))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(Error::io("start", &emulator.program))?;
        let mut starting = Starting {
            machine: &spec.name,
            errors: &errors,
            child: Some(child),
        };
        let screen = Screen::attach(starting.accept(&console)?, &dir.join("console"))?;
        let log = Log::follow(starting.accept(&log)?, &dir.join("log"), started)?;
        let qmp = Qmp::connect(starting.accept(&qmp)?)?;
        let child = starting.done()?;
        let (child, qmp) = (Mutex::new(child), Mutex::new(qmp));
        let api = match spec.network {
            Network::User { .. } => wiring.port.map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            Network::Tap { address, .. } => Some((address, axion_api::DEFAULT_PORT).into()),
            Network::None => None,
        };
        Ok(Self {
            spec,
            dir,
            started,
            child,
            qmp,
            log,
            screen,
            api,
            _tpm: tpm,
            _sockets: sockets,
            _turn: turn,
        })
    }

    /// What it is made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its directory: logs and disks.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Port that leads to the API, where the machine has a network.
    pub fn port(&self) -> Option<u16> {
        self.api.map(|api| api.port())
    }

    /// The log (ttyS1).
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The operator's console (ttyS0).
    pub const fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Waits until the node is ready; gives its API.
    ///
    /// # Errors
    /// The log does not say so, or the agent does not answer.
    pub fn wait_ready(&self) -> Result<Node> {
        self.log.wait_for(READY, BOOT)?;
        self.node(&self.spec.token)
    }

    /// Waits until the node is ready again, behind the line `seen` of its log; gives its API.
    ///
    /// # Errors
    /// As [`Machine::wait_ready`].
    pub fn wait_ready_after(&self, seen: &Line) -> Result<Node> {
        self.log.wait_for_after(seen, READY, BOOT)?;
        self.node(&self.spec.token)
    }

    /// Its API with a token of one's own.
    ///
    /// # Errors
    /// It has no network, or the agent does not answer.
    pub fn node(&self, token: &Token) -> Result<Node> {
        let api = self.api.ok_or_else(|| Error::Spec {
            machine: self.spec.name.clone(),
            problem: "it has no network, so its API cannot be reached".to_owned(),
        })?;
        Node::connect(&self.spec.name, self.dir.clone(), api, token)
    }

    /// Waits until QEMU has ended by itself.
    ///
    /// # Errors
    /// It still runs after the time of an orderly shutdown.
    pub fn wait_exit(&self) -> Result<ExitStatus> {
        self.log.wait_end(SHUTDOWN)?;
        deadline::poll("QEMU's exit", QEMU_START, Duration::from_millis(20), || {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(match child.try_wait().map_err(Error::io("wait for", "QEMU"))? {
                Some(status) => Poll::Ready(status),
                None => Poll::Pending("QEMU runs".to_owned()),
            })
        })
    }

    /// Presses the ACPI power button.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn power_button(&self) -> Result<()> {
        self.qmp().execute("system_powerdown", &json!({})).map(drop)
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn reset_button(&self) -> Result<()> {
        self.qmp().execute("system_reset", &json!({})).map(drop)
    }

    /// Pulls the plug.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn pull_plug(&self) -> Result<()> {
        self.qmp().execute("quit", &json!({})).map(drop)
    }

    /// Pulls disk `n` of the spec out of its slot ([`DiskBus::NvmeSlot`](crate::spec::DiskBus::NvmeSlot)) as its driver works.
    ///
    /// # Errors
    /// It is in no slot.
    pub fn pull_disk(&self, n: usize) -> Result<()> {
        let mut qmp = self.qmp();
        // From here on its reads and writes fail, as those of a disk that is gone.
        qmp.human(&format!("drive_del disk{n}"))?;
        qmp.execute("device_del", &json!({"id": format!("card{n}")}))
            .map(drop)
    }

    /// Puts a disk with the content of `file`, raw, and the serial number `serial` into the slot that disk `n` was pulled out of.
    ///
    /// # Errors
    /// The slot is not free yet: the system has not let go of what was in it.
    pub fn insert_disk(&self, n: usize, file: &Path, serial: &str) -> Result<()> {
        let mut qmp = self.qmp();
        let node = format!("inserted{n}");
        let backend =
            json!({"driver": "raw", "node-name": node, "file": {"driver": "file", "filename": file}});
        qmp.execute("blockdev-add", &backend)?;
        let device = json!({
            "driver": "nvme", "id": format!("card{n}-again"), "bus": format!("slot{n}"), "drive": node, "serial": serial,
        });
        qmp.execute("device_add", &device).map(drop)
    }

    /// Presses `keys` (QEMU's key codes) together on the machine's own keyboard: `["ret"]`, `["alt", "sysrq", "i"]`.
    ///
    /// # Errors
    /// QEMU has ended, or there is no such key.
    pub fn press_keys(&self, keys: &[&str]) -> Result<()> {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| json!({"type": "qcode", "data": key}))
            .collect();
        self.qmp().execute("send-key", &json!({"keys": keys})).map(drop)
    }

    /// Takes a picture of the display into `NAME.png` in the machine's directory.
    ///
    /// # Errors
    /// The machine has no display.
    pub fn screendump(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.png"));
        self.qmp()
            .execute("screendump", &json!({"filename": path, "format": "png"}))?;
        Ok(path)
    }

    /// What the display shows in VGA text mode.
    ///
    /// The machine stands still meanwhile, and the CRT controller's index register is put back, so the kernel notices nothing.
    ///
    /// # Errors
    /// QEMU refuses, as it does without a display.
    pub fn vga_text(&self) -> Result<String> {
        let path = self.dir.join("vga.bin");
        let mut qmp = self.qmp();
        qmp.execute("stop", &json!({}))?;
        let start = display_start(&mut qmp);
        let dump = json!({"val": vga::MEMORY, "size": vga::MEMORY_BYTES, "filename": path});
        let dumped = qmp.execute("pmemsave", &dump);
        qmp.execute("cont", &json!({}))?;
        dumped?;
        let memory = std::fs::read(&path).map_err(Error::io("read", &path))?;
        Ok(vga::text(&memory, start?))
    }

    /// Waits until the VGA text screen shows `text`; gives the whole screen.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the screen that was there instead.
    pub fn wait_vga(&self, text: &str, within: Duration) -> Result<String> {
        deadline::poll(&format!("`{text}` on the VGA screen"), within, GLANCE, || {
            let shown = self.vga_text()?;
            Ok(if shown.contains(text) {
                Poll::Ready(shown)
            } else {
                Poll::Pending(shown)
            })
        })
    }

    /// What the processors do at this moment: their registers, as QEMU's monitor prints them. A processor that runs a guest of the
    /// machine shows the guest's.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn registers(&self) -> Result<String> {
        self.qmp().human("info registers -a")
    }

    fn qmp(&self) -> MutexGuard<'_, Qmp> {
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// QEMU between its start and its last connection; killed when that does not come.
struct Starting<'a> {
    machine: &'a str,
    errors: &'a Path,
    child: Option<Child>,
}

impl Starting<'_> {
    fn accept(&mut self, listener: &UnixListener) -> Result<UnixStream> {
        let end = Instant::now() + deadline::scaled(QEMU_START);
        while Instant::now() < end {
            if readable(listener) {
                return listener
                    .accept()
                    .map(|(s, _)| s)
                    .map_err(Error::io("accept", "QEMU's connection"));
            }
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(self.failed(format!("ended with {status}")));
            }
        }
        Err(self.failed("does not connect to its sockets".to_owned()))
    }

    fn done(mut self) -> Result<Child> {
        self.child
            .take()
            .ok_or_else(|| self.failed("was not started".to_owned()))
    }

    fn failed(&self, problem: String) -> Error {
        let stderr = std::fs::read_to_string(self.errors).unwrap_or_default();
        Error::Qemu {
            machine: self.machine.to_owned(),
            problem,
            stderr,
        }
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a connection waits, within 100 ms.
fn readable(listener: &UnixListener) -> bool {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::from(100_u8)).is_ok_and(|ready| ready > 0)
}

/// The cell that the display starts with: the CRT controller's registers 0x0c (high) and 0x0d (low), by way of its index
/// port 0x3d4 and its data port 0x3d5.
fn display_start(qmp: &mut Qmp) -> Result<u16> {
    let index = port_in(qmp, 0x3d4)?;
    qmp.human("o /b 0x3d4 0x0c")?;
    let high = port_in(qmp, 0x3d5)?;
    qmp.human("o /b 0x3d4 0x0d")?;
    let low = port_in(qmp, 0x3d5)?;
    qmp.human(&format!("o /b 0x3d4 {index:#x}"))?;
    Ok(u16::from_be_bytes([high, low]))
}

/// Reads a byte from an I/O port; QEMU answers `portb[0x03d4] = 0x0e`.
fn port_in(qmp: &mut Qmp, port: u16) -> Result<u8> {
    let answer = qmp.human(&format!("i /b {port:#x}"))?;
    let digits = answer.rsplit_once("0x").map(|(_, digits)| digits.trim());
    digits
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Error::Qmp {
            command: format!("i /b {port:#x}"),
            problem: answer,
        })
}

/// Where the machine's boot variables are; made when it has any, and they are not there.
fn boot_variables(spec: &Spec, emulator: &Emulator, dir: &Path) -> Result<PathBuf> {
    let path = spec.secure_boot.clone().unwrap_or_else(|| dir.join("nvram.fd"));
    if spec.firmware() == Firmware::Uefi && !path.exists() {
        let factory = emulator.firmware.join(argv::UEFI_VARIABLES);
        std::fs::copy(&factory, &path).map_err(Error::io("copy (Debian package ovmf)", factory))?;
    }
    Ok(path)
}

fn api_port(network: Network) -> Result<Option<u16>> {
    match network {
        Network::None | Network::Tap { .. } => Ok(None),
        Network::User { port: Some(port) } => Ok(Some(port)),
        Network::User { port: None } => {
            let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
            listener
                .map(|address| Some(address.port()))
                .map_err(Error::io("find a free port of", "127.0.0.1"))
        }
    }
}

/// `target/lab/NAME`, empty.
fn fresh_directory(name: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let lab = target.join("lab");
    std::fs::create_dir_all(&lab).map_err(Error::io("make", &lab))?;
    let lab = lab.canonicalize().map_err(Error::io("find", &lab))?;
    let dir = lab.join(name);
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("empty", &dir)(error));
        }
        _ => std::fs::create_dir(&dir).map_err(Error::io("make", &dir))?,
    }
    Ok(dir)
}

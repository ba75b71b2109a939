//! A VMM process with a guest made of bytes.

pub mod program;

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axion_api::vmm::{BootConfig, DirectIo, DiskConfig, MemoryConfig, VmmConfig, VmmMetrics, VmmStatus};
use kvm_ioctls::{Cap, Kvm};
use nix::sched::{CloneFlags, unshare};

/// Takes the calling thread to a network namespace of its own, in which a tap device `t0` of several queues is up; says
/// whether that can be.
pub fn have_tap() -> bool {
    if !Path::new("/dev/net/tun").exists() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("skipped: no network namespace, or no /dev/net/tun");
        return false;
    }
    for words in ["tuntap add t0 mode tap multi_queue", "link set t0 up"] {
        let status = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    }
    true
}

/// Frames that the host got from `t0`.
pub fn frames() -> u64 {
    let output = Command::new("ip")
        .args(["-s", "-j", "link", "show", "t0"])
        .output()
        .unwrap();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// The disk in the file `path`.
pub fn disk(path: &Path, queues: u16) -> DiskConfig {
    DiskConfig {
        path: path.display().to_string(),
        read_only: false,
        serial: None,
        direct: DirectIo::Auto,
        queues: Some(queues),
    }
}

/// However slow the machine is, nothing here takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Whether this machine can run guests; says why if not.
pub fn have_kvm() -> bool {
    let lacking = match Kvm::new() {
        Err(error) => Some(format!("no /dev/kvm: {error}")),
        Ok(kvm) if !kvm.check_extension(Cap::SplitIrqchip) => Some("KVM without split irqchip".to_owned()),
        Ok(_) => None,
    };
    if let Some(reason) = &lacking {
        eprintln!("skipped: {reason}");
    }
    lacking.is_none()
}

/// Whether this machine has two CPUs and a memory node.
pub fn have_numa() -> bool {
    let have = Path::new("/sys/devices/system/node/node0").exists()
        && std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    if !have {
        eprintln!("skipped: one CPU or no NUMA");
    }
    have
}

/// Repeats `try_it` until it gives a value.
pub fn wait_for<T>(what: &str, mut try_it: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = try_it() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A kernel of 32-bit code, entered through a PVH note at 1 MiB.
pub fn kernel(code: &[u8]) -> Vec<u8> {
    const ENTRY: u32 = 0x10_0000;
    const NOTE: u64 = 64 + 2 * 56;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [u64::from(ENTRY), 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64u16, 56, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut segment = |kind: u32, offset: u64, address: u64, size: u64| {
        file.extend([kind.to_le_bytes(), 7u32.to_le_bytes()].concat());
        for word in [offset, address, address, size, size, 4] {
            file.extend(word.to_le_bytes());
        }
    };
    segment(1, NOTE + 20, ENTRY.into(), code.len() as u64);
    segment(4, NOTE, 0, 20);
    for word in [4, 4, 18, u32::from_le_bytes(*b"Xen\0"), ENTRY] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// A guest that prints `>` and obeys the capitals that are typed: see [`LETTERS`]; it echoes all others.
pub fn monitor() -> Vec<u8> {
    let mut code = vec![
        0x66, 0xba, 0xf9, 0x03, // mov dx, 0x3f9
        0xb0, 0x01, 0xee, // interrupt enable: receive
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'>', 0xee, // print
    ];
    let poll = code.len();
    code.extend([
        0x66, 0xba, 0xfd, 0x03, // mov dx, 0x3fd
        0xec, 0xa8, 0x01, 0x74, 0xf7, // until data is ready
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xec, // in al, dx
    ]);
    for (letter, action) in LETTERS {
        code.extend([0x3c, *letter, 0x75, u8::try_from(action.len() + 2).unwrap()]);
        code.extend(*action);
        back_to(&mut code, poll);
    }
    code.push(0xee); // echo
    back_to(&mut code, poll);
    code
}

/// Appends a jump; two bytes.
fn back_to(code: &mut Vec<u8>, target: usize) {
    let distance = i64::try_from(target).unwrap() - i64::try_from(code.len() + 2).unwrap();
    code.extend([0xeb, i8::try_from(distance).unwrap().to_le_bytes()[0]]);
}

/// What the monitor does at a letter; then it goes on polling.
const LETTERS: &[(u8, &[u8])] = &[
    (b'O', &[0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee]), // power off
    (b'R', &[0x66, 0xba, 0x02, 0x06, 0xb0, 0x01, 0xee, 0xf4]), // reset register
    (b'K', &[0xb0, 0xfe, 0xe6, 0x64, 0xf4]),             // keyboard controller's reset
    (
        b'P',
        &[
            0x66, 0xc7, 0x05, 0x72, 0x04, 0, 0, 0x34, 0x12, 0xb0, 0xfe, 0xe6, 0x64, 0xf4,
        ],
    ), // the same, having asked for a warm boot
    (b'T', &[0x0f, 0x0b]),                               // ud2 without an IDT: triple fault
    (b'M', &[0xa1, 0x00, 0x00, 0x00, 0xe0, 0xee]),       // print the host bridge's first byte
    (b'H', &[0xf4]),                                     // halt, interrupts off
    (
        b'B',
        &[
            0x66, 0xba, 0x03, 0x06, 0xec, 0x04, b'0', 0x66, 0xba, 0xf8, 0x03, 0xee,
        ],
    ), // print the events
];

/// The value of a line `name: value`.
pub fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    status.lines().find_map(line).unwrap().trim()
}

/// A VMM in its run directory.
pub struct Vmm {
    dir: tempfile::TempDir,
    child: Child,
    console: Option<UnixStream>,
}

/// How it ended.
pub struct Ended {
    pub status: i32,
    pub stderr: String,
}

impl Vmm {
    /// Starts one with `cpus` that boots `kernel`, and watches its console.
    pub fn start(kernel: &[u8], cpus: u32) -> Self {
        Self::start_as(kernel, |config| config.cpus = cpus)
    }

    /// The same with `disks`.
    pub fn start_disks(kernel: &[u8], cpus: u32, disks: Vec<DiskConfig>) -> Self {
        Self::start_as(kernel, |config| {
            config.cpus = cpus;
            config.disks = disks;
        })
    }

    /// Starts one whose config is changed first.
    pub fn start_as(kernel: &[u8], change: impl FnOnce(&mut VmmConfig)) -> Self {
        Self::start_in(kernel, |config, _| change(config))
    }

    /// The same, with something to do in its run directory.
    pub fn start_in(kernel: &[u8], change: impl FnOnce(&mut VmmConfig, &Path)) -> Self {
        let mut vmm = Self::start_with(|dir| {
            let path = dir.join("kernel");
            std::fs::write(&path, kernel).unwrap();
            let mut config = VmmConfig {
                name: "bytes".into(),
                cpus: 1,
                cpu_model: Default::default(),
                memory: MemoryConfig {
                    size: 32 << 20,
                    ..Default::default()
                },
                boot: BootConfig {
                    kernel: path.to_str().unwrap().into(),
                    initrd: None,
                    cmdline: String::new(),
                },
                topology: None,
                placement: Default::default(),
                dedicated: false,
                sandbox: Default::default(),
                disks: Vec::new(),
                nets: Vec::new(),
                vsock: None,
                balloon: None,
                console: Default::default(),
            };
            change(&mut config, dir);
            serde_json::to_string(&config).unwrap()
        });
        let path = vmm.path("console.sock");
        let console = wait_for("the console", || UnixStream::connect(&path).ok());
        console.set_read_timeout(Some(DEADLINE)).unwrap();
        vmm.console = Some(console);
        vmm
    }

    /// Starts one with the config that `config` makes.
    pub fn start_with(config: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config(dir.path())).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_axion-vmm"))
            .arg("--run-dir")
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            dir,
            child,
            console: None,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn type_in(&mut self, text: &str) {
        self.console.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Reads from the console until it has printed exactly `text`.
    pub fn expect(&mut self, text: &str) {
        let mut bytes = vec![0; text.len()];
        if let Err(error) = self.console.as_mut().unwrap().read_exact(&mut bytes) {
            let _ = self.child.kill();
            let mut stderr = String::new();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut stderr);
            let printed = String::from_utf8_lossy(&bytes);
            panic!("expected {text:?}, got {printed:?}: {error}; the VMM said {stderr:?}");
        }
        assert_eq!(String::from_utf8_lossy(&bytes), text);
    }

    /// Reads the next byte from the console.
    pub fn read(&mut self) -> u8 {
        let mut byte = [0];
        self.console.as_mut().unwrap().read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// Whether the console stays silent for a while.
    pub fn is_silent(&mut self) -> bool {
        let console = self.console.as_mut().unwrap();
        console
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let silent = console.read(&mut [0]).is_err();
        console.set_read_timeout(Some(DEADLINE)).unwrap();
        silent
    }

    /// Sends a request; returns status and body.
    pub fn api(&self, method: &str, path: &str) -> (u16, String) {
        self.api_with(method, path, "")
    }

    /// The same, with a body.
    pub fn api_with(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.path("api.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: vm\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub fn put(&self, verb: &str) {
        let (status, body) = self.api("PUT", &format!("/v1/vm/{verb}"));
        assert_eq!(status, 204, "{verb}: {body}");
    }

    pub fn status(&self) -> VmmStatus {
        let (status, body) = self.api("GET", "/v1/vm");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn metrics(&self) -> VmmMetrics {
        let (status, body) = self.api("GET", "/v1/vm/metrics");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Names and `/proc/PID/task/TID/status` of its threads.
    pub fn threads(&self) -> BTreeMap<String, String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let status = |task: std::io::Result<DirEntry>| {
            let text = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            (field(&text, "Name").to_owned(), text)
        };
        tasks.map(status).collect()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let child = &mut self.child;
        let status = wait_for("the end of the VMM", || child.try_wait().unwrap());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        for socket in ["api.sock", "console.sock"] {
            assert!(!self.path(socket).exists(), "{socket} is left");
        }
        Ended {
            status: status.code().unwrap_or(-1),
            stderr,
        }
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

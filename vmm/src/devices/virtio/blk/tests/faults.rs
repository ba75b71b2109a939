//! Errors of the host's file system, made by one of our own: a file system of one file, in FUSE's protocol
//! (`linux/fuse.h`), that keeps nothing and answers reads and flushes with what it is told to.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicI32;
use std::thread::JoinHandle;

use nix::libc;

use super::*;

const HEADER: usize = 40;
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;

/// `errno` of reads, flushes and allocations, 0 for none, and how many flushes there were.
#[derive(Default)]
struct Faults {
    read: AtomicI32,
    allocate: AtomicI32,
    flush: AtomicI32,
    flushes: AtomicU32,
}

struct Mounted {
    dir: tempfile::TempDir,
    faults: Arc<Faults>,
    server: Option<JoinHandle<()>>,
}

impl Mounted {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let fuse = Some("fuse");
        if mount(fuse, dir.path(), fuse, MsFlags::empty(), Some(data.as_str())).is_err() {
            return None;
        }
        let faults = Arc::new(Faults::default());
        let told = faults.clone();
        let server = std::thread::spawn(move || serve(device, &told));
        Some(Self {
            dir,
            faults,
            server: Some(server),
        })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("disk")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        umount2(self.dir.path(), MntFlags::MNT_DETACH).unwrap();
        self.server.take().unwrap().join().unwrap();
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `struct fuse_attr` of the root or the file.
fn attributes(node: u64) -> Vec<u8> {
    let mode: u64 = if node == 1 { 0o40755 } else { 0o100644 };
    // Number, size, blocks; three times and their nanoseconds; mode; links; block size.
    words(&[node, SIZE, 8, 0, 0, 0, 0, mode << 32, 1, 0, 4096])
}

fn serve(mut device: File, faults: &Faults) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(len) = device.read(&mut buffer) {
        let u32_at = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(buffer[at..at + 8].try_into().unwrap());
        let (opcode, unique, node) = (u32_at(4), u64_at(8), u64_at(16));
        let size = u32_at(HEADER + 16);
        let body: Result<Vec<u8>, i32> = match opcode {
            // Version 7.31; read ahead, no flags; requests at a time; 64 KiB written at most; clock of 1 ns.
            INIT => Ok(words(&[
                7 | 31 << 32,
                0,
                0x10_0010 | (64 << 10) << 32,
                1,
                0,
                0,
                0,
                0,
            ])),
            LOOKUP => Ok([words(&[2, 0, 60, 60, 0]), attributes(2)].concat()),
            GETATTR => Ok([words(&[60, 0]), attributes(node)].concat()),
            OPEN => Ok(words(&[0, 0])),
            READ => match faults.read.load(Ordering::SeqCst) {
                0 => Ok(vec![0x42; usize::try_from(size).unwrap()]),
                errno => Err(errno),
            },
            WRITE => Ok(words(&[size.into()])),
            FSYNC => {
                faults.flushes.fetch_add(1, Ordering::SeqCst);
                match faults.flush.load(Ordering::SeqCst) {
                    0 => Ok(Vec::new()),
                    errno => Err(errno),
                }
            }
            FALLOCATE => match faults.allocate.load(Ordering::SeqCst) {
                0 => Ok(Vec::new()),
                errno => Err(errno),
            },
            RELEASE | FLUSH => Ok(Vec::new()),
            FORGET | INTERRUPT | BATCH_FORGET => continue,
            _ => Err(libc::ENOSYS),
        };
        assert!(len >= HEADER);
        let (errno, body) = body.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
        let mut answer = u32::try_from(16 + body.len()).unwrap().to_le_bytes().to_vec();
        answer.extend(errno.to_le_bytes());
        answer.extend(unique.to_le_bytes());
        answer.extend(body);
        // The request may have been interrupted.
        let _ = device.write(&answer);
    }
}

fn mounted() -> Option<Mounted> {
    let mounted = Mounted::new();
    if mounted.is_none() {
        eprintln!("skipped: cannot mount a file system");
    }
    mounted
}

#[test]
fn an_error_of_the_host_reaches_the_guest() {
    let Some(mounted) = mounted() else { return };
    let mut bench = Bench::new(&disk_config(&mounted.file()), 1);
    assert_eq!(bench.ask(0, 0, &[(DATA, 512, true)]), (0, 513));
    assert_eq!(bench.bytes(DATA, 512), [0x42; 512]);
    mounted.faults.read.store(libc::EIO, Ordering::SeqCst);
    mounted.faults.flush.store(libc::EIO, Ordering::SeqCst);
    assert_eq!(bench.ask(0, 4096, &[(DATA, 512, true)]), (1, 1));
    assert_eq!(bench.ask(4, 0, &[]), (1, 1));
    assert_eq!((bench.counters().errors, bench.counters().waits), (2, 0));
    assert_eq!(bench.full.load(Ordering::SeqCst), 0);
    mounted.faults.read.store(0, Ordering::SeqCst);
    assert_eq!(bench.ask(0, 4096, &[(DATA, 512, true)]), (0, 513));
}

#[test]
fn a_flush_without_room_is_tried_again() {
    let Some(mounted) = mounted() else { return };
    let mut config = disk_config(&mounted.file());
    config.direct = DirectIo::On;
    let mut bench = Bench::new(&config, 1);
    assert_eq!(bench.ask(1, 0, &[(DATA, 4096, false)]), (0, 1));
    for (times, errno) in [(1, libc::ENOSPC), (2, libc::EDQUOT)] {
        let before = mounted.faults.flushes.load(Ordering::SeqCst);
        mounted.faults.flush.store(errno, Ordering::SeqCst);
        bench.offer(0, 0, 4, 0, &[]);
        bench.rig.notify(0);
        wait_for_full(&bench, times);
        bench.rig.function.pause();
        assert_eq!(bench.queues[0].used(), None);
        mounted.faults.flush.store(0, Ordering::SeqCst);
        bench.rig.function.resume();
        assert_eq!(bench.rig.wait(&mut bench.queues[0]), (0, 1));
        assert_eq!(bench.status(0, 0), 0);
        assert_eq!(mounted.faults.flushes.load(Ordering::SeqCst), before + 2);
    }
    let counters = bench.counters();
    assert_eq!((counters.flushes, counters.errors, counters.waits), (2, 0, 2));
}

#[test]
fn what_the_page_cache_may_have_lost_is_not_called_durable() {
    let Some(mounted) = mounted() else { return };
    let mut config = disk_config(&mounted.file());
    config.direct = DirectIo::Off;
    let mut bench = Bench::new(&config, 1);
    assert_eq!(bench.ask(1, 0, &[(DATA, 4096, false)]), (0, 1));
    mounted.faults.flush.store(libc::ENOSPC, Ordering::SeqCst);
    bench.offer(0, 0, 4, 0, &[]);
    bench.rig.notify(0);
    wait_for_full(&bench, 1);
    bench.rig.function.pause();
    mounted.faults.flush.store(0, Ordering::SeqCst);
    bench.rig.function.resume();
    assert_eq!(bench.rig.wait(&mut bench.queues[0]), (0, 1));
    assert_eq!(bench.status(0, 0), 1, "an error");
    // What is written from then on is.
    assert_eq!(bench.ask(1, 0, &[(DATA, 4096, false)]), (0, 1));
    assert_eq!(bench.ask(4, 0, &[]), (0, 1));
}

/// Discard, zeros by deallocation, zeros in place: by the file system, and where it can do none of them.
#[test]
fn what_changes_the_disk_is_durable_for_a_driver_without_flush() {
    let flush = crate::devices::virtio::blk::feature::FLUSH;
    for (errno, direct) in [
        (0, DirectIo::Off),
        (libc::ENOSYS, DirectIo::Off),
        (libc::ENOSYS, DirectIo::On),
    ] {
        for (features, durable) in [(!flush, true), (u64::MAX, false)] {
            let Some(mounted) = mounted() else { return };
            mounted.faults.allocate.store(errno, Ordering::SeqCst);
            let mut config = disk_config(&mounted.file());
            config.direct = direct;
            let disk = Disk::open(0, &config, 1).unwrap();
            let mut bench = Bench::on(disk, features);
            for (kind, flags) in [(11, 0), (13, 1), (13, 0)] {
                let memory = &bench.rig.memory;
                memory.write_obj(8u64, GuestAddress(DATA)).unwrap();
                memory.write_obj([8u32, flags], GuestAddress(DATA + 8)).unwrap();
                let before = mounted.faults.flushes.load(Ordering::SeqCst);
                assert_eq!(bench.ask(kind, 0, &[(DATA, 16, false)]), (0, 1));
                let syncs = mounted.faults.flushes.load(Ordering::SeqCst) - before;
                assert_eq!(syncs > 0, durable, "{errno} {direct:?} {kind} {flags}");
            }
            // The device counts when it has shown it.
            bench.rig.function.pause();
            assert_eq!((bench.counters().discards, bench.counters().flushes), (3, 0));
        }
    }
}

mod faults;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use axion_api::vmm::{DirectIo, DiskConfig, DiskCounters};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use vm_memory::{Bytes, GuestAddress};

use super::backing::DiskError;
use super::*;
use crate::devices::virtio::queue::testing::{Driver, memory};
use crate::devices::virtio::transport::testing::Rig;
use crate::devices::virtio::worker::testing::unrestricted;

const SIZE: u64 = 4 << 20;
const DATA: u64 = 0x4_0000;

fn disk_config(path: &Path) -> DiskConfig {
    DiskConfig {
        path: path.to_str().unwrap().to_owned(),
        read_only: false,
        serial: Some("disk-42".to_owned()),
        direct: DirectIo::Auto,
        queues: None,
    }
}

/// A file of [`SIZE`] bytes, each sector filled with its number.
fn image() -> (tempfile::TempDir, DiskConfig) {
    // Beside the test program: temporary files may be in a tmpfs, which knows no O_DIRECT.
    let program = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = dir.path().join("disk");
    let bytes: Vec<u8> = (0..SIZE / 512)
        .flat_map(|sector| [sector.to_le_bytes()[0]; 512])
        .collect();
    fs::write(&path, bytes).unwrap();
    let config = disk_config(&path);
    (dir, config)
}

/// A disk with its driver.
struct Bench {
    rig: Rig,
    disk: Arc<Disk>,
    queues: Vec<Driver>,
    full: Arc<AtomicU32>,
}

impl Bench {
    fn new(config: &DiskConfig, queues: u16) -> Self {
        Self::on(Disk::open(0, config, queues).unwrap(), u64::MAX)
    }

    fn on(disk: Disk, features: u64) -> Self {
        let disk = Arc::new(disk);
        let full = Arc::new(AtomicU32::new(0));
        let told = full.clone();
        let sink = Arc::new(move || {
            told.fetch_add(1, Ordering::SeqCst);
        });
        let count = disk.queues();
        let block = Block::new(disk.clone(), 0, sink, &unrestricted()).unwrap();
        let rig = Rig::new(Box::new(block), &memory());
        let bases: Vec<u64> = (0..u64::from(count))
            .map(|queue| 0x1_0000 + queue * 0xa000)
            .collect();
        let queues = rig.start(features, &bases);
        Self {
            rig,
            disk,
            queues,
            full,
        }
    }

    fn offer(&mut self, queue: usize, head: u16, kind: u32, sector: u64, data: &[(u64, u32, bool)]) {
        let at = 0x1000 + queue as u64 * 0x4000 + u64::from(head) * 64;
        self.rig.memory.write_obj([kind, 0], GuestAddress(at)).unwrap();
        self.rig.memory.write_obj(sector, GuestAddress(at + 8)).unwrap();
        self.rig.memory.write_obj(0xeeu8, GuestAddress(at + 16)).unwrap();
        let segments = [&[(at, 16, false)], data, &[(at + 16, 1, true)]].concat();
        self.queues[queue].submit(head, &segments);
    }

    fn status(&self, queue: usize, head: u16) -> u8 {
        let at = 0x1000 + queue as u64 * 0x4000 + u64::from(head) * 64 + 16;
        self.rig.memory.read_obj(GuestAddress(at)).unwrap()
    }

    /// One request and its end: status, and bytes that the device wrote.
    fn ask(&mut self, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> (u8, u32) {
        self.offer(0, 0, kind, sector, data);
        self.rig.notify(0);
        let (head, len) = self.rig.wait(&mut self.queues[0]);
        assert_eq!(head, 0);
        (self.status(0, 0), len)
    }

    fn fill(&self, address: u64, byte: u8, len: usize) {
        self.rig
            .memory
            .write_slice(&vec![byte; len], GuestAddress(address))
            .unwrap();
    }

    fn bytes(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rig
            .memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    fn counters(&self) -> DiskCounters {
        self.disk.status().queues[0]
    }
}

fn on_disk(config: &DiskConfig, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open(&config.path)
        .unwrap()
        .read_exact_at(&mut bytes, offset)
        .unwrap();
    bytes
}

#[test]
fn configuration_tells_the_disk() {
    let (_dir, config) = image();
    let bench = Bench::new(&config, 2);
    assert_eq!(bench.rig.device(0, 4), SIZE / 512, "capacity");
    assert_eq!((bench.rig.device(8, 4), bench.rig.device(12, 4)), (1 << 20, 254));
    assert_eq!(bench.rig.device(20, 4), 512, "block size");
    assert_eq!(
        (bench.rig.device(24, 1), bench.rig.device(26, 2)),
        (3, 8),
        "4 KiB physical blocks"
    );
    assert_eq!(bench.rig.device(34, 2), 2, "queues");
    assert_eq!(
        (bench.rig.device(36, 4), bench.rig.device(40, 4)),
        (RANGE_MAX / 512, 1)
    );
    assert_eq!(
        (bench.rig.device(48, 4), bench.rig.device(52, 4)),
        (RANGE_MAX / 512, 1)
    );
    assert_eq!(bench.rig.device(56, 1), 1);
    assert_eq!(bench.rig.offered() & 0xffff, 0x7646);
}

#[test]
fn reads_writes_and_flushes() {
    for direct in [DirectIo::Auto, DirectIo::Off] {
        let (_dir, mut config) = image();
        config.direct = direct;
        let mut bench = Bench::new(&config, 1);
        assert_eq!(bench.ask(0, 9, &[(DATA, 1024, true)]), (0, 1025));
        assert_eq!(bench.bytes(DATA, 1024), [[9; 512], [10; 512]].concat());
        bench.fill(DATA, 0xaa, 4096);
        bench.fill(DATA + 0x1000, 0xbb, 512);
        assert_eq!(
            bench.ask(1, 8, &[(DATA, 4096, false), (DATA + 0x1000, 512, false)]),
            (0, 1)
        );
        assert_eq!(bench.ask(4, 0, &[]), (0, 1));
        assert_eq!(
            on_disk(&config, 4096, 4609),
            [vec![0xaa; 4096], vec![0xbb; 512], vec![17]].concat()
        );
        // Neither buffers nor lengths are aligned.
        assert_eq!(
            bench.ask(0, 8, &[(DATA + 0x5001, 100, true), (DATA + 0x6003, 412, true)]),
            (0, 513)
        );
        assert_eq!(bench.bytes(DATA + 0x6003, 412), [0xaa; 412]);
        let counters = bench.counters();
        assert_eq!((counters.reads, counters.read_bytes), (2, 1536));
        assert_eq!(
            (counters.writes, counters.write_bytes, counters.flushes),
            (1, 4608, 1)
        );
        assert_eq!((counters.errors, counters.waits), (0, 0));
        let times = bench.disk.latencies().remove(0);
        let counts = [times.reads.count(), times.writes.count(), times.flushes.count()];
        assert_eq!(counts, [2, 1, 1]);
        for time in [times.reads, times.writes, times.flushes] {
            assert!((1_000..20_000_000_000).contains(&time.longest_ns), "{time:?}");
            assert!(time.quantile_ns(1.0) > time.longest_ns && time.total_ns >= time.longest_ns);
        }
    }
}

#[test]
fn large_and_many_requests_at_once() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 1);
    let segments: Vec<(u64, u32, bool)> = (0..64).map(|i| (DATA + i * 0x1000, 4096, true)).collect();
    assert_eq!(bench.ask(0, 0, &segments), (0, 64 * 4096 + 1));
    assert_eq!(bench.bytes(DATA + 511 * 512, 512), [0xff; 512]);
    for head in 0..60u16 {
        let data = (DATA + u64::from(head) * 512, 512, true);
        bench.offer(0, head * 4, 0, u64::from(head) + 100, &[data]);
    }
    bench.rig.recorder.take();
    bench.rig.notify(0);
    let mut heads: Vec<u32> = (0..60).map(|_| bench.rig.wait(&mut bench.queues[0]).0).collect();
    heads.sort_unstable();
    assert_eq!(heads, (0..60).map(|head| head * 4).collect::<Vec<_>>());
    for head in 0..60u8 {
        assert_eq!(bench.bytes(DATA + u64::from(head) * 512, 512), [head + 100; 512]);
    }
}

#[test]
fn queues_work_side_by_side() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 3);
    for queue in 0..3 {
        bench.offer(
            queue,
            0,
            0,
            queue as u64 + 50,
            &[(DATA + queue as u64 * 512, 512, true)],
        );
        bench.rig.notify(queue as u64);
    }
    for queue in 0..3 {
        assert_eq!(bench.rig.wait(&mut bench.queues[queue]), (0, 513));
        let at = DATA + queue as u64 * 512;
        assert_eq!(bench.bytes(at, 512), [u8::try_from(queue).unwrap() + 50; 512]);
    }
    let counted: Vec<u64> = bench
        .disk
        .status()
        .queues
        .iter()
        .map(|queue| queue.reads)
        .collect();
    assert_eq!(counted, [1, 1, 1]);
}

#[test]
fn discards_and_zeroes() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 1);
    let mut range = |kind: u32, sector: u64, sectors: u32, flags: u32| {
        bench.rig.memory.write_obj(sector, GuestAddress(DATA)).unwrap();
        bench
            .rig
            .memory
            .write_obj([sectors, flags], GuestAddress(DATA + 8))
            .unwrap();
        bench.ask(kind, 0, &[(DATA, 16, false)])
    };
    let blocks = fs::metadata(&config.path).unwrap().blocks();
    assert_eq!(range(13, 8, 8, 0), (0, 1));
    assert_eq!(range(13, 1000, 1000, 1), (0, 1));
    assert_eq!(range(11, 3000, 1000, 0), (0, 1));
    assert_eq!(range(13, SIZE / 512, 1, 0), (1, 1), "beyond the end");
    assert_eq!(range(11, 0, 1, 1), (2, 1), "no such flag");
    assert_eq!(on_disk(&config, 7 * 512, 512), [7; 512]);
    assert_eq!(on_disk(&config, 8 * 512, 4096), [0; 4096]);
    assert_eq!(on_disk(&config, 16 * 512, 512), [16; 512]);
    assert_eq!(on_disk(&config, 1000 * 512, 512_000), [0; 512_000]);
    assert_eq!(on_disk(&config, 2000 * 512, 512), [0xd0; 512]);
    assert_eq!(fs::metadata(&config.path).unwrap().len(), SIZE);
    assert!(fs::metadata(&config.path).unwrap().blocks() <= blocks);
    assert_eq!((bench.counters().discards, bench.counters().errors), (3, 2));
}

#[test]
fn tells_its_serial_number_and_knows_no_other_requests() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 1);
    assert_eq!(bench.ask(8, 0, &[(DATA, 20, true)]), (0, 21));
    assert_eq!(bench.bytes(DATA, 20), *b"disk-42\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(bench.ask(99, 0, &[]), (2, 1));
    assert_eq!(
        bench.ask(0, SIZE / 512, &[(DATA, 512, true)]),
        (1, 1),
        "beyond the end"
    );
    assert_eq!(bench.ask(1, u64::MAX, &[(DATA, 512, false)]), (1, 1));
}

#[test]
fn read_only_stays_so() {
    let (_dir, mut config) = image();
    config.read_only = true;
    let mut bench = Bench::new(&config, 1);
    assert_eq!(bench.rig.offered() & 0xffff, 0x1666, "no discards");
    assert_eq!(bench.ask(1, 0, &[(DATA, 512, false)]), (1, 1));
    assert_eq!(bench.ask(0, 1, &[(DATA, 512, true)]), (0, 513));
    assert_eq!(bench.ask(4, 0, &[]), (0, 1));
    Disk::open(0, &config, 1).unwrap();
    config.read_only = false;
    assert!(matches!(Disk::open(0, &config, 1), Err(DiskError::InUse { .. })));
}

#[test]
fn pause_drains_and_resume_goes_on() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 2);
    for _ in 0..20 {
        for head in 0..20u16 {
            bench.offer(0, head * 4, 0, 0, &[(DATA, 65536, true)]);
        }
        bench.rig.notify(0);
        bench.rig.function.pause();
        bench.fill(DATA, 0x77, 65536);
        let mut ended = std::iter::from_fn(|| bench.queues[0].used()).count();
        assert_eq!(
            bench.bytes(DATA, 65536),
            vec![0x77; 65536],
            "nothing is in flight"
        );
        bench.rig.function.resume();
        while ended < 20 {
            bench.rig.wait(&mut bench.queues[0]);
            ended += 1;
        }
    }
}

#[test]
fn reset_in_flight_leaves_memory_alone() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 1);
    for _ in 0..20 {
        for head in 0..20u16 {
            bench.offer(0, head * 4, 0, 0, &[(DATA, 65536, true)]);
        }
        bench.rig.notify(0);
        bench.rig.set_common(20, 1, 0);
        bench.fill(DATA, 0x55, 65536);
        bench
            .rig
            .memory
            .write_slice(&[0; 0x8000], GuestAddress(0x1_4000))
            .unwrap();
        bench.queues = bench.rig.start(u64::MAX, &[0x1_0000]);
        assert_eq!(bench.bytes(DATA, 65536), vec![0x55; 65536]);
        assert_eq!(bench.ask(0, 3, &[(DATA, 512, true)]), (0, 513));
    }
}

#[test]
fn broken_request_needs_a_reset() {
    let (_dir, config) = image();
    let mut bench = Bench::new(&config, 1);
    bench.rig.recorder.take();
    bench.queues[0].submit(0, &[(DATA, 16, false)]);
    bench.rig.notify(0);
    let start = std::time::Instant::now();
    while bench.rig.status() & 64 == 0 {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
    bench.rig.function.pause();
    bench.rig.function.resume();
    bench
        .rig
        .memory
        .write_slice(&[0; 0x8000], GuestAddress(0x1_4000))
        .unwrap();
    bench.queues = bench.rig.start(u64::MAX, &[0x1_0000]);
    assert_eq!(bench.ask(0, 3, &[(DATA, 512, true)]), (0, 513));
}

/// Waits until the disk has asked for a pause `times` times.
fn wait_for_full(bench: &Bench, times: u32) {
    let start = std::time::Instant::now();
    while bench.full.load(Ordering::SeqCst) < times {
        assert!(start.elapsed().as_secs() < 20, "nobody was told");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_host_keeps_the_write() {
    let config = disk_config(Path::new("/dev/full"));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut disk = Disk::from_file(file, &config, 1).unwrap();
    disk.geometry.capacity = SIZE;
    let mut bench = Bench::on(disk, u64::MAX);
    bench.offer(0, 0, 1, 0, &[(DATA, 512, false)]);
    bench.rig.notify(0);
    wait_for_full(&bench, 1);
    bench.rig.function.pause();
    bench.offer(0, 4, 8, 0, &[(DATA, 20, true)]);
    bench.rig.function.resume();
    wait_for_full(&bench, 2);
    let other = bench.rig.wait(&mut bench.queues[0]);
    assert_eq!(other, (4, 21), "what needs no room is served");
    assert_eq!(bench.queues[0].used(), None, "neither lost nor failed");
    assert_eq!(
        (
            bench.status(0, 0),
            bench.counters().waits,
            bench.counters().errors
        ),
        (0xee, 2, 0)
    );
    bench.rig.function.pause();
    bench.rig.function.resume();
    bench.rig.set_common(20, 1, 0);
    assert_eq!(bench.rig.status(), 0, "a reset does not wait for room");
}

#[test]
fn a_full_file_system_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let size = Some("size=256k");
    if mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), size).is_err() {
        eprintln!("skipped: cannot mount a file system");
        return;
    }
    let path = dir.path().join("disk");
    File::create(&path).unwrap().set_len(SIZE).unwrap();
    fs::write(dir.path().join("ballast"), vec![1; 128 << 10]).unwrap();
    let mut bench = Bench::new(&disk_config(&path), 1);
    bench.fill(DATA, 0x5a, 200 << 10);
    bench.offer(0, 0, 1, 0, &[(DATA, 200 << 10, false)]);
    bench.rig.notify(0);
    wait_for_full(&bench, 1);
    bench.rig.function.pause();
    assert_eq!(bench.queues[0].used(), None);
    fs::remove_file(dir.path().join("ballast")).unwrap();
    bench.rig.function.resume();
    assert_eq!(bench.rig.wait(&mut bench.queues[0]), (0, 1));
    assert_eq!(bench.status(0, 0), 0);
    assert_eq!(fs::read(&path).unwrap()[..200 << 10], vec![0x5a; 200 << 10]);
    drop(bench);
    umount2(dir.path(), MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_driver_without_flush_and_event_indices_is_served() {
    let (_dir, config) = image();
    let disk = Disk::open(0, &config, 1).unwrap();
    let mut bench = Bench::on(disk, crate::devices::virtio::feature::VERSION_1);
    bench.fill(DATA, 0x11, 512);
    for sector in 0..50 {
        assert_eq!(bench.ask(1, sector, &[(DATA, 512, false)]), (0, 1));
    }
    assert_eq!(
        on_disk(&config, 0, 51 * 512),
        [vec![0x11; 50 * 512], vec![50; 512]].concat()
    );
    assert!(bench.rig.recorder.take().len() >= 50);
}

#[test]
fn what_is_no_disk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let open = |config: &DiskConfig| Disk::open(3, config, 1).err().unwrap().to_string();
    assert!(open(&disk_config(&path)).starts_with("disks[3].path: cannot open "));
    assert!(open(&disk_config(dir.path())).starts_with("disks[3].path: "));
    assert!(open(&disk_config(Path::new("/dev/null"))).contains("regular file or a block device"));
    for size in [0, 511, 1000] {
        File::create(&path).unwrap().set_len(size).unwrap();
        assert!(open(&disk_config(&path)).contains(&format!("has {size} bytes")));
    }
}

//! Fuzzing within `cargo test`: whatever a guest, a client or a config file says, nothing panics and nothing hangs.
//!
//! ```text
//! seeds, vmm/fuzz/TARGET/* ──> corpus ──pick, mutate──> target(input) ──new behaviour──> corpus
//!                                                          └──panic, hang──> vmm/fuzz/TARGET/HASH
//! ```
//!
//! A target is a function of bytes that returns a number for what it saw ([`Behaviour`]); an input that shows something new is
//! kept and mutated further. That is coarser than coverage of branches, and needs no other compiler. What fails
//! is stored in the source tree and comes first from then on: commit it with the correction.
//!
//! `AXION_FUZZ_SECONDS` says how long (1), `AXION_FUZZ_SEED` where to begin (another number each time, so that every run of the
//! tests looks elsewhere), `AXION_FUZZ_REPLAY` names one file to run instead. `cargo xtask fuzz` sets them. What fails tells its
//! seed, the input, and how to have it again.

mod acpi;
mod devices;
mod memory;
mod targets;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// An input during which the process has worked for longer hangs. A busy machine may keep it from working for as long as it
/// likes.
const PATIENCE: Duration = Duration::from_secs(60);
/// So does one that waits for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Longest input, bytes.
const LONGEST: usize = 16 << 10;
/// Most inputs that are kept.
const CORPUS: usize = 4096;

/// Runs `target` on mutations of `seeds` for as long as it is told to.
fn fuzz(name: &str, seeds: &[&[u8]], target: fn(&[u8]) -> Behaviour) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name);
    let seed = number("AXION_FUZZ_SEED").unwrap_or_else(any_seed);
    let case = Case {
        name: name.to_owned(),
        seed,
        directory,
    };
    let watched = Watched::start(&case);
    let run = |input: &[u8]| {
        watched.begin(input);
        let behaviour = catch_unwind(AssertUnwindSafe(|| target(input)));
        behaviour.unwrap_or_else(|_| panic!("panicked, see above: {}", case.failed(input)))
    };
    if let Some(file) = env::var_os("AXION_FUZZ_REPLAY") {
        let input = fs::read(&file).unwrap();
        eprintln!("fuzz {name}: {:?}", run(&input));
        return;
    }
    let seconds = number("AXION_FUZZ_SECONDS").unwrap_or(1);
    let mut random = Random(seed | 1);
    let mut corpus: Vec<Vec<u8>> = stored(&case.directory);
    corpus.extend(seeds.iter().map(|seed| seed.to_vec()));
    corpus.push(Vec::new());
    let mut seen = BTreeSet::new();
    for input in &corpus {
        seen.insert(run(input));
    }
    let (end, mut count) = (Instant::now() + Duration::from_secs(seconds), corpus.len());
    while Instant::now() < end {
        let input = random.mutation(&corpus);
        if seen.insert(run(&input)) {
            if corpus.len() < CORPUS {
                corpus.push(input);
            } else {
                let place = random.below(CORPUS);
                corpus[place] = input;
            }
        }
        count += 1;
    }
    eprintln!(
        "fuzz {name}: {count} inputs in {seconds} s from seed {seed}, {} behaviours",
        seen.len()
    );
}

/// A target and where it began.
#[derive(Clone)]
struct Case {
    name: String,
    seed: u64,
    /// Inputs that once failed.
    directory: PathBuf,
}

impl Case {
    /// Keeps the input that failed; says how to have it again, also where the file is lost with the machine.
    fn failed(&self, input: &[u8]) -> String {
        let Self { name, seed, .. } = self;
        let file = store(&self.directory, input);
        let bytes = match input.len() {
            0..=2048 => input.iter().map(|byte| format!("{byte:02x}")).collect(),
            len => format!("({len} bytes)"),
        };
        format!(
            "fuzz target {name}, seed {seed}; its input is {}: {bytes}\n\
             again: cargo xtask fuzz {name} --replay {}, or from the seed: cargo xtask fuzz {name} --seed {seed}",
            file.display(),
            file.display()
        )
    }
}

/// Another number each time.
fn any_seed() -> u64 {
    // Keys of the process, from the kernel.
    RandomState::new().hash_one(Instant::now())
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}; a whole number is allowed")),
    )
}

/// The inputs that once failed.
fn stored(directory: &Path) -> Vec<Vec<u8>> {
    let Ok(files) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn store(directory: &Path, input: &[u8]) -> PathBuf {
    let mut hash = DefaultHasher::new();
    input.hash(&mut hash);
    let file = directory.join(format!("{:016x}", hash.finish()));
    fs::create_dir_all(directory).unwrap();
    fs::write(&file, input).unwrap();
    file
}

/// What a target saw of an input: as many different ones as there are things to tell apart, and no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Behaviour(u64);

impl Behaviour {
    /// It saw `this` too.
    fn saw(&mut self, this: impl Hash) {
        let mut hash = DefaultHasher::new();
        (self.0, this).hash(&mut hash);
        self.0 = hash.finish();
    }

    /// It saw an error: of its text only what is not a value counts.
    fn saw_error(&mut self, error: &dyn std::error::Error) {
        let text = crate::chain(error);
        let words: String = text
            .chars()
            .filter(|letter| letter.is_alphabetic())
            .take(24)
            .collect();
        self.saw(words);
    }
}

/// An input, when it began, and how long the process had worked by then.
type Current = Option<(Instant, Duration, Vec<u8>)>;

/// CPU time of the process.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    Duration::from(time)
}

/// The input at work, and who ends the process when it takes too long.
struct Watched {
    current: Arc<Mutex<Current>>,
    ended: Arc<AtomicBool>,
}

impl Watched {
    fn start(case: &Case) -> Self {
        let watched = Self {
            current: Arc::default(),
            ended: Arc::default(),
        };
        let (current, ended, case) = (watched.current.clone(), watched.ended.clone(), case.clone());
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_secs(1));
                let current = lock(&current);
                let hangs = |since: &Instant, before: &Duration| {
                    worked().saturating_sub(*before) > PATIENCE || since.elapsed() > LONGEST_WAIT
                };
                if let Some((_, _, input)) =
                    current.as_ref().filter(|(since, before, _)| hangs(since, before))
                {
                    eprintln!("hangs: {}", case.failed(input));
                    std::process::abort();
                }
            }
        });
        watched
    }

    fn begin(&self, input: &[u8]) {
        let mut current = lock(&self.current);
        let (since, before, bytes) =
            current.get_or_insert_with(|| (Instant::now(), Duration::ZERO, Vec::new()));
        (*since, *before) = (Instant::now(), worked());
        bytes.clear();
        bytes.extend_from_slice(input);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *lock(&self.current) = None;
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// xorshift64*.
struct Random(u64);

/// Numbers at the edges of what is checked.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x1000,
    0x7fff,
    0x8000,
    0xffff,
    0x10_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap() % limit.max(1)
    }

    /// Some input of `corpus`, changed in a few places.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let len = input.len();
        let at = self.below(len + 1);
        match self.below(9) {
            0 if at < len => input[at] ^= 1 << self.below(8),
            1 if at < len => input[at] = self.next().to_le_bytes()[0],
            2 if at < len => {
                let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = (1 << self.below(4)).min(len - at);
                input[at..at + width].copy_from_slice(&edge[..width]);
            }
            3 => {
                let count = 1 << self.below(6);
                let new: Vec<u8> = (0..count).map(|_| self.next().to_le_bytes()[0]).collect();
                drop(input.splice(at..at, new));
            }
            4 => drop(input.drain(at..(at + self.below(16)).min(len))),
            5 => input.truncate(at),
            6 => {
                let piece = input[at..(at + self.below(64)).min(len)].to_vec();
                let to = self.below(len + 1);
                drop(input.splice(to..to, piece));
            }
            7 if at < len => input[at] = input[at].wrapping_add(if self.next() & 1 == 0 { 1 } else { 0xff }),
            _ => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}

/// An input as a stream of values; zeros once it has ended.
struct Values<'a>(&'a [u8]);

impl Values<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let count = N.min(self.0.len());
        let (these, rest) = self.0.split_at(count);
        bytes[..count].copy_from_slice(these);
        self.0 = rest;
        bytes
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

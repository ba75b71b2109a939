//! Work on all guest memory at once: each guest node has its own threads, on CPUs of the host node that holds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use axion_core::topology::CpuSet;

use super::mapping::Piece;
use crate::placement::affinity;

/// Most threads of a node: a memory controller is saturated by fewer.
const MOST: usize = 16;

/// The pieces of a node, and who works on them.
pub struct Team {
    /// Host node to which the pieces are bound.
    pub host: Option<u32>,
    /// What is to be worked on.
    pub pieces: Vec<Piece>,
    /// CPUs on which to work, as many threads as CPUs; where there is a host node, each keeps to one of them.
    pub cpus: CpuSet,
}

/// What a team did.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Threads that worked.
    pub threads: usize,
    /// Time from the start to the end of the last one.
    pub time: Duration,
}

/// A team's failure: its number, the piece, the cause.
pub type Failure = (usize, Piece, nix::Error);

/// Does `work` on every piece of every team.
///
/// # Errors
/// The last failure; what was not begun by then is left undone.
pub fn run(
    teams: &[Team],
    work: impl Fn(Piece) -> Result<(), nix::Error> + Sync,
) -> Result<Vec<Done>, Failure> {
    let failure = Mutex::new(None);
    let work = &work;
    let done = thread::scope(|scope| {
        let started: Vec<_> = teams
            .iter()
            .enumerate()
            .map(|(number, team)| {
                let failure = &failure;
                scope.spawn(move || {
                    let (started, next) = (Instant::now(), AtomicUsize::new(0));
                    let each = || {
                        while let Some(piece) = team.pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                            if let Err(errno) = work(*piece) {
                                next.store(team.pieces.len(), Ordering::Relaxed);
                                *failure.lock().unwrap_or_else(PoisonError::into_inner) =
                                    Some((number, *piece, errno));
                            }
                        }
                    };
                    let threads = together(team, &each);
                    Done {
                        threads,
                        time: started.elapsed(),
                    }
                })
            })
            .collect();
        started.into_iter().filter_map(|team| team.join().ok()).collect()
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(done),
    }
}

/// Runs `each` on as many threads as are of use, this one (which moves) among them; returns their number.
fn together(team: &Team, each: &(impl Fn() + Sync)) -> usize {
    let count = team.cpus.len().min(team.pieces.len()).clamp(1, MOST);
    let mut cpus = team.cpus.iter();
    let mut part = || {
        let own = cpus.next().filter(|_| team.host.is_some());
        let cpus = own.map_or_else(|| team.cpus.clone(), |cpu| CpuSet::from_iter([cpu]));
        move || {
            // From elsewhere the work is slower, and just as right.
            let _ = affinity::set(&cpus);
            each();
        }
    };
    thread::scope(|scope| {
        for _ in 1..count {
            let part = part();
            scope.spawn(part);
        }
        part()();
    });
    count
}

//! Noticing a guest that has halted for good: every vCPU halted with interrupts off, or never started. Nothing in this
//! machine sends an NMI, so that nothing wakes it; people who type `halt` expect the machine to end then.
//!
//! KVM does not report a halt, which it handles itself. The machine thread therefore looks now and then at the CPU time
//! of the vCPU threads, which costs them nothing, and has them look at themselves ([`Verdict::Look`]) only when none of it was
//! used. A guest that is merely idle is looked at ever more rarely, until it works again.
//!
//! ```text
//! busy ──no CPU time used──> looked ──all asleep──> confirmed ──all asleep──> halted
//!   ^                          │ no                     │ no
//!   └──────── later and later ─┴────────────────────────┘
//! ```
//!
//! Two looks, because vCPUs are not looked at at the same instant: one that is seen before it is started, by another one
//! that is seen after it has halted, is seen running by the second look.

use std::time::Duration;

/// Between two steps.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// CPU time in an interval from which on a guest has worked, and is looked at soon again once it does not.
const WORK: Duration = Duration::from_millis(5);
/// Most intervals between looks at an idle guest.
const LONGEST: u32 = 32;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Rest,
    /// Have the vCPUs look at themselves.
    Look,
    /// The machine has ended.
    Halted,
}

/// What is known so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// CPU time of all vCPU threads at the last step.
    before: Duration,
    /// Looks since the last one that found somebody awake.
    asleep: u32,
    /// A look was asked for at the last step.
    looked: bool,
    /// Intervals until the next look, and how many there were before the last one.
    wait: u32,
    pause: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            before: Duration::ZERO,
            asleep: 0,
            looked: false,
            wait: 0,
            pause: 1,
        }
    }
}

impl Watch {
    /// A step, [`INTERVAL`] after the last one. `time` is the CPU time of all vCPU threads, `all_asleep` what the last look
    /// found.
    pub fn step(&mut self, time: Duration, all_asleep: bool) -> Verdict {
        let used = time.saturating_sub(self.before);
        self.before = time;
        if std::mem::take(&mut self.looked) {
            if all_asleep {
                self.asleep += 1;
                if self.asleep == 2 {
                    return Verdict::Halted;
                }
                self.looked = true;
                return Verdict::Look;
            }
            self.asleep = 0;
            self.wait = self.pause;
            self.pause = (self.pause * 2).min(LONGEST);
        }
        if used >= WORK {
            (self.wait, self.pause) = (0, 1);
            return Verdict::Rest;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return Verdict::Rest;
        }
        if used.is_zero() {
            self.looked = true;
            return Verdict::Look;
        }
        Verdict::Rest
    }
}

#[cfg(test)]
mod tests;

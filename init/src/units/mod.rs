//! Units: the services of the node, and transient units that the agent asks for (VMs).
//!
//! One task ([`supervisor`]) owns every unit; all others talk to it through [`Units`]. What a unit does in which state
//! is decided by pure code ([`state`]), which returns actions; the supervisor carries them out.
//!
//! ```text
//!              Start                      ended, restart due
//!   inactive ────────> running ─────────────────────────────> back-off
//!      ^  failed <───────┤ ended with an error, no restart left    │
//!      │                 │ Stop                                    │ pause over
//!      └──── ended ── stopping ── deadline ──> SIGKILL             └──> running
//! ```
//! Every unit has a cgroup of its own, so that ending it ends every process that it started. What a transient unit is
//! given for its life ([`run_directory`], [`volumes`], taps) is taken back when it is removed.

pub mod cgroup;
mod commands;
mod notify;
mod output;
mod run;
mod run_directory;
mod spawn;
mod spec;
mod state;
mod supervisor;
mod volumes;

pub use self::commands::Commands;
pub use self::spawn::open_terminal;
pub use self::spec::{CPU_WEIGHT, Cpus, Restart, Spec, Stdio};
pub use self::supervisor::{Change, UnitError, Units};
pub use self::volumes::device;

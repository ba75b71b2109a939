//! A plan's arguments on a kernel command line, and whether they need a kexec.
//!
//! ```text
//! console=ttyS0 quiet axion.plan=begin isolcpus=… hugepagesz=1G hugepages=0:4 axion.kexec=1 axion.plan=end -- init's
//! └── the operator's ┘ └────────────────── ours, replaced as one ──────────────────────────┘
//! ```
//!
//! What stands outside the marks is the operator's and stays, in its order. Where it gives one of our parameters itself
//! (or a pool of hugepages of the same size), it wins and ours is left out: given twice, the kernel refuses some of them.
//!
//! `axion.kexec=1` is the loop guard: a kernel that was started with it is not left again in the same boot, whatever its
//! command line lacks; attestation shows what that is. A loader's entry has the marks without the guard.
//! Where a kexec is no way, the arguments are stored in the loader's entry and the machine restarts; `axion.restart=1` among
//! them is the guard of that, and is taken out of the entry again by the start that has it.
//! `axion.profile=off` anywhere is the way out.

use crate::cmdline::{CommandLine, Group, Param};

use super::{Argument, Plan, Restart};

const MARK: &str = "axion.plan";
const GUARD: &str = "axion.kexec";
const RESTARTED: &str = "axion.restart";
const SWITCH: &str = "axion.profile";
/// Longest command line that the kernel keeps, in bytes (x86's `COMMAND_LINE_SIZE` less the terminator).
const LONGEST: usize = 2047;

/// A command line with a plan's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The whole line, without a loop guard: fit for a loader's entry.
    pub line: CommandLine,
    /// Parameters of the plan that the operator gives, otherwise, by themselves.
    pub overridden: Vec<String>,
}

/// Whether the running kernel has the plan's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KexecDecision {
    /// `axion.profile=off` is on the command line.
    SwitchedOff,
    /// It has them.
    NotNeeded,
    /// It has not: start the same kernel again with this command line, which has the loop guard.
    Kexec {
        /// The whole line.
        command_line: String,
    },
    /// It has not, and a kexec is no way: store them in the loader's entry ([`stored`]), where it has one, and restart the machine.
    Reboot,
    /// It has not although it was started for them: go on, and let attestation say what is missing.
    AlreadyTried,
    /// The line would be longer than the kernel keeps: go on without.
    TooLong {
        /// How long, in bytes; 2047 are kept.
        length: usize,
    },
}

/// Whether the operator switched the profile off at the loader.
pub fn is_switched_off(current: &CommandLine) -> bool {
    current.get(SWITCH) == Some("off")
}

/// Whether this kernel was started by a kexec for a plan.
pub fn is_second_start(current: &CommandLine) -> bool {
    current.contains(GUARD)
}

/// Whether the machine was restarted for a plan.
pub fn is_restarted(current: &CommandLine) -> bool {
    current.contains(RESTARTED)
}

/// The options of a loader's entry with the plan's arguments and the guard of a restart; `None`: they have the arguments already,
/// and a start that lacks them did not get them from there.
pub fn stored(options: &CommandLine, plan: &Plan) -> Option<CommandLine> {
    let composed = compose(options, plan).line;
    (without_guard(options) != composed).then(|| with_guard(&composed, RESTARTED))
}

/// The options of a loader's entry without the guard of a restart.
pub fn unguarded(options: &CommandLine) -> CommandLine {
    without_guard(options)
}

/// Decides about the kexec.
pub fn needs_kexec(current: &CommandLine, plan: &Plan) -> KexecDecision {
    if is_switched_off(current) {
        return KexecDecision::SwitchedOff;
    }
    let Composed { line, .. } = compose(current, plan);
    if without_guard(current) == line {
        return KexecDecision::NotNeeded;
    }
    if current.contains(GUARD) || current.contains(RESTARTED) {
        return KexecDecision::AlreadyTried;
    }
    let command_line = with_guard(&line, GUARD).to_string();
    match (command_line.len(), plan.restart) {
        (length, _) if length > LONGEST => KexecDecision::TooLong { length },
        (_, Restart::Kexec) => KexecDecision::Kexec { command_line },
        (_, Restart::Reboot) => KexecDecision::Reboot,
    }
}

/// Puts the plan's arguments in the place of an earlier plan's, or at the end.
pub fn compose(current: &CommandLine, plan: &Plan) -> Composed {
    let Parts { before, after, .. } = Parts::of(current);
    let own = current.with_params(before.iter().chain(&after).cloned().collect());
    let mut ours = Vec::new();
    let mut overridden = Vec::new();
    for planned in &plan.arguments {
        for params in indivisible(&planned.argument) {
            let text = || params.iter().map(Param::to_string).collect::<Vec<_>>().join(" ");
            if is_given(&own, &planned.argument, &params) {
                if !params.iter().all(|param| own.iter().any(|own| own == param)) {
                    overridden.push(text());
                }
            } else {
                ours.extend(params);
            }
        }
    }
    let marked = if ours.is_empty() {
        Vec::new()
    } else {
        [mark("begin"), ours, mark("end")].concat()
    };
    Composed {
        line: current.with_params([before, marked, after].concat()),
        overridden,
    }
}

/// The parameters that mean something only together.
fn indivisible(argument: &Argument) -> Vec<Vec<Param>> {
    match argument {
        Argument::Hugepages { .. } => vec![argument.params()],
        _ => argument.params().into_iter().map(|param| vec![param]).collect(),
    }
}

/// Whether the operator gives the same thing, with whatever value.
fn is_given(own: &CommandLine, argument: &Argument, params: &[Param]) -> bool {
    match argument {
        Argument::Hugepages { page_size, .. } => own
            .hugepage_pools()
            .iter()
            .any(|pool| pool.page_size == Some(page_size.bytes())),
        _ => params.iter().any(|param| own.contains(param.key())),
    }
}

/// Whether the running kernel was given all of an argument.
pub(super) fn has(current: &CommandLine, argument: &Argument) -> bool {
    match argument {
        Argument::Hugepages { .. } => {
            let line = CommandLine::default().with_params(argument.params());
            let pools = current.hugepage_pools();
            line.hugepage_pools().iter().all(|wanted| pools.contains(wanted))
        }
        _ => argument.params().iter().all(|param| {
            let last = current.iter().filter(|own| own.is(param.key())).last();
            // `iommu=` is read part by part, each occurrence of it.
            last == Some(param) || param.is("iommu") && current.iter().any(|own| own == param)
        }),
    }
}

/// What the running kernel was given in its place, for people.
pub(super) fn given(current: &CommandLine, argument: &Argument) -> String {
    let keys = argument.params();
    let found: Vec<String> = match argument {
        Argument::Hugepages { page_size, .. } => current
            .groups()
            .into_iter()
            .filter_map(|group| match group {
                Group::Hugepages(pool) if pool.page_size == Some(page_size.bytes()) => {
                    Some(pool.pages.to_string())
                }
                _ => None,
            })
            .collect(),
        _ => current
            .iter()
            .filter(|own| keys.iter().any(|key| own.is(key.key())))
            .map(Param::to_string)
            .collect(),
    };
    if found.is_empty() {
        "not given".to_owned()
    } else {
        found.join(" ")
    }
}

/// A command line around the marks. Marks that do not pair are dropped, and what stands between is the operator's.
struct Parts {
    before: Vec<Param>,
    after: Vec<Param>,
}

impl Parts {
    fn of(line: &CommandLine) -> Self {
        let params: Vec<Param> = line.iter().cloned().collect();
        let at = |word: &str| {
            params
                .iter()
                .position(|param| param.is(MARK) && param.value() == Some(word))
        };
        let own = |params: &[Param]| -> Vec<Param> {
            let own = |param: &&Param| !param.is(MARK) && !is_guard(param);
            params.iter().filter(own).cloned().collect()
        };
        match (at("begin"), at("end")) {
            (Some(begin), Some(end)) if begin < end => Self {
                before: own(params.get(..begin).unwrap_or_default()),
                after: own(params.get(end..).unwrap_or_default()),
            },
            _ => Self {
                before: own(&params),
                after: Vec::new(),
            },
        }
    }
}

fn mark(word: &str) -> Vec<Param> {
    Param::new(MARK, Some(word)).into_iter().collect()
}

fn is_guard(param: &Param) -> bool {
    param.is(GUARD) || param.is(RESTARTED)
}

fn without_guard(line: &CommandLine) -> CommandLine {
    line.with_params(line.iter().filter(|param| !is_guard(param)).cloned().collect())
}

/// The line with a loop guard: within the marks, or without arguments of ours at the end.
fn with_guard(line: &CommandLine, key: &str) -> CommandLine {
    let guard = || Param::new(key, Some("1")).ok();
    let mut params: Vec<Param> = Vec::new();
    for param in line.iter() {
        if param.is(MARK) && param.value() == Some("end") {
            params.extend(guard());
        }
        params.push(param.clone());
    }
    if !params.iter().any(|param| param.is(key)) {
        params.extend(guard());
    }
    line.with_params(params)
}

//! What a VM's name and spec may be, whatever the host has. Pure.

pub mod devices;

use axion_api::problem::{Kind, Problem};
use axion_api::vm::{ImageRef, Scheduling, VmSpec};
use axion_core::placement::{NumaPolicy, VmClass, VmThreads};
use axion_core::quantity::ByteSize;

use crate::images::Digest;

/// Longest appended kernel command line: the kernel takes 2047 bytes (COMMAND_LINE_SIZE on x86), ours included.
const LONGEST_CMDLINE: usize = 1800;
/// Shares of CPU time (cgroup-v2.rst, cpu.weight).
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// Longest VM name.
const LONGEST_NAME: usize = 40;

fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Invalid, detail).at(pointer)
}

/// Checks the name of a VM.
pub fn name(name: &str) -> Result<(), Problem> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(letters);
    if good {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Invalid,
        format!(
            "`{}` is not a VM name; allowed are 1 to {LONGEST_NAME} of a-z, 0-9 and `-`, starting with a letter",
            name.escape_debug()
        ),
    ))
}

/// Checks what a spec says, whatever the host has.
pub fn spec(spec: &VmSpec) -> Result<(), Problem> {
    cpus(spec)?;
    memory(spec)?;
    image("/boot/kernel", &spec.boot.kernel, false)?;
    image("/boot/initrd", &spec.boot.initrd, true)?;
    let cmdline = &spec.boot.cmdline;
    if cmdline.len() > LONGEST_CMDLINE {
        let detail = format!("{} bytes; allowed are at most {LONGEST_CMDLINE}", cmdline.len());
        return Err(invalid("/boot/cmdline", detail));
    }
    if let Some(bad) = cmdline.chars().find(|c| !matches!(c, ' '..='~')) {
        let detail = format!(
            "the character `{}`; allowed is printable ASCII",
            bad.escape_default()
        );
        return Err(invalid("/boot/cmdline", detail));
    }
    devices::check(spec)
}

/// What a VM of one class is given and one of the other has no use for.
fn cpus(spec: &VmSpec) -> Result<(), Problem> {
    if spec.class == VmClass::Dedicated {
        for (pointer, given) in [("/cpu_weight", spec.cpu_weight), ("/cpu_limit", spec.cpu_limit)] {
            if given.is_some() {
                let detail = "a dedicated VM has its CPUs to itself, whole; allowed in a shared one";
                return Err(invalid(pointer, detail));
            }
        }
        return Ok(());
    }
    if spec.threads != VmThreads::Auto {
        let detail = "a shared VM has no cores of its own; allowed is `auto`, and all in a dedicated one";
        return Err(invalid("/threads", detail));
    }
    if spec.scheduling == Scheduling::Fifo {
        let detail = "a shared VM's vCPUs would keep others from the CPUs that they share; allowed is `normal`, and \
                      `fifo` in a dedicated one";
        return Err(invalid("/scheduling", detail));
    }
    if let Some(weight) = spec.cpu_weight.filter(|weight| !WEIGHTS.contains(weight)) {
        let detail = format!("{weight}; allowed are {} to {}", WEIGHTS.start(), WEIGHTS.end());
        return Err(invalid("/cpu_weight", detail));
    }
    let most = spec.cpus.saturating_mul(100);
    if let Some(limit) = spec.cpu_limit.filter(|limit| *limit == 0 || *limit > most) {
        let detail = format!("{limit} %; allowed are 1 to {most}, 100 for each vCPU");
        return Err(invalid("/cpu_limit", detail));
    }
    Ok(())
}

/// Memory that grows and shrinks.
fn memory(spec: &VmSpec) -> Result<(), Problem> {
    let (Some(max), Some(block)) = (spec.memory_max, spec.memory_block()) else {
        return Ok(());
    };
    let more = max.0.saturating_sub(spec.memory.0);
    if more == 0 || !more.is_multiple_of(block.0) {
        let detail = format!(
            "{max}; allowed is `memory`, {}, and a multiple of {block}",
            spec.memory
        );
        return Err(invalid("/memory_max", detail));
    }
    if spec.numa == NumaPolicy::Spread {
        let detail =
            "the memory of a VM that may be spread over nodes neither grows nor shrinks; allowed is `single`";
        return Err(invalid("/numa", detail));
    }
    Ok(())
}

/// Checks what a VM is to have of memory in all.
pub fn memory_size(spec: &VmSpec, size: ByteSize) -> Result<(), String> {
    let (Some(max), Some(block)) = (spec.memory_max, spec.memory_block()) else {
        return Err("the spec has no `memory_max`".to_owned());
    };
    let more = size.0.checked_sub(spec.memory.0);
    if size <= max && more.is_some_and(|more| more.is_multiple_of(block.0)) {
        return Ok(());
    }
    Err(format!(
        "{size}; allowed are {} to {max}, by steps of {block}",
        spec.memory
    ))
}

fn image(pointer: &str, image: &ImageRef, optional: bool) -> Result<(), Problem> {
    match image.0.as_str() {
        "builtin" => Ok(()),
        "none" if optional => Ok(()),
        text => text.parse::<Digest>().map(|_| ()).map_err(|_| {
            let none = if optional { "`none`, " } else { "" };
            let detail = format!(
                "`{}` is no image; allowed are `builtin`, {none}and `sha256:` with 64 hex digits (lower case) of an \
                 uploaded one",
                text.escape_debug()
            );
            invalid(pointer, detail)
        }),
    }
}

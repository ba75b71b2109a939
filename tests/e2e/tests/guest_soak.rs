//! Guests that start again and again all come up. Run on demand: it takes as long as it is let.
//!
//! What the processors did when a guest did not is in `lost` in the machine's directory: a processor that runs a guest shows the
//! guest's registers, and the physical address of a VMCB is in RAX at VMRUN.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axion_e2e::{GUEST_READY, boot, console};
use axion_lab::command::Program;
use axion_lab::{Machine, Node, Spec};

/// Guests at once, with two vCPUs each.
const GUESTS: usize = 4;
/// A guest's boot among others, at its slowest.
const SLOW: Duration = Duration::from_secs(90);
/// How often the processors are looked at when a guest is lost.
const LOOKS: usize = 20;

#[test]
#[ignore = "runs for AXION_SOAK_SECONDS, or 600"]
fn guests_start_again_and_again() -> Result<()> {
    let seconds = std::env::var("AXION_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(600));
    let (machine, node) = boot(Spec::new("guest-soak").memory_mib(4096).config_with_token(""))?;
    let mut guests = Vec::new();
    for number in 0..GUESTS {
        let name = format!("soak-{number}");
        node.axctl(&["vm", "run", &name, "--memory", "64MiB", "--cpus", "2"])?;
        let console = console(&node, &name)?;
        if let Err(error) = console.log().wait_for(GUEST_READY, SLOW) {
            return Err(lost(&machine, &node, &name, error)?);
        }
        guests.push((name, console));
    }
    while Instant::now() < end {
        reset_all(&machine, &node, &guests)?;
    }
    Ok(())
}

fn reset_all(machine: &Machine, node: &Node, guests: &[(String, Program)]) -> Result<()> {
    let mut seen = Vec::new();
    for (name, console) in guests {
        seen.push(console.log().last().context("the console is empty")?);
        node.axctl(&["vm", "reset", name])?;
    }
    for ((name, console), seen) in guests.iter().zip(&seen) {
        if let Err(error) = console.log().wait_for_after(seen, GUEST_READY, SLOW) {
            return Err(lost(machine, node, name, error)?);
        }
    }
    for (name, _) in guests {
        let stats = node.call(node.client().vm_stats(name))?;
        if stats.vcpus.iter().any(|vcpu| vcpu.exits == 0 || vcpu.cpu_us == 0) {
            bail!("{name} has not run: {stats:?}");
        }
    }
    Ok(())
}

/// Keeps what there is to know about a guest that does not come up.
fn lost(machine: &Machine, node: &Node, name: &str, error: axion_lab::Error) -> Result<anyhow::Error> {
    let mut text = String::new();
    for _ in 0..LOOKS {
        writeln!(text, "{}", machine.registers()?)?;
        writeln!(text, "{:#?}", node.call(node.client().vm_stats(name)))?;
    }
    let path = machine.dir().join("lost");
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(anyhow::Error::new(error).context(format!("{name}; see {}", path.display())))
}

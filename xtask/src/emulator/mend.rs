//! A fault of QEMU's emulation that the machines cannot live with, taken out of its program.
//!
//! Where a processor restores the state of its FPU without a pending exception (`FXRSTOR`, `XRSTOR`: each change of tasks),
//! QEMU's `cpu_clear_ignne` clears a bit in a word of flags of **the first processor**, from the thread of whichever processor
//! that is, by a plain load and store. Other bits of that word tell whether the first processor translates addresses by a
//! guest's nested page tables, and whether interrupts may come in (GIF). A change that it makes meanwhile, as it does at every
//! `VMRUN` and every exit, is undone: it then goes on in the host with the guest's translation, and what it was doing is written
//! into the guest as its registers. The guest stands still, or is reset by a triple fault.
//!
//! The bit is that of the IGNNE# pin, by which MS-DOS learnt of FPU exceptions. No system of these machines uses it: the
//! function may as well return at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSegment, ObjectSymbol};

/// The function.
const FUNCTION: &str = "cpu_clear_ignne";
/// What it begins with: ENDBR64, the landing pad of indirect branches.
const LANDING: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// RET.
const RETURN: u8 = 0xc3;

/// Whether `program` has not the fault: it is mended, or of a QEMU that has no such function.
pub fn is_mended(program: &Path) -> Result<bool> {
    let bytes = read(program)?;
    Ok(place(&bytes)?.is_none_or(|place| bytes.get(place) == Some(&RETURN)))
}

/// Takes the fault out of `program`.
pub fn mend(program: &Path) -> Result<()> {
    let mut bytes = read(program)?;
    let Some(place) = place(&bytes)? else {
        return Ok(());
    };
    *bytes.get_mut(place).context("the function is outside the file")? = RETURN;
    // The old file may be running: the name gets a new one.
    let new = program.with_extension("new");
    fs::write(&new, bytes).with_context(|| format!("write {}", new.display()))?;
    fs::set_permissions(&new, fs::metadata(program)?.permissions())?;
    fs::rename(&new, program).with_context(|| format!("replace {}", program.display()))
}

fn read(program: &Path) -> Result<Vec<u8>> {
    fs::read(program).with_context(|| format!("read {}", program.display()))
}

/// Where in the file the function's first instruction is, behind its landing pad.
fn place(bytes: &[u8]) -> Result<Option<usize>> {
    let elf = object::File::parse(bytes).context("QEMU is no ELF program")?;
    let Some(function) = elf.dynamic_symbols().find(|symbol| symbol.name() == Ok(FUNCTION)) else {
        return Ok(None);
    };
    let address = function.address();
    for segment in elf.segments() {
        let (offset, size) = segment.file_range();
        if let Some(inside) = address.checked_sub(segment.address()).filter(|at| *at < size) {
            let start = usize::try_from(offset + inside)?;
            let code = bytes.get(start..).unwrap_or_default();
            ensure!(
                code.starts_with(&LANDING),
                "QEMU's {FUNCTION} does not begin as it is known to"
            );
            return Ok(Some(start + LANDING.len()));
        }
    }
    bail!("QEMU's {FUNCTION} is in no segment")
}

#[cfg(test)]
mod tests;

//! A disk that becomes the other one: laid out, and filled from the one that was started.

use crate::bios;
use crate::esp::Esp;
use crate::inspect;
use crate::perform::{InstallError, Progress, make_volumes, write_grub};
use crate::plan::Plan;
use crate::storage::{Part, Storage};
use crate::table::{self, TableError};

use super::{Record, Side, follow, write};

/// Lays `target` out as `plan` says and gives it all that `from` holds, a part of `source`; `record` is its record. A cut leaves a
/// disk that starts nothing, as one that an installation was cut on.
///
/// # Errors
/// A disk fails, or `from` has nothing good.
pub fn add<S: Storage>(
    source: &impl Storage,
    from: &Side<S>,
    target: &impl Storage,
    plan: &Plan,
    record: &Record,
    chunk: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), InstallError> {
    let loader = bios::read_loader(source).filter(|_| target.sector() == bios::SECTOR);
    let [config, esp] = make_volumes(target, plan, chunk, progress)?;
    let mut side = Side {
        esp: Esp::new(esp),
        config,
        guid: plan.esp().guid,
    };
    progress(Progress::Step("copying the slots and the machine config"));
    follow(from, &side)?;
    write(side.esp.volume(), record)?;
    side.config.finish()?;
    progress(Progress::Step("making it bootable"));
    let boot_code = loader.as_ref().map(|(boot_code, _)| boot_code);
    if let Some((boot_code, core)) = &loader {
        let [.., place] = &plan.partitions;
        let loader = bios::Loader { boot_code, core };
        side.esp.add_grub()?;
        write_grub(
            target,
            &Part::new(target, place.start, place.length),
            &loader,
            plan.keep,
        )
        .map_err(InstallError::Bios)?;
    }
    let mut esp = side.esp.into_volume();
    esp.finish()?;
    if !plan.keep {
        table::write(target, plan.guid, &plan.partitions, boot_code)?;
    }
    progress(Progress::Step("reading it back"));
    target.forget().map_err(|e| TableError::Io("read back", e))?;
    let (there, here) = (inspect::inspect(target)?, inspect::inspect(source)?);
    let same = there.entries.len() == here.entries.len()
        && there.entries.iter().all(|(_, whole)| *whole)
        && there.loader == here.loader
        && there.bios.map(|bios| bios.loader) == loader.and_then(|_| here.bios.map(|bios| bios.loader));
    same.then_some(()).ok_or(InstallError::NotWhole)
}

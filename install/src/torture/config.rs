//! The machine config across cuts: the old one or the new one, whole.

use super::StepError;
use crate::config;
use crate::fat::{FatError, Volume};
use crate::inspect;
use crate::plan::Plan;
use crate::recording::Disk;
use crate::storage::Part;

/// What is on the config volume of a disk; `None`: it cannot be read, or there is no config.
pub fn on(disk: &Disk, plan: &Plan) -> Option<Vec<u8>> {
    config::read(&volume(disk, plan).ok()?).ok()?
}

/// Makes the numbered config the one on the disk.
pub fn replace(disk: &Disk, plan: &Plan, number: u8) -> Result<bool, StepError> {
    // Of more than one cluster.
    let text = format!(
        "hostname = \"tortured-{number}\"\n{}",
        "# and a comment\n".repeat(100)
    );
    let esp = inspect::open(disk)?.into_volume();
    Ok(config::replace_on(&esp, &volume(disk, plan)?, &text)?)
}

fn volume<'d>(disk: &'d Disk, plan: &Plan) -> Result<Volume<Part<&'d Disk>>, FatError> {
    let [config, ..] = &plan.partitions;
    Volume::open(Part::new(disk, config.start, config.length))
}

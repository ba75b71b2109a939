//! The installed disk: where the order is, and the machine config.

use axion_api::recovery::ResetOrder;
use axion_install::fat::Volume;
use axion_install::plan::NAMES;
use axion_install::reset::{self, Pending};
use axion_install::storage::{Disk, Part};
use axion_install::table::{self, Partition};

use crate::slot::find;

/// Why something about the installed disk came to nothing.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

fn open<'d>(disk: &'d Disk, partition: &Partition) -> Result<Volume<Part<&'d Disk>>, Failed> {
    Ok(Volume::open(Part::new(disk, partition.start, partition.length))?)
}

/// Keeps an order.
pub fn order(text: &str) -> Result<(), Failed> {
    let (_turn, disk, esp) = find()?;
    Ok(reset::order(&open(&disk, &esp)?, text)?)
}

/// The order that is not done.
pub fn pending() -> Result<Option<Pending>, Failed> {
    let (_turn, disk, esp) = find()?;
    Ok(reset::pending(&open(&disk, &esp)?)?)
}

/// Takes the machine config away, where that was ordered and is not done; whether it did.
pub fn take_config() -> Result<bool, Failed> {
    let (_turn, disk, esp) = find()?;
    let esp = open(&disk, &esp)?;
    let Some(found) = reset::pending(&esp)?.filter(|found| !found.config_is_done) else {
        return Ok(false);
    };
    let order: ResetOrder = serde_json::from_str(&found.order)?;
    if order.config {
        let [config, ..] = NAMES;
        let partitions = table::read(&disk)?;
        let config = partitions.iter().find(|partition| partition.name == config);
        let config = config.ok_or("the installed disk has no config volume")?;
        reset::take_config(&open(&disk, config)?)?;
    }
    if order.state.is_some() || !order.pools.is_empty() {
        reset::config_is_done(&esp)?;
    } else {
        reset::done(&esp)?;
    }
    Ok(order.config)
}

/// Forgets the order.
pub fn finish() -> Result<(), Failed> {
    let (_turn, disk, esp) = find()?;
    Ok(reset::done(&open(&disk, &esp)?)?)
}

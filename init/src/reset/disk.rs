//! The installed disk: where the order is, and the machine config.

use axion_api::recovery::ResetOrder;
use axion_install::mirror;
use axion_install::reset::{self, Pending};

use crate::slot::find;

/// Why something about the installed disk came to nothing.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Keeps an order.
pub fn order(text: &str) -> Result<(), Failed> {
    Ok(reset::order(&find()?.esp()?, text)?)
}

/// The order that is not done.
pub fn pending() -> Result<Option<Pending>, Failed> {
    Ok(reset::pending(&find()?.esp()?)?)
}

/// Takes the machine config away, where that was ordered and is not done; whether it did.
pub fn take_config() -> Result<bool, Failed> {
    let installed = find()?;
    let esp = installed.esp()?;
    let Some(found) = reset::pending(&esp)?.filter(|found| !found.config_is_done) else {
        return Ok(false);
    };
    let order: ResetOrder = serde_json::from_str(&found.order)?;
    if order.config {
        mirror::go_on_alone(&esp)?;
        reset::take_config(&installed.config()?)?;
        // The other disk of a mirror follows later; what it says must not come back if this one dies before.
        if let Some(record) = installed.record()?
            && let Some(other) = installed.partner(&record)
            && let Ok(Ok(known)) = other.esp().map(|esp| mirror::read(&esp))
            && mirror::may_follow(&record, known.as_ref()).is_ok()
            && let Ok(config) = other.config()
        {
            let _ = reset::take_config(&config);
        }
    }
    if order.state.is_some() || !order.pools.is_empty() {
        reset::config_is_done(&esp)?;
    } else {
        reset::done(&esp)?;
    }
    Ok(order.config)
}

/// Keeps what is left of an order whose machine config was taken away.
pub fn keep(text: &str) -> Result<(), Failed> {
    Ok(reset::rest(&find()?.esp()?, text)?)
}

/// Forgets the order.
pub fn finish() -> Result<(), Failed> {
    Ok(reset::done(&find()?.esp()?)?)
}

//! Whether the node still is as its boot profile says: looked at on demand and now and then; what changed is an event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_api::event::What;
use axion_core::profile::{Attestation, Item, ItemState};

use crate::app::App;
use crate::events::{Events, unix_us};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// What the last look found.
#[derive(Default)]
pub struct Drift {
    /// Items that were not as planned.
    known: Mutex<Vec<Item>>,
    last: Mutex<Option<Checked>>,
}

/// What a look found, and when.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Microseconds since 1970.
    pub unix_us: u64,
    /// The attestation.
    pub attestation: Attestation,
}

impl Drift {
    /// What the last look found; none before the first.
    pub fn last(&self) -> Option<Checked> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells readers of events when other items than before are not as planned.
    pub fn notice(&self, attestation: &Attestation, events: &Events) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Checked {
            unix_us: unix_us(),
            attestation: attestation.clone(),
        });
        let wrong = |item: &&Item| item.state != ItemState::Ok;
        let items: Vec<Item> = attestation.items.iter().filter(wrong).cloned().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let states = |items: &[Item]| -> Vec<(String, ItemState)> {
            items.iter().map(|item| (item.key.clone(), item.state)).collect()
        };
        let news = states(&items) != states(&known);
        known.clone_from(&items);
        if news {
            let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
            match attestation.state {
                ItemState::Ok => tracing::info!("boot profile in force"),
                state => tracing::warn!("boot profile {}: {}", state.word(), keys.join(", ")),
            }
            events.publish(What::Profile {
                state: attestation.state,
                items,
            });
        }
    }
}

/// Looks again and again.
pub async fn watch(app: Arc<App>) {
    loop {
        match app.profile().await {
            Ok(profile) => app.drift.notice(&profile.attestation, &app.events),
            Err(problem) => tracing::warn!("cannot attest the boot profile: {}", problem.detail),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests;

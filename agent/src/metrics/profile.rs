//! The boot profile: each item of its attestation, as the last look found it.

use axion_core::profile::{Attestation, ItemState};

use super::{Text, float, label};
use crate::drift::Checked;

/// Every state, with its word in the API.
const STATES: [(ItemState, &str); 4] = [
    (ItemState::Ok, "ok"),
    (ItemState::Drifted, "drifted"),
    (ItemState::NeedsReboot, "needs-reboot"),
    (ItemState::Impossible, "impossible"),
];

pub(super) fn profile(text: &mut Text, checked: &Checked) {
    let Checked {
        unix_us,
        attestation: Attestation { items, .. },
    } = checked;
    text.metric(
        "profile_checked_timestamp_seconds",
        "gauge",
        "When the boot profile was last compared with the node.",
        [(String::new(), float(*unix_us) / 1e6)],
    );
    text.metric(
        "profile_items",
        "gauge",
        "Items of the boot profile in each state.",
        STATES.map(|(state, word)| {
            let count = items.iter().filter(|item| item.state == state).count();
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            (label("state", word), float(count))
        }),
    );
    text.metric(
        "profile_item_state",
        "gauge",
        "1 for the state that the item of the boot profile is in.",
        items.iter().flat_map(|item| {
            STATES.map(|(state, word)| {
                let labels = format!("{},{}", label("item", &item.key), label("state", word));
                (labels, f64::from(u8::from(item.state == state)))
            })
        }),
    );
}

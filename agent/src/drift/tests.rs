use super::*;

fn attestation(items: &[(&str, ItemState)]) -> Attestation {
    let item = |(key, state): &(&str, ItemState)| Item {
        key: (*key).to_owned(),
        desired: "as planned".to_owned(),
        effective: "as it is".to_owned(),
        state: *state,
        fix: None,
    };
    let items: Vec<Item> = items.iter().map(item).collect();
    Attestation {
        state: items.iter().map(|item| item.state).max().unwrap_or(ItemState::Ok),
        items,
    }
}

#[tokio::test]
async fn only_what_changed_is_an_event() {
    let (events, drift) = (Events::new(), Drift::default());
    let mut cursor = events.subscribe(None);
    let right = attestation(&[("cpu.irqs", ItemState::Ok), ("memory.thp", ItemState::Ok)]);
    let wrong = attestation(&[("cpu.irqs", ItemState::Ok), ("memory.thp", ItemState::Drifted)]);
    for look in [&right, &wrong, &wrong, &right, &right] {
        drift.notice(look, &events);
    }
    drift.notice(&attestation(&[("cpu.irqs", ItemState::NeedsReboot)]), &events);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        if let What::Profile { state, items } = events.next(&mut cursor).await.unwrap().what {
            let keys: Vec<String> = items.into_iter().map(|item| item.key).collect();
            seen.push((state, keys.join(" ")));
        }
    }
    assert_eq!(
        seen,
        [
            (ItemState::Drifted, "memory.thp".to_owned()),
            (ItemState::Ok, String::new()),
            (ItemState::NeedsReboot, "cpu.irqs".to_owned()),
        ]
    );
}

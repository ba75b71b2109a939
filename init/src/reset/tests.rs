use super::*;

fn dataset(name: &str, size: Option<u64>) -> Dataset {
    let value = serde_json::json!({
        "name": name, "kind": if size.is_some() { "volume" } else { "filesystem" }, "used": 3 << 20, "available": 0,
        "referenced": 0, "compress_ratio": "1.00", "compression": "lz4", "block_size": 0, "volume_size": size,
        "created_unix_s": 0, "system": true, "encryption": "aes-256-gcm",
    });
    serde_json::from_value(value).unwrap()
}

fn pool(name: &str, guid: &str) -> Pool {
    let value = serde_json::json!({
        "name": name, "guid": guid, "state": "online", "size": 0, "allocated": 5_u64 << 30, "free": 0, "data_errors": 0,
        "vdevs": [], "holds_state": false, "read_only": false, "ashift": 12, "autotrim": false, "fragmentation": 0,
    });
    serde_json::from_value(value).unwrap()
}

fn facts() -> Facts {
    Facts {
        hostname: "rack7".to_owned(),
        installed: true,
        sources: vec!["https://h/c".to_owned()],
        state: Some((
            "tank".to_owned(),
            vec![
                dataset("tank/axion", None),
                dataset("tank/axion/state", None),
                dataset("tank/axion/volumes", None),
                dataset("tank/axion/zvols/web", Some(20 << 30)),
            ],
        )),
        pools: vec![pool("tank", "1"), pool("data", "2")],
        others: 2,
    }
}

#[test]
fn a_plan_names_what_is_lost_and_what_stays() {
    let plan = plan(&facts(), ResetScope::State, false).unwrap();
    assert_eq!(plan.hostname, "rack7");
    let (lost, kept) = (plan.lost.join("\n"), plan.kept.join("\n"));
    for lost_one in [
        "certificate",
        "recovery passphrase",
        "disk `web` of VMs, 20",
        "that are files",
    ] {
        assert!(lost.contains(lost_one), "{lost_one}: {lost}");
    }
    for kept_one in [
        "machine config on the installed disk",
        "the pool `tank`",
        "the pool `data`",
        "2 datasets",
        "both slots",
    ] {
        assert!(kept.contains(kept_one), "{kept_one}: {kept}");
    }
    assert!(!lost.contains("the pool `data`"), "{lost}");
}

#[test]
fn pools_are_lost_only_where_that_is_said() {
    let all = plan(&facts(), ResetScope::All, true).unwrap();
    let lost = all.lost.join("\n");
    for pool in ["the pool `tank`", "the pool `data`", "machine config"] {
        assert!(lost.contains(pool), "{lost}");
    }
    let (order, place) = order(&facts(), &all);
    assert_eq!(
        place, None,
        "the config is on the installed disk, and so is the order"
    );
    assert!(order.config);
    assert_eq!(order.pools, ["data", "tank"], "the one with the state last");
    let ids: Vec<_> = order
        .guids
        .iter()
        .map(|(name, id)| (name.as_str(), id.as_str()))
        .collect();
    assert_eq!(ids, [("data", "2"), ("tank", "1")]);
}

#[test]
fn an_order_is_where_it_can_be_carried_out() {
    let of = |scope, pools| order(&facts(), &plan(&facts(), scope, pools).unwrap());
    let (state, place) = of(ResetScope::State, false);
    assert_eq!(
        (state.state.as_deref(), place.as_deref()),
        (Some("tank"), Some("tank"))
    );
    assert!(!state.config && state.pools.is_empty());
    assert_eq!(state.guids.keys().collect::<Vec<_>>(), ["tank"]);
    let (config, place) = of(ResetScope::Config, false);
    assert_eq!((config.config, config.state, place), (true, None, None));
    let (both, place) = of(ResetScope::All, false);
    assert_eq!((both.state.as_deref(), place), (Some("tank"), None));
}

#[test]
fn what_cannot_be_reset_is_refused_with_the_reason() {
    let refused = |facts: &Facts, scope, pools| plan(facts, scope, pools).unwrap_err();
    let diskless = Facts {
        installed: false,
        ..facts()
    };
    let problem = refused(&diskless, ResetScope::All, false);
    assert_eq!(problem.status, 409);
    assert!(
        problem.detail.contains("it comes from https://h/c"),
        "{}",
        problem.detail
    );
    assert!(plan(&diskless, ResetScope::State, false).is_ok());
    let stateless = Facts {
        state: None,
        ..facts()
    };
    assert!(
        refused(&stateless, ResetScope::State, false)
            .detail
            .contains("no pool keeps")
    );
    assert!(
        plan(&stateless, ResetScope::All, false).is_ok(),
        "its config is there"
    );
    assert_eq!(refused(&stateless, ResetScope::All, true).status, 409);
    let problem = refused(&facts(), ResetScope::Config, true);
    assert_eq!(
        (problem.status, problem.pointer.as_deref()),
        (422, Some("/pools"))
    );
}

#[tokio::test]
async fn nothing_is_ordered_without_the_host_name() {
    let (node, mut wishes, _guard) = crate::node::for_tests().await;
    lock(&node.status).hostname = "rack7".to_owned();
    let request = ResetRequest {
        scope: ResetScope::State,
        pools: false,
        confirm: "rack7".to_owned(),
    };
    assert_eq!(
        reset(&node, request).await.unwrap_err().status,
        409,
        "it keeps nothing"
    );
    assert!(wishes.try_recv().is_err());
}

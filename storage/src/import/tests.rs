use axion_core::config::check;

use super::*;

const US: u32 = 0xaaaa_0001;

fn label(pool: &str, guid: u64, txg: u64, state: u64, hostid: u32) -> Label {
    Label {
        pool: pool.to_owned(),
        pool_guid: guid,
        guid: 1,
        txg,
        state,
        hostid,
        hostname: "n7".to_owned(),
    }
}

fn found(pool: &str, guid: u64, state: u64, hostid: u32) -> Found {
    Found {
        label: label(pool, guid, 1, state, hostid),
        nodes: vec!["sda1".to_owned()],
    }
}

fn storage(text: &str) -> Storage {
    check(text, "test").unwrap().storage
}

fn outcome(verdicts: &[Verdict]) -> Vec<String> {
    let say = |verdict: &Verdict| match verdict {
        Verdict::Import { pool, force } => format!("import {} force={force}", pool.label.pool),
        Verdict::Leave { reason, wanted, .. } => format!("leave wanted={wanted}: {reason}"),
    };
    verdicts.iter().map(say).collect()
}

#[test]
fn labels_are_put_together_by_pool_and_the_newest_counts() {
    let pools = gather(&[
        ("sda1".to_owned(), label("tank", 5, 10, 0, US)),
        ("sdb1".to_owned(), label("tank", 5, 12, 1, US)),
        ("sdc".to_owned(), label("other", 6, 1, 0, 9)),
        ("sdd".to_owned(), label("gone", 7, 1, 2, 9)),
    ]);
    assert_eq!(pools.len(), 2);
    assert_eq!(
        (pools[0].label.txg, pools[0].nodes.join(" ")),
        (12, "sda1 sdb1".to_owned())
    );
    assert_eq!(
        pools[0].arguments("/run/axion/pools", true).join(" "),
        "import -N -R /run/axion/pools -f -d /dev/sda1 -d /dev/sdb1 5"
    );
    let view = pools[1].view(US);
    assert_eq!(
        (view.exported, view.foreign_host.as_deref()),
        (false, Some("n7 (00000009)"))
    );
    assert_eq!(view.devices, ["/dev/sdc"]);
}

#[test]
fn what_was_ours_or_was_given_back_is_imported() {
    let storage = storage("");
    for pool in [
        found("tank", 5, 0, US),
        found("tank", 5, 1, 9),
        found("tank", 5, 0, 0),
    ] {
        assert_eq!(
            outcome(&decide(&[pool], &storage, US)),
            ["import tank force=false"]
        );
    }
}

#[test]
fn what_another_host_has_is_refused_unless_it_is_taken_over() {
    let declared = "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:a\"]\n";
    let reason = "pool `tank` was last used by host n7 (00000009), which did not export it; if that host is down for good, \
                  import it with `take_over = true`, or export it there";
    let foreign = [found("tank", 5, 0, 9)];
    assert_eq!(
        outcome(&decide(&foreign, &storage(""), US)),
        [format!("leave wanted=false: {reason}")]
    );
    assert_eq!(
        outcome(&decide(&foreign, &storage(declared), US)),
        [format!("leave wanted=true: {reason}")]
    );
    let forced = storage(&format!("{declared}take_over = true\n"));
    assert_eq!(
        outcome(&decide(&foreign, &forced, US)),
        ["import tank force=true"]
    );
}

#[test]
fn two_of_one_name_and_what_nobody_declared_are_left_alone() {
    let twins = [found("tank", 5, 1, US), found("tank", 6, 1, US)];
    let said = outcome(&decide(&twins, &storage(""), US));
    assert_eq!(
        said[0],
        "leave wanted=false: 2 pools are called `tank`; import one of them by its id, as 5"
    );
    let declared = storage("storage.import = \"declared\"\n");
    assert_eq!(
        outcome(&decide(&[found("tank", 5, 1, US)], &declared, US)),
        ["leave wanted=false: pool `tank` is not in `storage.pools`, and `storage.import` is `declared`"]
    );
}

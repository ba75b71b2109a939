use super::*;
use crate::fixture::nvme;
use crate::label::Label;

fn empty(name: &str, serial: &str) -> Candidate {
    Candidate {
        disk: nvme(name, serial),
        contents: Contents::default(),
        is_part: false,
    }
}

/// What an installation on the disk `disk` leaves for ZFS.
fn part(disk: &str) -> Candidate {
    let part = Disk {
        name: format!("{disk}p3"),
        serial: None,
        wwid: None,
        ..nvme(disk, "")
    };
    Candidate {
        disk: part,
        contents: Contents::default(),
        is_part: true,
    }
}

#[test]
fn what_an_installation_leaves_is_a_disk_called_system() {
    let one = [with("nvme0n1", "a", "partition table (GPT)"), part("nvme0n1")];
    let plan = |spec: &PoolSpec, there: &[Candidate]| plan("tank", spec, there, "");
    let stripe = plan(&spec(PoolLayout::Stripe, &["system"]), &one).unwrap();
    let [disk] = stripe.disks.as_slice() else {
        panic!("{stripe:?}")
    };
    // No table is put into a partition.
    assert_eq!(
        (disk.disk.name.as_str(), disk.is_part, disk.length),
        ("nvme0n1p3", true, 10 << 30)
    );

    // It stands for that of each system disk.
    let mirror = spec(PoolLayout::Mirror, &["system"]);
    let two = [part("nvme0n1"), part("nvme1n1")];
    assert_eq!(plan(&mirror, &two).unwrap().disks.len(), 2);
    let refused = plan(&mirror, &one).unwrap_err().to_string();
    assert!(
        refused.contains("1 given; a mirror takes at least 2"),
        "{refused}"
    );
    let refused = plan(&mirror, &one[..1]).unwrap_err().to_string();
    assert!(
        refused.contains("was not started from an installed disk"),
        "{refused}"
    );

    // The free one takes the place of a device.
    let mut two = two;
    two[0].contents.user = Some("nvme0n1p3 is in the pool tank".to_owned());
    let choice = DiskChoice::System;
    assert_eq!(
        replacement("tank", &choice, false, &two).unwrap().disk.name,
        "nvme1n1p3"
    );
}

fn with(name: &str, serial: &str, what: &str) -> Candidate {
    let mut candidate = empty(name, serial);
    candidate.contents.found.push(format!("{what} on {name}"));
    candidate
}

fn of_pool(name: &str, serial: &str, pool: &str, state: u64) -> Candidate {
    let mut candidate = empty(name, serial);
    let label = Label {
        pool: pool.to_owned(),
        pool_guid: 77,
        state,
        ..Label::default()
    };
    candidate.contents.labels.push((format!("{name}p1"), label));
    candidate
}

fn spec(layout: PoolLayout, disks: &[&str]) -> PoolSpec {
    PoolSpec {
        layout,
        disks: disks.iter().map(|disk| disk.parse().unwrap()).collect(),
        erase: Vec::new(),
        ashift: None,
        compression: Default::default(),
    }
}

fn refused(spec: &PoolSpec, candidates: &[Candidate]) -> String {
    plan("tank", spec, candidates, "storage.pools[0].")
        .unwrap_err()
        .to_string()
}

#[test]
fn a_mirror_of_empty_disks() {
    let mut large = empty("nvme1n1", "b");
    large.disk.size = 11 << 30;
    let plan = plan(
        "tank",
        &spec(PoolLayout::Mirror, &["serial:a", "wwid:nvme.b"]),
        &[empty("nvme0n1", "a"), large, empty("nvme2n1", "c")],
        "",
    )
    .unwrap();
    let names: Vec<_> = plan
        .disks
        .iter()
        .map(|disk| (disk.disk.name.as_str(), disk.length))
        .collect();
    // Both as large as the smaller one, less a MiB at each end.
    assert_eq!(
        names,
        [
            ("nvme0n1", (10 << 30) - (2 << 20)),
            ("nvme1n1", (10 << 30) - (2 << 20))
        ]
    );
    let nodes = ["/dev/nvme0n1p1".to_owned(), "/dev/nvme1n1p1".to_owned()];
    assert_eq!(
        plan.arguments("/run/axion/pools", &nodes).join(" "),
        "create -R /run/axion/pools -o ashift=12 -o autotrim=on -O compression=lz4 -O atime=off -O xattr=sa \
         -O acltype=posix -O dnodesize=auto -O canmount=off -O mountpoint=/tank tank mirror /dev/nvme0n1p1 /dev/nvme1n1p1"
    );
}

#[test]
fn a_stripe_has_no_word_and_each_disk_its_size() {
    let mut large = empty("nvme1n1", "b");
    large.disk.size = 11 << 30;
    let spec = spec(PoolLayout::Stripe, &["serial:a", "serial:b"]);
    let plan = plan("tank", &spec, &[empty("nvme0n1", "a"), large], "").unwrap();
    assert_eq!(plan.disks[1].length, (11 << 30) - (2 << 20));
    let arguments = plan.arguments("/r", &["/dev/x".to_owned(), "/dev/y".to_owned()]);
    assert!(arguments.ends_with(&["tank".to_owned(), "/dev/x".to_owned(), "/dev/y".to_owned()]));
}

#[test]
fn every_refusal_says_why_and_what_is_allowed() {
    let one = |disk: &str| spec(PoolLayout::Stripe, &[disk]);
    let changed = |change: fn(&mut Candidate)| {
        let mut candidate = empty("nvme0n1", "a");
        change(&mut candidate);
        candidate
    };
    let table = [
        (
            one("serial:x"),
            vec![empty("nvme0n1", "a"), with("sda", "b", "XFS")],
            "`storage.pools[0].disks[0]`: no disk is `serial:x`; possible: \"serial:a\", which are empty",
        ),
        (
            one("serial:x"),
            vec![],
            "`storage.pools[0].disks[0]`: no disk is `serial:x`",
        ),
        (
            one("serial:a"),
            vec![empty("sda", "a"), empty("sdb", "a")],
            "`storage.pools[0].disks[0]`: 2 disks are `serial:a`: sda, sdb; possible: \"wwid:nvme.a\", \"wwid:nvme.a\"",
        ),
        (
            one("serial:a"),
            vec![with("nvme0n1", "a", "XFS")],
            "`storage.pools[0].disks[0]`: nvme0n1 is not empty: XFS on nvme0n1; possible: erase = [\"serial:a\"], which \
             destroys it",
        ),
        (
            one("serial:a"),
            vec![of_pool("nvme0n1", "a", "old", 0)],
            "`storage.pools[0].disks[0]`: nvme0n1 is not empty: pool old on nvme0n1p1; possible: erase = [\"serial:a\"], \
             which destroys it",
        ),
        (
            one("serial:a"),
            vec![changed(|c| c.disk.read_only = true)],
            "`storage.pools[0].disks[0]`: nvme0n1 is write-protected",
        ),
        (
            one("serial:a"),
            vec![changed(|c| c.disk.size = 100 << 20)],
            "`storage.pools[0].disks[0]`: nvme0n1 has 100MiB; 256MiB are needed",
        ),
        (
            one("serial:a"),
            vec![changed(|c| c.disk.logical_sector = 520)],
            "`storage.pools[0].disks[0]`: nvme0n1 has sectors of 520 bytes; 512 and 4096 are known",
        ),
        (
            one("serial:a"),
            vec![changed(|c| {
                c.contents.user = Some("nvme0n1p1 is mounted at /boot".to_owned())
            })],
            "`storage.pools[0].disks[0]`: nvme0n1 is in use: nvme0n1p1 is mounted at /boot",
        ),
        (
            spec(PoolLayout::Mirror, &["serial:a", "wwid:nvme.a"]),
            vec![empty("nvme0n1", "a")],
            "`storage.pools[0].disks[1]`: `wwid:nvme.a` and `serial:a` are the same disk, nvme0n1",
        ),
        (
            spec(PoolLayout::Raidz2, &["serial:a"]),
            vec![empty("nvme0n1", "a")],
            "`storage.pools[0].disks`: 1 given; a raidz2 takes at least 3",
        ),
    ];
    for (spec, candidates, message) in table {
        assert_eq!(refused(&spec, &candidates), message);
    }
}

#[test]
fn all_disks_that_are_unfit_are_named_at_once() {
    let spec = spec(PoolLayout::Mirror, &["serial:a", "serial:x"]);
    let message = refused(&spec, &[with("nvme0n1", "a", "swap")]);
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn a_disk_that_is_named_in_erase_is_taken_but_never_this_very_pool() {
    let mut spec = spec(PoolLayout::Stripe, &["serial:a"]);
    spec.erase = spec.disks.clone();
    let planned = plan("tank", &spec, &[of_pool("nvme0n1", "a", "old", 0)], "").unwrap();
    assert_eq!(planned.disks[0].lost, ["pool old on nvme0n1p1"]);
    assert!(plan("tank", &spec, &[of_pool("nvme0n1", "a", "tank", 2)], "").is_ok());
    for state in [0, 1] {
        let message = refused(&spec, &[of_pool("nvme0n1", "a", "tank", state)]);
        assert_eq!(
            message,
            "`storage.pools[0].disks[0]`: nvme0n1p1 is of a pool `tank` already (id 77), which is imported and never \
             overwritten; destroy that pool, or choose another name"
        );
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_never_taken() {
    let mut spec = spec(PoolLayout::Stripe, &["serial:a"]);
    spec.erase = spec.disks.clone();
    let mut broken = empty("nvme0n1", "a");
    broken.contents.found = vec!["nvme0n1p1 cannot be read: Input/output error".to_owned()];
    broken.contents.unreadable = true;
    assert_eq!(
        refused(&spec, &[broken.clone()]),
        "`storage.pools[0].disks[0]`: nobody knows what is on nvme0n1, and `erase` does not help: nvme0n1p1 cannot be read: \
         Input/output error; choose another disk"
    );
    let choice: DiskChoice = "serial:a".parse().unwrap();
    assert!(replacement("tank", &choice, true, &[broken]).is_err());
}

#[test]
fn a_replacement_is_judged_the_same_way() {
    let choice: DiskChoice = "serial:a".parse().unwrap();
    let disks = [with("nvme0n1", "a", "XFS")];
    let message = replacement("tank", &choice, false, &disks)
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "`disk`: nvme0n1 is not empty: XFS on nvme0n1; possible: erase = true, which destroys it"
    );
    assert!(replacement("tank", &choice, true, &disks).is_ok());
}

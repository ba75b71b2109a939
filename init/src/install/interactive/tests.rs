use axion_api::install::Answers;
use axion_core::topology;
use axion_install::select::Contents;
use axion_install::table::Partition;

use super::*;

fn disk(name: &str) -> Candidate {
    Candidate {
        disk: topology::Disk {
            name: name.to_owned(),
            serial: Some(format!("S-{name}")),
            size: 100 << 30,
            logical_sector: 512,
            ..topology::Disk::default()
        },
        contents: Contents::default(),
        mounted: Vec::new(),
        boot: false,
    }
}

fn answers(disk: &str) -> Answers {
    Answers {
        disk: disk.to_owned(),
        ..Answers::default()
    }
}

fn partition(name: &str) -> Partition {
    Partition {
        number: 1,
        name: name.to_owned(),
        kind: axion_install::table::Kind::Other,
        start: 1 << 20,
        length: 1 << 30,
        guid: 2,
    }
}

#[test]
fn a_disk_is_chosen_by_an_id_that_one_disk_has() {
    let disks = [disk("none-such-a"), disk("none-such-b"), disk("none-such-b")];
    let refused = |id: &str| chosen(&disks, &answers(id)).unwrap_err();
    assert!(refused("sda").message.contains("`serial:`"));
    assert!(refused("serial:other").message.contains("any more"));
    assert!(refused("serial:S-none-such-b").message.contains("2 disks"));
    // It is the one, and the node has no such device.
    let used = refused("serial:S-none-such-a");
    assert!(used.message.contains("this node uses it"), "{used:?}");
}

#[test]
fn what_the_node_was_started_from_is_not_offered() {
    let medium = Candidate {
        contents: Contents {
            medium: true,
            ..Contents::default()
        },
        ..disk("a")
    };
    let config = Candidate {
        boot: true,
        ..disk("a")
    };
    assert!(is_boot_medium(&medium) && is_boot_medium(&config));
    assert!(!is_boot_medium(&disk("a")));
}

#[test]
fn a_pool_elsewhere_is_given_up_or_in_the_way() {
    let mut pool = disk("none-such");
    pool.contents.partitions = vec![partition("tank")];
    pool.contents.pools = vec![1];
    let disks = [pool];
    let mut wish = answers("serial:S-none-such");
    assert_eq!(chosen(&disks, &wish).unwrap_err().field, Field::Pool);
    wish.pool = PoolChoice::Destroy;
    assert_eq!(chosen(&disks, &wish).unwrap_err().field, Field::Disk);
    let offered = offered(&disks[0]);
    assert!(offered.has_pool && !offered.keeps_pool, "{offered:?}");
}

#[test]
fn the_word_changes_with_all_that_is_written() {
    let words = |disk: &Candidate, answers: &Answers, config: &str| {
        in_words(&[(disk.clone(), answers.pool)], answers, &pool_on(&[]), config)
    };
    let first = words(&disk("a"), &answers("serial:S-a"), "hostname = \"a\"\n");
    assert_eq!(
        first,
        words(&disk("a"), &answers("serial:S-a"), "hostname = \"a\"\n")
    );
    let mut hpc = answers("serial:S-a");
    hpc.node.profile = axion_core::config::ProfileMode::Hpc;
    for other in [
        words(&disk("b"), &answers("serial:S-a"), "hostname = \"a\"\n"),
        words(&disk("a"), &hpc, "hostname = \"a\"\n"),
        words(&disk("a"), &answers("serial:S-a"), "hostname = \"b\"\n"),
    ] {
        assert_ne!(first.token, other.token);
    }
    assert!(
        first.text.contains("DHCP on every interface with a link")
            && first.text.contains("on this disk, in the ZFS pool `system`"),
        "{}",
        first.text
    );
}

#[test]
fn one_installation_at_a_time_and_its_end_waits() {
    let installer = Installer::default();
    assert!(installer.begin());
    assert!(!installer.begin());
    installer.dismiss();
    assert!(!installer.begin());
    installer.tell(Some(Progress::Done("a".to_owned())));
    installer.dismiss();
    assert_eq!(*lock(&installer.progress), None);
    assert!(installer.begin());
}

#[test]
fn a_profile_that_the_machine_cannot_have_is_told_at_its_field() {
    let machine = Machine {
        documents: vec![Document {
            source: Source::CommandLine("inline".to_owned()),
            text: "[install.disk]\nserial = \"x\"\n[profile.cpu]\nhousekeeping = \"5000\"\n".to_owned(),
        }],
        effective: resolve(&[]),
        started_again: false,
    };
    let wrong = machine
        .config(&NodeAnswers::default(), &pool_on(&[]))
        .unwrap_err();
    assert_eq!(wrong.field, Field::Profile);
    let off = NodeAnswers {
        profile: axion_core::config::ProfileMode::Off,
        ..NodeAnswers::default()
    };
    let config = machine.config(&off, &pool_on(&[])).unwrap();
    assert!(!config.contains("install"), "{config}");
}

#[tokio::test]
async fn a_node_that_was_started_from_its_disk_offers_nothing() {
    let (power, _wishes) = tokio::sync::mpsc::unbounded_channel();
    let _guard = crate::node::REAPER.lock().await;
    let cmdline = axion_core::cmdline::CommandLine::parse("axion.slot=a");
    let handover = crate::handover::Handover::default();
    let node = Arc::new(Node::new(crate::log::Log::open(), cmdline, handover, power).unwrap());
    let ask = async |call: Call| {
        let answer = serve(&node, 0, &serde_json::to_string(&call).unwrap()).await;
        serde_json::from_str::<Answer>(&answer).unwrap()
    };
    assert_eq!(ask(Call::Status).await, Answer::Status(Status::default()));
    for call in [Call::Offer, Call::Perform(Box::default(), "bcdf".to_owned())] {
        assert!(matches!(ask(call).await, Answer::Failed(_)));
    }
    assert!(serve(&node, 0, "nonsense").await.contains("not a call"));
    let agent = serve(&node, paths::UID_AGENT, "\"status\"").await;
    assert!(agent.contains("only the console"), "{agent}");
}

#[tokio::test]
async fn a_wrong_word_writes_nothing_and_frees_the_installer() {
    let (node, _wishes, _guard) = crate::node::for_tests().await;
    let _ = node.config.set(resolve(&[]));
    let machine = Machine {
        documents: Vec::new(),
        effective: resolve(&[]),
        started_again: false,
    };
    let answer = perform(&node, &machine, &answers("serial:none"), "bcdf");
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    assert_eq!(status(&node).progress, None);
}

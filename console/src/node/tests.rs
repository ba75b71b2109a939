//! What an operator is told about a node.

#[path = "../../examples/fake_node/sample.rs"]
pub mod sample;

use sample::Sample;

use super::*;

pub fn item(key: &str, desired: &str, effective: &str, state: ItemState, fix: Option<&str>) -> Item {
    Item {
        key: key.to_owned(),
        desired: desired.to_owned(),
        effective: effective.to_owned(),
        state,
        fix: fix.map(str::to_owned),
    }
}

/// A profile that two items left.
pub fn drifted() -> Profile {
    let mut profile = hpc();
    profile.state = ItemState::NeedsReboot;
    let wrong = [
        item(
            "hugepages.1GiB",
            "0:16,1:16",
            "0:16,1:12 (28 free)",
            ItemState::NeedsReboot,
            Some("reboot: node 1 has too little memory in one piece for pages of 1GiB"),
        ),
        item(
            "sysctl.kernel.printk",
            "7 4 1 7",
            "9 4 1 7",
            ItemState::Drifted,
            Some("write /proc/sys/kernel/printk"),
        ),
    ];
    profile.items.splice(0..0, wrong);
    profile
}

/// A profile that is in force.
fn hpc() -> Profile {
    Profile {
        standing: Standing::Planned,
        mode: ProfileMode::Hpc,
        isolated: "1-3".parse().unwrap(),
        state: ItemState::Ok,
        items: vec![
            item("cmdline.isolcpus", "1-3", "1-3", ItemState::Ok, None),
            item("cpu.irqs", "on 0", "38 there", ItemState::Ok, None),
        ],
        proof: Some(Proved::Quiet),
    }
}

/// The snapshot that a look at a pretended node gives, at noon.
pub fn snapshot(sample: Sample) -> Snapshot {
    let rejected = sample.rejected.iter();
    Snapshot {
        uptime_minutes: 192,
        now_minutes: sample::NOON / 60_000_000,
        load: Load {
            cpu_percent: Some(12),
            cpus: 4,
            memory_mib: 6144,
            used_mib: 1300,
        },
        init: Ok(InitFacts {
            node: sample.node,
            boot: sample.boot,
            units: sample.units,
        }),
        vms: Ok(sample.vms),
        recovery: None,
        pools: None,
        locked: Vec::new(),
        profile: Some(hpc()),
        install: axion_api::install::Status::default(),
        local: Local {
            fingerprint: Some(sample::FINGERPRINT.to_owned()),
            first_token: sample.first_token,
            listen: Some("0.0.0.0:8443".parse().unwrap()),
            rejected: rejected
                .map(|(line, why)| {
                    format!("axion.config= on the kernel command line (inline) line {line}: {why}")
                })
                .collect(),
            ignored: Vec::new(),
        },
    }
}

#[test]
fn a_node_is_ready_booting_degraded_or_silent() {
    assert_eq!(snapshot(sample::ready()).condition(), Condition::Ready);
    assert_eq!(snapshot(sample::booting()).condition(), Condition::Booting);
    assert_eq!(snapshot(sample::degraded()).condition(), Condition::Degraded);
    assert_eq!(Snapshot::default().condition(), Condition::Unknown);
}

#[test]
fn problems_are_said_in_words() {
    assert!(snapshot(sample::ready()).problems().is_empty());
    assert_eq!(
        snapshot(sample::degraded()).problems(),
        [
            "Service agent exited with status 1 and is about to be started again",
            "Boot task nvme_tcp failed: module nvme_tcp is not in this image",
            "Machine config refused: axion.config= on the kernel command line (inline) line 3: unknown field \
             `network.dsn`, expected one of `dns`, `search`, `interfaces`",
            "VM db failed: killed by SIGKILL",
        ]
    );
}

#[test]
fn a_silent_agent_is_a_problem_only_when_nothing_explains_it() {
    let silent = || Err("connection refused".to_owned());
    let booting = Snapshot {
        vms: silent(),
        ..snapshot(sample::booting())
    };
    assert!(booting.problems().is_empty());
    let degraded = Snapshot {
        vms: silent(),
        ..snapshot(sample::degraded())
    };
    assert!(
        !degraded
            .problems()
            .iter()
            .any(|problem| problem.starts_with("The agent"))
    );
    let ready = Snapshot {
        vms: silent(),
        ..snapshot(sample::ready())
    };
    assert_eq!(
        ready.problems(),
        ["The agent does not answer (connection refused). Running VMs go on. This console keeps trying."]
    );
    assert_eq!(ready.condition(), Condition::Degraded);
    assert_eq!(ready.running_vms(), ["hello"]);
}

#[test]
fn addresses_are_found_in_words_for_people() {
    let found = |detail| addresses_in(detail).map(|ip| ip.to_string()).collect::<Vec<_>>();
    assert_eq!(found("10.0.2.15/24 by DHCP"), ["10.0.2.15"]);
    assert_eq!(
        found("10.0.0.2/24, 2001:db8::2/64, no link"),
        ["10.0.0.2", "2001:db8::2"]
    );
    assert!(found("fe80::1/64, 169.254.3.4/16, no link, asking/waiting").is_empty());
}

#[test]
fn the_api_is_where_the_config_says() {
    let mut node = snapshot(sample::ready());
    assert_eq!(node.api_urls(), ["https://10.0.2.15:8443"]);
    node.local.listen = Some("[2001:db8::7]:443".parse().unwrap());
    assert_eq!(node.api_urls(), ["https://[2001:db8::7]:443"]);
    node.local.listen = None;
    node.init = Err("its socket is not there yet".to_owned());
    assert!(node.api_urls().is_empty());
}

#[test]
fn a_profile_is_said_in_words() {
    let said = |profile: &Profile| (profile.division(), profile.trouble().unwrap_or_default());
    let words = |division: &str, trouble: &str| (division.to_owned(), trouble.to_owned());
    assert_eq!(said(&hpc()), words("hpc, CPUs 1-3 for VMs", ""));
    let one = Profile {
        state: ItemState::Drifted,
        items: vec![item("cpu.irqs", "on 0", "astray: 12", ItemState::Drifted, None)],
        ..hpc()
    };
    assert_eq!(said(&one), words("hpc, CPUs 1-3 for VMs", "1 item: drifted"));
    let undivided = Profile {
        mode: ProfileMode::Balanced,
        isolated: CpuSet::default(),
        state: ItemState::NeedsReboot,
        items: vec![
            item("cmdline.a", "1", "0", ItemState::NeedsReboot, None),
            item("cmdline.b", "1", "0", ItemState::NeedsReboot, None),
            item("cpu.irqs", "on 0", "astray: 12", ItemState::Drifted, None),
        ],
        ..hpc()
    };
    assert_eq!(
        said(&undivided),
        words("balanced, no CPU set apart", "2 items: needs reboot")
    );
    let refused = Profile {
        standing: Standing::Refused,
        ..hpc()
    };
    assert_eq!(
        said(&refused),
        words("not put in force", "refused, see axctl profile show")
    );
    let off = Profile {
        standing: Standing::Off,
        ..hpc()
    };
    assert_eq!(said(&off), words("off", ""));
}

#[test]
fn a_proof_counts_where_quiet_was_promised() {
    use axion_core::proof::CpuProof;
    let proof = |mode, missed: &[&str]| Proof {
        started_unix_us: 0,
        window_ms: 10_000,
        mode,
        cpus: vec![CpuProof {
            cpu: 3,
            missed: missed.iter().map(|why| (*why).to_owned()).collect(),
            ..CpuProof::default()
        }],
        host_interrupts: Vec::new(),
        skipped: Vec::new(),
        notes: Vec::new(),
    };
    assert_eq!(Proved::of(&proof(ProfileMode::Hpc, &[])), Some(Proved::Quiet));
    let disturbed = Proved::Disturbed("3".parse().unwrap());
    assert_eq!(Proved::of(&proof(ProfileMode::Hpc, &["ticks"])), Some(disturbed));
    assert_eq!(Proved::of(&proof(ProfileMode::Balanced, &["ticks"])), None);
    let nothing = Proof {
        cpus: Vec::new(),
        ..proof(ProfileMode::Hpc, &[])
    };
    assert_eq!(Proved::of(&nothing), None);
}

#[test]
fn what_leaves_the_profile_after_the_boot_is_a_problem_until_it_is_mended() {
    let mut node = snapshot(sample::ready());
    assert_eq!(node.condition(), Condition::Ready);
    node.profile = Some(drifted());
    assert_eq!(node.condition(), Condition::Degraded);
    assert_eq!(
        node.problems(),
        ["Boot profile needs reboot: hugepages.1GiB, sysctl.kernel.printk. Page 6 says what mends it."]
    );
    // What the boot found is old once the agent has looked.
    let facts = node.init.as_mut().unwrap();
    let phase = facts.boot.phases.last_mut().unwrap();
    phase.outcome = Outcome::Degraded;
    phase.tasks.push(axion_api::init::Task {
        name: "attestation".to_owned(),
        essential: false,
        duration_us: 1,
        error: Some("sysctl.kernel.printk drifted".to_owned()),
    });
    assert_eq!(node.problems().len(), 1);
    node.profile = Some(hpc());
    assert_eq!(node.condition(), Condition::Ready);
    node.profile = None;
    assert_eq!(node.condition(), Condition::Degraded);
}

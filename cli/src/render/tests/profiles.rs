//! The boot profile.

use super::*;

fn four_cpus() -> Topology {
    let cpu = |id| Cpu {
        id,
        online: true,
        siblings: CpuSet::from_iter([id]),
        ..Cpu::default()
    };
    topology((0..4).map(cpu).collect())
}

fn declared(toml: &str) -> Declaration {
    Declaration::new(&check(toml, "test").unwrap())
}

fn item(key: &str, desired: &str, effective: &str, state: ItemState, fix: Option<&str>) -> Item {
    Item {
        key: key.to_owned(),
        desired: desired.to_owned(),
        effective: effective.to_owned(),
        state,
        fix: fix.map(str::to_owned),
    }
}

#[test]
fn a_boot_profile() {
    let plan = boot_profile::plan(&four_cpus(), &declared("profile.mode = \"hpc\"")).unwrap();
    let attestation = Attestation {
        state: ItemState::NeedsReboot,
        items: vec![
            item("cmdline.isolcpus", "1-3", "1-3", ItemState::Ok, None),
            item(
                "hugepages.1GiB",
                "0:16,1:16",
                "0:16,1:12 (28 free)",
                ItemState::NeedsReboot,
                Some("reboot: node 1 has too little memory in one piece for pages of 1GiB"),
            ),
            item(
                "cpu.irqs",
                "on 0",
                "38 there; managed or immovable elsewhere: 24-31 and 9 more; astray: 12",
                ItemState::Drifted,
                Some("write /proc/irq/N/smp_affinity_list of 12"),
            ),
        ],
    };
    let host = HostProfile {
        standing: Standing::Planned,
        plan: plan.clone(),
        refusals: Vec::new(),
        attestation: attestation.clone(),
    };
    assert_screen(
        &profile::show(&host, &SCREEN),
        r#"
Profile        hpc, needs reboot
Host CPUs      0
Workload CPUs  1-3

ITEM              PLANNED    NOW                                    STATE
cmdline.isolcpus  1-3        1-3                                    ok
hugepages.1GiB    0:16,1:16  0:16,1:12 (28 free)                    needs reboot
cpu.irqs          on 0       38 there; managed or immovable elsew…  drifted

hugepages.1GiB
  reboot: node 1 has too little memory in one piece for pages of 1GiB

cpu.irqs
  write /proc/irq/N/smp_affinity_list of 12

Left as it is
  no node has 8GiB: no hugepages are reserved (`profile.hugepages` would)
  no driver sets this machine's frequencies: there is no governor to choose
"#,
    );
    let preview = ProfilePreview::new(plan, attestation, &"quiet".parse().unwrap());
    let text = profile::preview(&preview, &SCREEN);
    // It is there to be copied, whole.
    let line = "  quiet axion.plan=begin isolcpus=managed_irq,domain,1-3 nohz_full=1-3 rcu_nocbs=1-3 irqaffinity=0 \
                axion.plan=end\n";
    assert!(text.contains(line), "{text}");
    assert_screen(
        &text.replace(line, ""),
        r#"
Profile        hpc
Host CPUs      0
Workload CPUs  1-3
Next boot      a second start of the kernel, with the line below
Command line

ITEM              PLANNED    NOW                                    STATE
cmdline.isolcpus  1-3        1-3                                    ok
hugepages.1GiB    0:16,1:16  0:16,1:12 (28 free)                    needs reboot
cpu.irqs          on 0       38 there; managed or immovable elsew…  drifted

Why
  isolcpus=managed_irq,domain,1-3: nothing runs on these CPUs that was not put
  there
  nohz_full=1-3: a CPU that runs a single thread has no scheduler tick
  rcu_nocbs=1-3: RCU callbacks run on the host's CPUs
  irqaffinity=0: drivers that are built in ask for interrupts before init could
  move them
  memory.numa-balancing: it unmaps guests' memory to sample it; placement is
  decided, not guessed
  memory.ksm: merged pages couple tenants by their timing
  sysctl.vm.stat_interval: counters are folded every two minutes, not every
  second on every CPU
  sysctl.vm.compaction_proactiveness: memory is not compacted in the background;
  hugepages are reserved already
  memory.thp: as `profile.memory.transparent_hugepages` says
  module.zfs.zfs_arc_max: memory is the workloads'; ZFS would take half of it
  for its cache
  cpu.irqs: devices interrupt the host's CPUs, not the workloads'
  cpu.workqueues: the kernel's own background work stays on the host's CPUs
  cpu.fair-server: the scheduler looks after a thread that runs alone, too, with
  a timer in each period
  cpu.cpuset.axion.slice: the node's own services run beside the kernel, not
  beside workloads
  cpu.cpuset.vms.slice: dedicated VMs are pinned to isolated CPUs, shared ones
  and device threads run beside the host
  power.idle-latency: a halted vCPU is back within microseconds
  module.kvm_amd.pause_filter_count: a spinning vCPU has its core to itself:
  leaving the guest would give way to nobody
  module.kvm.halt_poll_ns: shared VMs are on the host's CPUs: one that waits
  gives its CPU away at once
  module.spl.spl_taskq_thread_dynamic: ZFS's threads all begin with their pool,
  and are moved off the isolated CPUs then

Left as it is
  no node has 8GiB: no hugepages are reserved (`profile.hugepages` would)
  no driver sets this machine's frequencies: there is no governor to choose
"#,
    );
}

#[test]
fn a_boot_profile_that_is_refused() {
    let declaration = declared("[profile]\ncpu.isolated = \"2-9\"\niommu.mode = \"on\"\n");
    let Refusals(refusals) = boot_profile::plan(&four_cpus(), &declaration).unwrap_err();
    assert_screen(
        &profile::refusals(&refusals, &SCREEN),
        r#"
profile.cpu.isolated
  CPU 4-9 does not exist; there are 0-3
  possible: "2-3"
profile.iommu.mode
  the firmware shows no IOMMU (no ACPI table DMAR, IVRS or VIOT); its setup may
  have VT-d or AMD-Vi switched off
  possible: "auto"
"#,
    );
    let Resolved {
        standing,
        plan,
        refusals,
    } = Resolved::of(&four_cpus(), &declaration, &"quiet".parse().unwrap());
    let host = HostProfile {
        standing,
        plan,
        refusals,
        attestation: Attestation {
            state: ItemState::Ok,
            items: Vec::new(),
        },
    };
    let text = profile::show(&host, &SCREEN);
    assert!(
        text.starts_with("Profile        refused: nothing of `[profile]` is put in force\n"),
        "{text}"
    );
}

#[test]
fn a_boot_profile_that_was_put_in_force_again() {
    let applied = axion_api::profile::AppliedProfile {
        done: vec!["sysctl.vm.swappiness".to_owned(), "cpu.irqs".to_owned()],
        left: vec![axion_api::profile::LeftItem {
            key: "hugepages.2MiB".to_owned(),
            reason: "node 0 has 40 pages of 2MiB in use, and 32 are planned; stop the VMs that have them"
                .to_owned(),
        }],
        attestation: Attestation {
            state: ItemState::Drifted,
            items: vec![
                item("cpu.irqs", "on 0", "38 there", ItemState::Ok, None),
                item(
                    "hugepages.2MiB",
                    "0:32",
                    "0:64 (24 free)",
                    ItemState::Drifted,
                    Some("write nr_hugepages of the nodes"),
                ),
            ],
        },
    };
    assert_screen(
        &profile::applied(&applied, &SCREEN),
        r#"
Done     sysctl.vm.swappiness, cpu.irqs
Profile  drifted

hugepages.2MiB
  node 0 has 40 pages of 2MiB in use, and 32 are planned; stop the VMs that have
  them

ITEM            PLANNED  NOW             STATE
hugepages.2MiB  0:32     0:64 (24 free)  drifted
"#,
    );
}

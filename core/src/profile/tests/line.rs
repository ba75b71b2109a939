//! Command lines: what is the operator's stays.

use super::*;

const DOCUMENT: &str = "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", count = 1 }]";
const OURS: &str =
    "isolcpus=managed_irq,domain,1-3 nohz_full=1-3 rcu_nocbs=1-3 irqaffinity=0 hugepagesz=1G hugepages=0:1";

fn hpc() -> Plan {
    planned(&machine(&[(4, 8)], 1), DOCUMENT)
}

fn decide(current: &str, plan: &Plan) -> KexecDecision {
    needs_kexec(&CommandLine::parse(current), plan)
}

fn kexec(line: &str) -> KexecDecision {
    KexecDecision::Kexec {
        command_line: line.to_owned(),
    }
}

#[test]
fn a_kernel_without_the_arguments_is_started_again_once() {
    let wanted =
        format!("console=tty1 console=ttyS0 axion.plan=begin {OURS} axion.kexec=1 axion.plan=end -- --x");
    assert_eq!(
        decide("console=tty1 console=ttyS0 -- --x", &hpc()),
        kexec(&wanted)
    );
    assert_eq!(decide(&wanted, &hpc()), KexecDecision::NotNeeded);
    // The plan came out otherwise: not a second time.
    let other = wanted.replace("nohz_full=1-3", "nohz_full=1-2");
    assert_eq!(decide(&other, &hpc()), KexecDecision::AlreadyTried);
}

#[test]
fn a_loaders_entry_needs_no_kexec() {
    let composed = compose(&CommandLine::parse("quiet"), &hpc());
    assert_eq!(
        composed.line.to_string(),
        format!("quiet axion.plan=begin {OURS} axion.plan=end")
    );
    assert!(composed.overridden.is_empty());
    assert_eq!(needs_kexec(&composed.line, &hpc()), KexecDecision::NotNeeded);
}

#[test]
fn an_earlier_plan_is_replaced_in_its_place() {
    let current =
        "a axion.plan=begin isolcpus=managed_irq,domain,2 hugepagesz=1G hugepages=0:9 axion.plan=end b";
    let wanted = format!("a axion.plan=begin {OURS} axion.kexec=1 axion.plan=end b");
    assert_eq!(decide(current, &hpc()), kexec(&wanted));
    // A plan without arguments takes the earlier one away.
    let none = planned(&machine(&[(1, 1)], 1), "");
    assert_eq!(decide(current, &none), kexec("a b axion.kexec=1"));
    assert_eq!(decide("a b axion.kexec=1", &none), KexecDecision::NotNeeded);
    assert_eq!(decide("a b", &none), KexecDecision::NotNeeded);
}

#[test]
fn what_the_operator_gives_wins_and_is_told() {
    let current = CommandLine::parse("nohz-full=2 hugepagesz=2M hugepages=64 rcu_nocbs=1-3 quiet");
    let composed = compose(&current, &hpc());
    assert_eq!(
        composed.line.to_string(),
        "nohz-full=2 hugepagesz=2M hugepages=64 rcu_nocbs=1-3 quiet axion.plan=begin \
         isolcpus=managed_irq,domain,1-3 irqaffinity=0 hugepagesz=1G hugepages=0:1 axion.plan=end"
    );
    assert_eq!(composed.overridden, ["nohz_full=1-3"]);
    // Pages of the same size are one pool: never two counts for it.
    let pool = compose(&CommandLine::parse("hugepagesz=1G hugepages=3"), &hpc());
    assert_eq!(pool.line.hugepage_pools().len(), 1);
    assert_eq!(pool.overridden, ["hugepagesz=1G hugepages=0:1"]);
    assert_eq!(needs_kexec(&pool.line, &hpc()), KexecDecision::NotNeeded);
}

#[test]
fn marks_that_do_not_pair_hide_nothing() {
    for current in [
        "a axion.plan=begin b",
        "a axion.plan=end b",
        "axion.plan=end a b axion.plan=begin",
    ] {
        let composed = compose(&CommandLine::parse(current), &hpc());
        assert_eq!(
            composed.line.to_string(),
            format!("a b axion.plan=begin {OURS} axion.plan=end")
        );
    }
}

#[test]
fn the_way_out() {
    assert_eq!(decide("axion.profile=off", &hpc()), KexecDecision::SwitchedOff);
    assert_eq!(
        decide(&format!("axion.profile=off {OURS}"), &hpc()),
        KexecDecision::SwitchedOff
    );
    // The last one wins, as everywhere.
    assert!(matches!(
        decide("axion.profile=off axion.profile=on", &hpc()),
        KexecDecision::Kexec { .. }
    ));
}

#[test]
fn a_line_that_the_kernel_would_cut_is_not_tried() {
    let long = format!("axion.config=inline:{}", "x".repeat(1900));
    let KexecDecision::TooLong { length } = decide(&long, &hpc()) else {
        panic!("it is too long");
    };
    assert!(length > 2047);
}

#[test]
fn a_refused_declaration_starts_no_kernel() {
    let line = CommandLine::parse(&format!("axion.plan=begin {OURS} axion.plan=end"));
    let topology = machine(&[(4, 8)], 1);
    let kexec = |toml| Resolved::of(&topology, &declaration(toml), &line).kexec(&line);
    assert_eq!(kexec("profile.cpu.isolated = \"9\""), KexecDecision::NotNeeded);
    assert_eq!(kexec(DOCUMENT), KexecDecision::NotNeeded);
    assert!(matches!(
        kexec("profile.mode = \"off\""),
        KexecDecision::Kexec { .. }
    ));
}

/// The guard holds whatever the second kernel lacks: all arguments, or one of them.
#[test]
fn a_second_kernel_without_its_arguments_is_not_left() {
    for line in [
        "quiet axion.kexec=1",
        "quiet axion.plan=begin isolcpus=managed_irq,domain,1-3 axion.kexec=1 axion.plan=end",
    ] {
        assert_eq!(decide(line, &hpc()), KexecDecision::AlreadyTried);
    }
}

#[test]
fn a_machine_without_kexec_restarts_once_with_what_was_stored() {
    let mut plan = hpc();
    plan.restart = Restart::Reboot;
    let line = CommandLine::parse;
    assert_eq!(decide("quiet", &plan), KexecDecision::Reboot);
    let entry = line("quiet axion.slot=a");
    let stored_once = stored(&entry, &plan).unwrap();
    assert_eq!(
        stored_once.to_string(),
        format!("quiet axion.slot=a axion.plan=begin {OURS} axion.restart=1 axion.plan=end")
    );
    // The loader gave them: nothing is left to do, and the guard goes.
    assert!(is_restarted(&stored_once));
    assert_eq!(needs_kexec(&stored_once, &plan), KexecDecision::NotNeeded);
    let at_rest = unguarded(&stored_once);
    assert_eq!(
        at_rest.to_string(),
        format!("quiet axion.slot=a axion.plan=begin {OURS} axion.plan=end")
    );
    // The loader gave the guard and not all of the rest, or nothing of it: not a second time.
    assert_eq!(
        decide("quiet axion.restart=1", &plan),
        KexecDecision::AlreadyTried
    );
    assert_eq!(stored(&stored_once, &plan), None);
    assert_eq!(stored(&at_rest, &plan), None);
    // Another config is another reason.
    let other = planned(&machine(&[(4, 8)], 1), "");
    assert_eq!(
        stored(&at_rest, &other).unwrap().to_string(),
        "quiet axion.slot=a axion.restart=1"
    );
}

#[test]
fn how_a_machine_is_started_again() {
    let topology = machine(&[(4, 8)], 1);
    let restart = |topology: &Topology, toml: &str| {
        let plan = planned(topology, &format!("{DOCUMENT}\n{toml}"));
        (plan.restart, plan.notes.len())
    };
    assert_eq!(restart(&topology, ""), (Restart::Kexec, 0));
    assert_eq!(restart(&topology, "restart = \"reboot\""), (Restart::Reboot, 1));
    assert_eq!(restart(&topology, "restart = \"kexec\""), (Restart::Kexec, 0));
}

/// A machine that does not survive a kexec does not survive one that takes arguments away either.
#[test]
fn what_an_earlier_plan_has_left_is_taken_away_in_the_same_way() {
    let left = CommandLine::parse(&format!(
        "quiet axion.slot=a axion.plan=begin {OURS} axion.plan=end"
    ));
    let toml = "[profile]\nmode = \"off\"\nrestart = \"reboot\"\n";
    let resolved = Resolved::of(&machine(&[(4, 8)], 1), &declaration(toml), &left);
    assert_eq!(resolved.standing, Standing::Off);
    assert_eq!(resolved.kexec(&left), KexecDecision::Reboot);
    assert_eq!(
        stored(&left, &resolved.plan).unwrap().to_string(),
        "quiet axion.slot=a axion.restart=1"
    );
}

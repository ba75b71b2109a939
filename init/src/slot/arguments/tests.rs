use axion_core::config::check;
use axion_core::profile::{Declaration, KexecDecision};
use axion_core::topology::Topology;

use super::*;

const ESP: u128 = 0xa;
const PLACE: &str = "axion.esp=00000000-0000-0000-0000-00000000000a";

fn resolved(toml: &str) -> Resolved {
    let config = check(toml, "test").unwrap();
    let declaration = Declaration::new(&config);
    Resolved::of(&Topology::default(), &declaration, &CommandLine::default())
}

/// What the kernel is started again with.
fn second(first: &str, resolved: &Resolved) -> CommandLine {
    match resolved.kexec(&CommandLine::parse(first)) {
        KexecDecision::Kexec { command_line } => CommandLine::parse(&command_line),
        other => panic!("{other:?}"),
    }
}

fn off() -> Resolved {
    resolved("[profile]\nmode = \"off\"\n")
}

const PLANNED: &str = "quiet axion.plan=begin mitigations=off axion.plan=end axion.slot=a";

#[test]
fn what_came_up_by_a_kexec_is_kept_and_needs_no_second_one() {
    let resolved = off();
    let running = second(&format!("rootfstype=ramfs {PLANNED}"), &resolved);
    let kept = proved(PLANNED, &running, &resolved, ESP).unwrap();
    assert_eq!(kept, format!("{PLACE} quiet axion.slot=a"));
    let next = CommandLine::parse(&format!("BOOT_IMAGE=(slot_a)71+9 rootfstype=ramfs {kept}"));
    assert_eq!(resolved.kexec(&next), KexecDecision::NotNeeded);
    // And that start changes nothing any more.
    assert_eq!(proved(&kept, &next, &resolved, ESP), Some(kept));
}

#[test]
fn what_came_up_by_a_restart_is_kept_without_its_guard() {
    let resolved = resolved("profile.cpu.mitigations = \"off\"\nprofile.restart = \"reboot\"\n");
    let guarded = PLANNED.replace("axion.plan=end", "axion.restart=1 axion.plan=end");
    let running = CommandLine::parse(&format!("rootfstype=ramfs {guarded}"));
    assert_eq!(resolved.kexec(&running), KexecDecision::NotNeeded);
    let kept = format!("{PLACE} {PLANNED}");
    // The guard is out of the entry by then; where it could not be taken out, it goes now.
    for entry in [PLANNED, &guarded] {
        assert_eq!(proved(entry, &running, &resolved, ESP), Some(kept.clone()));
    }
}

#[test]
fn a_start_with_other_words_than_the_entrys_proves_nothing() {
    let resolved = off();
    for typed in ["axion.mode=install", "quiet", "axion.config=inline:eA=="] {
        let running = second(&format!("{PLANNED} {typed}"), &resolved);
        assert_eq!(proved(PLANNED, &running, &resolved, ESP), None, "{typed}");
    }
    let first = CommandLine::parse(PLANNED);
    // The kexec has failed.
    assert_eq!(proved(PLANNED, &first, &resolved, ESP), None);
}

#[test]
fn nothing_is_kept_of_a_profile_that_is_refused_or_switched_off_by_hand() {
    let refused = Resolved {
        standing: Standing::Refused,
        ..off()
    };
    let running = CommandLine::parse("quiet axion.slot=a");
    assert_eq!(proved("quiet axion.slot=a", &running, &refused, ESP), None);
    let by_hand = CommandLine::parse("quiet axion.profile=off axion.slot=a");
    assert_eq!(
        proved("quiet axion.profile=off axion.slot=a", &by_hand, &off(), ESP),
        None
    );
}

#[test]
fn the_place_of_another_disk_is_replaced_where_there_is_room() {
    let resolved = off();
    let entry = "axion.esp=00000000-0000-0000-0000-00000000000b quiet axion.slot=a";
    let running = CommandLine::parse(entry);
    assert_eq!(
        proved(entry, &running, &resolved, ESP),
        Some(format!("{PLACE} quiet axion.slot=a"))
    );
    let long = format!("x={} axion.slot=a", "y".repeat(LONGEST - 20));
    let running = CommandLine::parse(&long);
    assert_eq!(proved(&long, &running, &resolved, ESP), Some(long.clone()));
    let longer = format!("{long} {}", "z".repeat(40));
    let running = CommandLine::parse(&longer);
    assert_eq!(proved(&longer, &running, &resolved, ESP), None);
}

#[test]
fn arguments_stay_where_they_are_not_used_or_keys_depend_on_them() {
    let tpm = |pcrs: &[u8]| Encryption {
        key: KeySource::Tpm,
        pcrs: pcrs.to_vec(),
        ..Encryption::default()
    };
    assert_eq!(untouched(false, &Encryption::default()), None);
    assert_eq!(untouched(false, &tpm(&[7, 11])), None);
    assert!(untouched(false, &tpm(&[7, 12])).unwrap().contains("PCR 12"));
    assert!(untouched(true, &tpm(&[7])).unwrap().contains("Secure Boot"));
}

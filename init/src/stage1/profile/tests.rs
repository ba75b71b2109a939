//! What comes of a decision; none of these starts anything.

use axion_core::config::check;

use super::*;

/// A plan that wants arguments, on whatever machine this runs.
fn decided(line: &str, restart: &str) -> Next {
    let toml = format!("[profile]\ncpu.mitigations = \"off\"\nrestart = \"{restart}\"\n");
    let declaration = Declaration::new(&check(&toml, "test").unwrap());
    let line = CommandLine::parse(line);
    next(Resolved::of(&Topology::default(), &declaration, &line).kexec(&line))
}

#[test]
fn a_second_kernel_without_its_arguments_goes_on_and_says_so() {
    let Next::StartAgain(line) = decided("quiet", "kexec") else {
        panic!("the first kernel lacks an argument");
    };
    assert_eq!(
        line,
        "quiet axion.plan=begin mitigations=off axion.kexec=1 axion.plan=end"
    );
    assert_eq!(decided(&line, "kexec"), Next::GoOn);
    let lost = line.replace("mitigations=off ", "");
    for restart in ["kexec", "reboot"] {
        let Next::Without(why) = decided(&lost, restart) else {
            panic!("{restart}: a second kernel is not left");
        };
        assert!(
            why.ends_with("has not got its arguments; not a second time"),
            "{why}"
        );
    }
}

#[test]
fn a_machine_that_was_restarted_is_not_restarted_again() {
    assert_eq!(decided("quiet", "reboot"), Next::Restart);
    assert!(matches!(
        decided("quiet axion.restart=1", "reboot"),
        Next::Without(_)
    ));
    assert_eq!(decided("quiet axion.profile=off", "reboot"), Next::Switched);
    let line = "quiet axion.plan=begin mitigations=off axion.restart=1 axion.plan=end";
    assert_eq!(decided(line, "reboot"), Next::GoOn);
}

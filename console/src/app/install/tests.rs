//! What keys do in the installer.

use axion_api::install::OfferedInterface;

use super::*;

fn offer() -> Offer {
    let disk = |id: &str| OfferedDisk {
        id: id.to_owned(),
        size: "931.5 GiB".to_owned(),
        model: "Example".to_owned(),
        ..OfferedDisk::default()
    };
    Offer {
        disks: vec![
            OfferedDisk {
                unfit: Some("it is write-protected".to_owned()),
                ..disk("serial:a")
            },
            OfferedDisk {
                has_pool: true,
                keeps_pool: true,
                ..disk("serial:b")
            },
            disk("serial:c"),
        ],
        interfaces: vec![interface("eth0", false), interface("eth1", true)],
        ..Offer::default()
    }
}

fn interface(name: &str, link: bool) -> OfferedInterface {
    OfferedInterface {
        name: name.to_owned(),
        mac: format!("mac-of-{name}"),
        link,
    }
}

fn wizard() -> Wizard {
    let mut wizard = Wizard::new();
    wizard.answered(Ok(Answer::Offer(offer())));
    wizard
}

fn press(wizard: &mut Wizard, keys: &str) -> Outcome {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\t' => KeyCode::Tab,
        '\x08' => KeyCode::Backspace,
        '>' => KeyCode::Right,
        '<' => KeyCode::Left,
        c => KeyCode::Char(c),
    };
    keys.chars().fold(Outcome::Stay, |_, c| wizard.key(code(c)))
}

fn summary() -> Result<Answer, String> {
    Ok(Answer::Summary(Summary {
        text: "text".to_owned(),
        token: "bcdf".to_owned(),
    }))
}

fn refused(field: Field) -> Result<Answer, String> {
    Ok(Answer::Refused(vec![Unanswered::new(field, "no")]))
}

/// A wizard that init has had nothing against, on its last page.
fn confirming() -> Wizard {
    let mut wizard = wizard();
    for _ in 0..3 {
        press(&mut wizard, "\n");
        wizard.answered(summary());
    }
    assert_eq!(wizard.step, Step::Confirm);
    wizard
}

#[test]
fn the_first_disk_that_is_fit_is_proposed_and_no_other_kind_is_taken() {
    let mut wizard = wizard();
    assert_eq!(wizard.disk().unwrap().id, "serial:b");
    wizard.key(KeyCode::Up);
    assert_eq!(press(&mut wizard, "\n"), Outcome::Stay);
    press(&mut wizard, "\t\t\t");
    let Outcome::Ask(Call::Plan(answers)) = press(&mut wizard, "\n") else {
        panic!("nothing is asked");
    };
    assert_eq!(answers.disk, "serial:c");
}

#[test]
fn a_pool_is_kept_unless_it_is_given_up_on_that_very_disk() {
    let mut wizard = wizard();
    assert_eq!(wizard.answers.pool, PoolChoice::Keep);
    press(&mut wizard, ">");
    assert_eq!(wizard.answers.pool, PoolChoice::Destroy);
    press(&mut wizard, "\t>");
    assert_eq!(wizard.answers.pool, PoolChoice::Keep);
}

#[test]
fn a_second_disk_is_marked_and_is_not_the_first_one() {
    let mut wizard = wizard();
    // The cursor is on b.
    press(&mut wizard, "m");
    assert_eq!(wizard.answers.mirror, "serial:b");
    assert_eq!(press(&mut wizard, "\n"), Outcome::Stay);
    press(&mut wizard, "m");
    assert_eq!(wizard.answers.mirror, "");
    press(&mut wizard, "\tm");
    wizard.key(KeyCode::Up);
    let Outcome::Ask(Call::Plan(answers)) = press(&mut wizard, "\n") else {
        panic!("nothing is asked");
    };
    assert_eq!(
        (answers.disk.as_str(), answers.mirror.as_str()),
        ("serial:b", "serial:c")
    );
    // One that cannot be used is no mirror either.
    let mut wizard = self::wizard();
    wizard.key(KeyCode::Up);
    press(&mut wizard, "m");
    assert_eq!(wizard.answers.mirror, "");
    // It is no letter of what is typed elsewhere.
    let mut wizard = self::wizard();
    (wizard.step, wizard.cursor) = (Step::Node, 0);
    press(&mut wizard, "m");
    assert_eq!(
        (
            wizard.answers.node.hostname.as_str(),
            wizard.answers.mirror.as_str()
        ),
        ("m", "")
    );
}

#[test]
fn nothing_happens_while_init_thinks_but_going_back() {
    let mut wizard = wizard();
    press(&mut wizard, "\n");
    assert_eq!(press(&mut wizard, "\n\n"), Outcome::Stay);
    assert_eq!(press(&mut wizard, "\x1b"), Outcome::Leave);
    assert_eq!(press(&mut Wizard::new(), "\n"), Outcome::Stay);
    assert_eq!(press(&mut Wizard::new(), "\x1b"), Outcome::Leave);
}

#[test]
fn every_page_goes_back_to_the_one_before() {
    let mut wizard = confirming();
    for step in [Step::Node, Step::Network, Step::Disk] {
        assert_eq!(press(&mut wizard, "\x1b"), Outcome::Stay);
        assert_eq!(wizard.step, step);
    }
    assert_eq!(wizard.disk().unwrap().id, "serial:b");
    assert_eq!(press(&mut wizard, "\x1b"), Outcome::Leave);
}

#[test]
fn what_is_wrong_is_told_on_its_page_and_what_was_not_asked_yet_is_not_wrong_yet() {
    let mut wizard = wizard();
    press(&mut wizard, "\n");
    wizard.answered(refused(Field::Hostname));
    assert_eq!((wizard.step, wizard.refused.len()), (Step::Network, 0));
    press(&mut wizard, "\n");
    wizard.answered(refused(Field::Interface));
    assert_eq!((wizard.step, wizard.cursor), (Step::Network, 1));
    press(&mut wizard, "\n");
    wizard.answered(refused(Field::Disk));
    assert_eq!((wizard.step, wizard.refused.len()), (Step::Disk, 1));
    press(&mut wizard, "\n");
    wizard.answered(Err("init does not answer".to_owned()));
    assert_eq!(wizard.failure.as_deref(), Some("init does not answer"));
    assert_eq!(wizard.step, Step::Disk);
}

#[test]
fn an_address_of_its_own_needs_an_interface_and_has_fields() {
    let mut wizard = wizard();
    press(&mut wizard, "\n");
    wizard.answered(summary());
    assert_eq!(wizard.fields(), [Field::Addressing, Field::Interface]);
    press(
        &mut wizard,
        ">\t\t10.0.0.5/244\x08\t10.0.0.1\t10.0.0.53 10.0.0.54",
    );
    let network = &wizard.answers.node.network;
    assert_eq!(network.addressing, Addressing::Static);
    // The one with a link.
    assert_eq!(network.interface, "mac-of-eth1");
    assert_eq!(network.address, "10.0.0.5/24");
    assert_eq!(network.gateway, "10.0.0.1");
    assert_eq!(network.dns, "10.0.0.53 10.0.0.54");
    wizard.cursor = 1;
    press(&mut wizard, " ");
    assert_eq!(wizard.answers.node.network.interface, "mac-of-eth0");
    wizard.cursor = 0;
    press(&mut wizard, "<");
    assert_eq!(wizard.answers.node.network.addressing, Addressing::Dhcp);
}

#[test]
fn name_and_profile_are_asked_for() {
    let mut wizard = wizard();
    for _ in 0..2 {
        press(&mut wizard, "\n");
        wizard.answered(summary());
    }
    press(&mut wizard, "node-1\t>");
    assert_eq!(wizard.answers.node.hostname, "node-1");
    assert_eq!(wizard.answers.node.profile, ProfileMode::Hpc);
    press(&mut wizard, ">");
    assert_eq!(wizard.answers.node.profile, ProfileMode::Off);
}

#[test]
fn the_word_is_what_was_typed_and_a_wrong_one_is_typed_anew() {
    let mut wizard = confirming();
    assert_eq!(press(&mut wizard, "\n"), Outcome::Stay);
    let asked = press(&mut wizard, "BCDX\n");
    let Outcome::Ask(Call::Perform(answers, token)) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!((answers.disk.as_str(), token.as_str()), ("serial:b", "bcdx"));
    wizard.answered(refused(Field::Token));
    assert_eq!((wizard.step, wizard.typed.as_str()), (Step::Confirm, ""));
    assert_eq!(wizard.refused.len(), 1);
}

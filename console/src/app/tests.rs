//! What keys do.

use super::*;
use crate::node::tests::{sample, snapshot};
use sample::entry;

fn press(app: &mut App, keys: &str) -> Option<Command> {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\x08' => KeyCode::Backspace,
        c => KeyCode::Char(c),
    };
    keys.chars().fold(None, |_, c| app.key(KeyEvent::from(code(c))))
}

fn ready() -> App {
    let mut app = App::new("tty1".to_owned());
    app.look(snapshot(sample::ready()));
    app
}

#[test]
fn power_needs_its_word() {
    let mut app = ready();
    assert_eq!(press(&mut app, "p"), None);
    assert_eq!(press(&mut app, "\n"), None);
    assert_eq!(press(&mut app, "power on\n"), None);
    assert!(app.dialog.is_some());
    assert_eq!(press(&mut app, "power\n"), None);
    let power_off = Some(Command::Ask(Request::Power(PowerAction::PowerOff)));
    assert_eq!(press(&mut app, "Power ofx\x08f\n"), power_off);
    assert_eq!(app.dialog, None);
    assert_eq!(
        press(&mut app, "rreboot\n"),
        Some(Command::Ask(Request::Power(PowerAction::Reboot)))
    );
}

#[test]
fn escape_leaves_a_dialog_and_nothing_happened() {
    let mut app = ready();
    assert_eq!(press(&mut app, "rreboot\x1b"), None);
    assert_eq!(app.dialog, None);
    assert_eq!(press(&mut app, "\n"), None);
}

#[test]
fn the_token_goes_after_two_keys_only() {
    let mut app = ready();
    assert_eq!(press(&mut app, "nn"), None);
    assert_eq!(press(&mut app, "ny"), Some(Command::Ask(Request::ForgetToken)));
    app.look(snapshot(sample::idle()));
    assert_eq!(press(&mut app, "ny"), None);
}

#[test]
fn a_token_confirmed_elsewhere_takes_the_question_away() {
    let mut app = ready();
    press(&mut app, "n");
    app.look(snapshot(sample::idle()));
    assert_eq!(app.dialog, None);
}

#[test]
fn pages_have_keys_and_q_has_none() {
    let mut app = ready();
    for (key, page) in [
        ("2", Page::Boot),
        ("3", Page::Services),
        ("4", Page::Storage),
        ("5", Page::Log),
        ("6", Page::Profile),
        ("1", Page::Summary),
    ] {
        press(&mut app, key);
        assert_eq!(app.page, page);
    }
    app.key(KeyEvent::from(KeyCode::F(5)));
    assert_eq!(app.page, Page::Log);
    app.key(KeyEvent::from(KeyCode::Tab));
    assert_eq!(app.page, Page::Profile);
    app.key(KeyEvent::from(KeyCode::Tab));
    assert_eq!(app.page, Page::Summary);
    app.key(KeyEvent::from(KeyCode::BackTab));
    app.key(KeyEvent::from(KeyCode::BackTab));
    assert_eq!(app.page, Page::Log);
    assert_eq!(press(&mut app, "q"), None);
    assert_eq!((app.page, &app.dialog), (Page::Log, &None));
    // The interrupt key of a terminal in raw mode is a key like any other.
    assert_eq!(
        app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
        None
    );
    let repaint = KeyEvent::new(KeyCode::Char('l'), KeyModifiers::CONTROL);
    assert_eq!(app.key(repaint), Some(Command::Repaint));
}

#[test]
fn equal_looks_need_no_painting() {
    let mut app = ready();
    assert!(!app.look(snapshot(sample::ready())));
    assert!(app.look(snapshot(sample::degraded())));
}

fn shown(app: &App) -> Vec<u64> {
    let mut sequences: Vec<u64> = app.log.upwards().map(|entry| entry.sequence).collect();
    sequences.reverse();
    sequences
}

#[test]
fn the_log_stops_where_it_was_scrolled_to_and_follows_again() {
    let mut app = ready();
    app.page = Page::Log;
    // Four lines of the log.
    app.size = (80, 8);
    let line = |n| entry(n, if n % 2 == 0 { 6 } else { 3 }, "init", "x");
    app.log((1..=6).map(line).collect());
    app.key(KeyEvent::from(KeyCode::Up));
    app.log((7..=8).map(line).collect());
    assert_eq!(shown(&app), [1, 2, 3, 4, 5]);
    app.key(KeyEvent::from(KeyCode::Down));
    assert_eq!(shown(&app), [1, 2, 3, 4, 5, 6]);
    assert!(!app.log.follows());
    app.key(KeyEvent::from(KeyCode::Home));
    assert_eq!(shown(&app), [1, 2, 3, 4]);
    press(&mut app, "sss");
    app.key(KeyEvent::from(KeyCode::PageDown));
    assert!(app.log.follows());
    assert_eq!(shown(&app), [1, 3, 5, 7]);
    app.log((9..3000).map(line).collect());
    assert_eq!(app.log.upwards().count(), 1000);
}

#[test]
fn no_line_of_the_log_is_skipped_however_many_rows_it_takes() {
    let mut app = ready();
    app.page = Page::Log;
    // Eight rows of the log, three for a line: two lines.
    app.size = (40, 12);
    let line = |n| entry(n, 6, "init", &"x".repeat(100));
    app.log((1..=9).map(line).collect());
    let page = |app: &App| shown(app).split_off(shown(app).len().saturating_sub(2));
    for (key, seen) in [
        (KeyCode::Down, [8, 9]),
        (KeyCode::PageUp, [6, 7]),
        (KeyCode::PageUp, [4, 5]),
        (KeyCode::PageUp, [2, 3]),
        // The oldest is at the top, and goes no further down.
        (KeyCode::PageUp, [1, 2]),
        (KeyCode::Up, [1, 2]),
        (KeyCode::PageDown, [3, 4]),
        (KeyCode::Home, [1, 2]),
        (KeyCode::Down, [2, 3]),
        (KeyCode::PageDown, [4, 5]),
        (KeyCode::PageDown, [6, 7]),
        (KeyCode::PageDown, [8, 9]),
    ] {
        app.key(KeyEvent::from(key));
        assert_eq!(page(&app), seen, "{key:?}");
    }
    assert!(app.log.follows());
}

#[test]
fn long_pages_scroll_to_their_end_and_no_further() {
    let mut app = ready();
    app.size = (80, 8);
    press(&mut app, "2");
    app.key(KeyEvent::from(KeyCode::End));
    let end = app.scroll;
    assert!(end > 0);
    app.key(KeyEvent::from(KeyCode::Down));
    assert_eq!(app.scroll, end);
    app.key(KeyEvent::from(KeyCode::Home));
    assert_eq!(app.scroll, 0);
}

fn unlock(passphrase: &str) -> Option<Command> {
    Some(Command::Ask(Request::Unlock(passphrase.to_owned().into())))
}

#[test]
fn a_passphrase_is_asked_for_where_the_state_is_locked() {
    let mut app = ready();
    assert_eq!(press(&mut app, "u"), None);
    assert_eq!(app.dialog, None);
    app.look(snapshot(sample::locked()));
    assert_eq!(press(&mut app, "ucorrect hx\x08orse\n"), unlock("correct horse"));
    assert_eq!(app.dialog, None);
    // Nothing, and nothing at all after it was unlocked elsewhere.
    assert_eq!(press(&mut app, "u\n"), None);
    assert!(app.dialog.is_some());
    app.look(snapshot(sample::idle()));
    assert_eq!(app.dialog, None);
}

#[test]
fn a_new_passphrase_is_typed_twice() {
    let mut app = ready();
    let mut node = snapshot(sample::locked());
    if let Ok(facts) = &mut node.init {
        facts.node.state_lock.as_mut().unwrap().is_new = true;
    }
    app.look(node);
    assert_eq!(press(&mut app, "ucorrect horse\n"), None);
    assert_eq!(press(&mut app, "wrong horse\n"), None);
    assert_eq!(
        app.notice.as_deref(),
        Some("These were not the same. Nothing was done.")
    );
    assert_eq!(
        press(&mut app, "ucorrect horse\ncorrect horse\n"),
        unlock("correct horse")
    );
}

#[test]
fn what_is_typed_is_shown_nowhere() {
    let mut app = ready();
    app.look(snapshot(sample::locked()));
    press(&mut app, "ucorrect horse");
    assert!(!format!("{app:?}").contains("horse"));
}

#[test]
fn a_recovery_passphrase_goes_after_two_keys_only() {
    let mut app = App::new("tty1".to_owned());
    let node = Snapshot {
        recovery: Some("0123-4567".to_owned().into()),
        ..snapshot(sample::idle())
    };
    app.look(node);
    assert_eq!(press(&mut app, "nn"), None);
    assert_eq!(press(&mut app, "ny"), Some(Command::Ask(Request::ForgetRecovery)));
}

fn installable(asked: bool, progress: Option<Progress>) -> Snapshot {
    let install = axion_api::install::Status {
        offered: true,
        asked,
        progress,
    };
    Snapshot {
        install,
        ..snapshot(sample::idle())
    }
}

fn offer() -> Option<Request> {
    Some(Request::Install(Call::Offer))
}

#[test]
fn the_installer_comes_by_its_key_and_where_it_is_asked_for_by_itself_once() {
    let mut app = ready();
    assert_eq!(press(&mut app, "i"), None);
    app.look(installable(false, None));
    assert_eq!(app.take_wish(), None);
    assert_eq!(press(&mut app, "i"), offer().map(Command::Ask));
    press(&mut app, "\x1b");
    assert_eq!(app.dialog, None);

    let mut app = App::new("tty1".to_owned());
    let mut booting = installable(true, None);
    booting.init = Ok(crate::node::InitFacts::default());
    app.look(booting);
    assert_eq!(app.take_wish(), None);
    app.look(installable(true, None));
    assert_eq!(app.take_wish(), offer());
    assert!(matches!(app.dialog, Some(Dialog::Install(_))));
    press(&mut app, "\x1b");
    app.look(installable(true, None));
    assert_eq!((app.take_wish(), &app.dialog), (None, &None));
}

#[test]
fn an_installation_has_every_console_until_its_end_was_seen() {
    let running = Progress::Running {
        step: "writing".to_owned(),
        percent: 5,
    };
    let mut app = ready();
    app.look(installable(false, Some(running)));
    assert_eq!(press(&mut app, "\n\x1bir"), None);
    assert_eq!(app.dialog, Some(Dialog::Installing));
    app.look(installable(false, Some(Progress::Failed("why".to_owned()))));
    let dismiss = Some(Command::Ask(Request::Install(Call::Dismiss)));
    assert_eq!(press(&mut app, "\n"), dismiss);
    app.look(installable(false, Some(Progress::Done("nvme0n1".to_owned()))));
    assert_eq!(press(&mut app, "\x1b"), dismiss);
    let reboot = Some(Command::Ask(Request::Power(PowerAction::Reboot)));
    assert_eq!(press(&mut app, "\n"), reboot);
    app.look(installable(false, None));
    assert_eq!(app.dialog, None);
}

#[test]
fn the_boot_profile_is_checked_and_put_in_force_from_its_page_alone() {
    let mut app = ready();
    assert_eq!(press(&mut app, "ca"), None);
    press(&mut app, "6");
    assert_eq!(app.page, Page::Profile);
    assert_eq!(press(&mut app, "c"), Some(Command::Ask(Request::CheckProfile)));
    assert_eq!(press(&mut app, "a"), Some(Command::Ask(Request::ApplyProfile)));
    assert!(app.notice.is_some());
    for _ in 0..9 {
        app.key(KeyEvent::from(KeyCode::Down));
    }
    assert_eq!(app.chosen_item(), 1, "the last of two");
    app.key(KeyEvent::from(KeyCode::Up));
    assert_eq!(app.chosen_item(), 0);
    app.snapshot.profile = None;
    assert_eq!(app.chosen_item(), 0);
}

#[test]
fn a_locked_dataset_is_chosen_and_unlocked() {
    let mut app = ready();
    assert_eq!(press(&mut app, "u"), None);
    assert_eq!(app.dialog, None, "nothing is locked");
    app.snapshot.locked = vec!["tank/a".to_owned()];
    press(&mut app, "u");
    let load = |name: &str| {
        let key = axion_core::config::Secret::from("correct horse".to_owned());
        Some(Command::Ask(Request::LoadKey(name.to_owned(), key)))
    };
    assert_eq!(press(&mut app, "correct horse\n"), load("tank/a"));

    let mut locked = snapshot(sample::locked());
    locked.locked = vec!["tank/a".to_owned(), "tank/b".to_owned()];
    app.look(locked.clone());
    press(&mut app, "u");
    assert_eq!(app.dialog, Some(Dialog::Locks { chosen: 0 }));
    for _ in 0..5 {
        app.key(KeyEvent::from(KeyCode::Down));
    }
    app.key(KeyEvent::from(KeyCode::Up));
    assert_eq!(app.dialog, Some(Dialog::Locks { chosen: 1 }));
    assert_eq!(press(&mut app, "\ncorrect horse\n"), load("tank/a"));
    // The first of the list is the node's state.
    let key = axion_core::config::Secret::from("correct horse".to_owned());
    assert_eq!(
        press(&mut app, "u\ncorrect horse\n"),
        Some(Command::Ask(Request::Unlock(key)))
    );
    // What was unlocked elsewhere is asked for no longer.
    press(&mut app, "u");
    app.look(snapshot(sample::idle()));
    assert_eq!(app.dialog, None);
}

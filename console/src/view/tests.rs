//! Screens as they look. `UPDATE_SCREENS=1 cargo test -p axion-console` writes the files in `screens/` anew: read the
//! difference before you commit it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::*;
use crate::app::Dialog;
use crate::app::trouble::Trouble;
use crate::node::tests::{drifted, sample, snapshot};
use crate::node::{DeviceFacts, PoolFacts};
use axion_api::host::PowerAction;
use axion_api::recovery::{ResetPlan, ResetScope, Stick};
use axion_api::storage::Health;
use axion_api::update::{SlotFailure, SlotState, UpdateStatus};

const COLOURED: &str = "xterm-256color";

fn theme(term: &str, locale: &str, no_colour: bool) -> Theme {
    Theme::of(|name| match name {
        "TERM" => Some(term.to_owned()),
        "LANG" => Some(locale.to_owned()),
        "NO_COLOR" => no_colour.then(|| "1".to_owned()),
        _ => None,
    })
}

fn app(sample: sample::Sample, page: Page, size: (u16, u16)) -> App {
    let mut app = App::new("ttyS0".to_owned());
    app.log(sample.logs.clone());
    app.look(snapshot(sample));
    app.page = page;
    app.size = size;
    app
}

fn rendered(app: &App, theme: &Theme) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(app.size.0, app.size.1)).unwrap();
    terminal.draw(|frame| draw(frame, app, theme)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    rows.map(|row| {
        row.iter()
            .map(|cell| cell.symbol())
            .collect::<String>()
            .trim_end()
            .to_owned()
            + "\n"
    })
    .collect()
}

fn assert_screen(name: &str, app: &App, theme: &Theme) {
    let path = format!("{}/src/view/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let screen = text(&rendered(app, theme));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, &screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{name} is now\n{screen}\nand was\n{expected}");
}

#[test]
fn the_summary_of_a_ready_node() {
    assert_screen(
        "summary-80x24",
        &app(sample::ready(), Page::Summary, (80, 24)),
        &Theme::PLAIN,
    );
    assert_screen(
        "summary-132x43",
        &app(sample::ready(), Page::Summary, (132, 43)),
        &theme("linux", "", false),
    );
    assert_screen(
        "summary-40x12",
        &app(sample::idle(), Page::Summary, (40, 12)),
        &Theme::PLAIN,
    );
}

#[test]
fn the_summary_of_a_node_in_trouble() {
    assert_screen(
        "degraded-80x24",
        &app(sample::degraded(), Page::Summary, (80, 24)),
        &Theme::PLAIN,
    );
    assert_screen(
        "booting-80x24",
        &app(sample::booting(), Page::Summary, (80, 24)),
        &Theme::PLAIN,
    );
    let mut silent = App::new("tty1".to_owned());
    silent.snapshot.init = Err("its socket is not there yet".to_owned());
    silent.snapshot.vms = Err("its socket is not there yet".to_owned());
    assert_screen("silent-80x24", &silent, &Theme::PLAIN);
}

#[test]
fn the_other_pages() {
    assert_screen(
        "boot-80x24",
        &app(sample::degraded(), Page::Boot, (80, 24)),
        &Theme::PLAIN,
    );
    assert_screen(
        "services-80x24",
        &app(sample::degraded(), Page::Services, (80, 24)),
        &Theme::PLAIN,
    );
    assert_screen(
        "services-40x12",
        &app(sample::ready(), Page::Services, (40, 12)),
        &Theme::PLAIN,
    );
    assert_screen(
        "log-40x12",
        &app(sample::degraded(), Page::Log, (40, 12)),
        &Theme::PLAIN,
    );
}

#[test]
fn the_pools_and_what_is_wrong_with_them() {
    let mut none = app(sample::ready(), Page::Storage, (80, 24));
    none.snapshot.pools = Some(Vec::new());
    assert!(text(&rendered(&none, &Theme::PLAIN)).contains("axctl pool disks"));
    let device = |name: &str, state, errors| DeviceFacts {
        name: name.to_owned(),
        state,
        errors,
    };
    let tank = PoolFacts {
        name: "tank".to_owned(),
        state: Health::Degraded,
        used_percent: 12,
        size: "1.7 TiB".to_owned(),
        holds_state: true,
        scan: Some("scrub: finished, 0 errors".to_owned()),
        advice: vec![
            "One or more devices has been removed by the administrator. Sufficient replicas exist for the \
             pool to continue functioning in a degraded state."
                .to_owned(),
            "Online the device using 'zpool online' or replace the device with 'zpool replace'.".to_owned(),
        ],
        devices: vec![
            device("serial:S4EWNX0R700123", Health::Online, [0; 3]),
            device("serial:S4EWNX0R700188", Health::Removed, [3, 14, 0]),
        ],
    };
    let mut degraded = app(sample::ready(), Page::Storage, (80, 24));
    degraded.snapshot.pools = Some(vec![tank]);
    assert_screen("storage-80x24", &degraded, &Theme::PLAIN);
}

#[test]
fn the_boot_profile_item_by_item() {
    let in_force = app(sample::idle(), Page::Profile, (80, 25));
    assert_screen("profile-80x25", &in_force, &Theme::PLAIN);
    let mut left = app(sample::idle(), Page::Profile, (80, 25));
    left.snapshot.profile = Some(drifted());
    assert_screen("profile-drifted-80x25", &left, &Theme::PLAIN);
    left.scroll = 1;
    left.size = (40, 12);
    assert_screen("profile-drifted-40x12", &left, &Theme::PLAIN);
    left.page = Page::Summary;
    left.size = (80, 25);
    assert_screen("summary-drifted-80x25", &left, &Theme::PLAIN);
    left.page = Page::Profile;
    left.snapshot.profile = None;
    assert!(text(&rendered(&left, &Theme::PLAIN)).contains("nothing is known of it yet"));
}

#[test]
fn the_chosen_item_is_in_sight_on_any_screen() {
    for size in [(1, 1), (2, 3), (20, 8), (40, 12), (80, 25), (300, 100)] {
        let mut node = app(sample::idle(), Page::Profile, size);
        let mut profile = drifted();
        for number in 0..60 {
            let key = format!("sysctl.number-{number}");
            profile.items.push(crate::node::tests::item(
                &key,
                "1",
                "1",
                axion_core::profile::ItemState::Ok,
                None,
            ));
        }
        node.snapshot.profile = Some(profile);
        for scroll in [0, 30, last_scroll(&node), 1000] {
            node.scroll = scroll;
            let screen = text(&rendered(&node, &Theme::PLAIN));
            if size.1 >= 12 {
                let profile = node.snapshot.profile.as_ref().unwrap();
                let key = &profile.items.get(node.chosen_item()).unwrap().key;
                assert!(screen.matches(key.get(..7).unwrap()).count() >= 2, "{screen}");
            }
        }
    }
}

#[test]
fn the_dialogs() {
    let mut asking = app(sample::ready(), Page::Summary, (80, 24));
    asking.dialog = Some(Dialog::Power {
        action: PowerAction::PowerOff,
        typed: "pow".to_owned(),
    });
    assert_screen("power-off-80x24", &asking, &Theme::PLAIN);
    asking.dialog = Some(Dialog::Token);
    assert_screen("token-80x24", &asking, &Theme::PLAIN);
    asking.dialog = Some(Dialog::Trouble(Trouble::Menu));
    assert_screen("trouble-80x24", &asking, &Theme::PLAIN);
    asking.dialog = Some(Dialog::Trouble(Trouble::Sticks(vec![Stick {
        device: "sda1".to_owned(),
        disk: "SanDisk Ultra".to_owned(),
        serial: Some("4C530001230512105022".to_owned()),
        label: "KEYS".to_owned(),
        size: 15 << 30,
    }])));
    assert_screen("sticks-80x24", &asking, &Theme::PLAIN);
    asking.dialog = Some(Dialog::Trouble(Trouble::Reset {
        plan: ResetPlan {
            scope: ResetScope::State,
            pools: false,
            hostname: "rack7".to_owned(),
            lost: vec!["the node's state on the pool `tank`".to_owned(); 8],
            kept: vec!["the pool `tank`".to_owned()],
        },
        typed: "ra".to_owned(),
    }));
    assert_screen("reset-80x24", &asking, &Theme::PLAIN);
}

#[test]
fn the_slots_and_the_way_back() {
    let mut asking = app(sample::ready(), Page::Summary, (80, 24));
    let slots = |status: UpdateStatus, typed: &str| {
        let (status, typed) = (Box::new(status), typed.to_owned());
        Some(Dialog::Trouble(Trouble::Slots { status, typed }))
    };
    asking.dialog = slots(sample::slots(), "roll");
    assert_screen("slots-80x24", &asking, &Theme::PLAIN);
    // An update that gave way to the version before.
    let mut failed = sample::slots();
    failed.running = "a".to_owned();
    failed.next = Some("a".to_owned());
    failed.slots[1].state = SlotState::Failed;
    failed.slots[1].failure = Some(SlotFailure {
        why: "KVM: worked before the update, and does not any more".to_owned(),
        log: String::new(),
    });
    asking.dialog = slots(failed, "");
    assert_screen("slots-failed-80x24", &asking, &Theme::PLAIN);
    let why = "this node was not started from an installed disk, so there is nothing to update: it runs what its medium or the \
               network gives it. Start it from another image, or install it (axion.mode=install)";
    asking.dialog = Some(Dialog::Trouble(Trouble::NoSlots(why.to_owned())));
    assert_screen("slots-none-80x24", &asking, &Theme::PLAIN);
    // Where the screen is low, what is to be typed stays in sight.
    asking.dialog = slots(sample::slots(), "");
    asking.size = (40, 12);
    let screen = text(&rendered(&asking, &Theme::PLAIN));
    assert!(screen.contains("> _"), "{screen}");
}

#[test]
fn colours_and_characters_are_those_of_the_terminal() {
    let node = app(sample::degraded(), Page::Summary, (80, 24));
    let coloured = |theme: &Theme| {
        let plain = |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
        !rendered(&node, theme).content.iter().all(plain)
    };
    assert!(coloured(&theme(COLOURED, "", false)));
    assert!(coloured(&theme("vt220", "", false)));
    for colourless in [
        theme(COLOURED, "", true),
        theme("vt100", "", false),
        theme("dumb", "", false),
        Theme::PLAIN,
    ] {
        assert!(!coloured(&colourless));
    }
    assert!(text(&rendered(&node, &theme("vt220", "C", false))).is_ascii());
    assert!(!text(&rendered(&node, &theme(COLOURED, "C.UTF-8", false))).is_ascii());
    assert!(!text(&rendered(&node, &theme("linux", "", false))).is_ascii());
}

#[test]
fn only_the_eight_colours_that_every_terminal_has_are_used() {
    use Color::{Black, Blue, Cyan, Gray, Green, Magenta, Red, Reset, Yellow};
    let base = [Reset, Black, Red, Green, Yellow, Blue, Magenta, Cyan, Gray];
    for page in Page::ALL {
        let node = app(sample::degraded(), page, (132, 43));
        let buffer = rendered(&node, &theme(COLOURED, "C.UTF-8", false));
        assert!(
            buffer
                .content
                .iter()
                .all(|cell| base.contains(&cell.fg) && base.contains(&cell.bg))
        );
    }
}

#[test]
fn what_programs_print_cannot_reach_the_terminal() {
    let mut node = app(sample::idle(), Page::Log, (80, 24));
    node.log(vec![sample::entry(
        9,
        6,
        "vm-evil",
        "a\x1b[2Jb\u{9b}31mc\rd\u{202e}e\u{1F4A9}",
    )]);
    for theme in [Theme::PLAIN, theme("linux", "", false)] {
        for page in [Page::Log, Page::Summary] {
            node.page = page;
            let buffer = rendered(&node, &theme);
            assert!(
                !buffer
                    .content
                    .iter()
                    .any(|cell| cell.symbol().contains(char::is_control))
            );
        }
    }
}

#[test]
fn no_size_and_no_state_panics() {
    let dialogs = [
        None,
        Some(Dialog::Token),
        Some(Dialog::Power {
            action: PowerAction::Reboot,
            typed: String::new(),
        }),
    ];
    let sizes = [
        (1, 1),
        (2, 3),
        (9, 4),
        (20, 5),
        (40, 12),
        (79, 23),
        (119, 30),
        (120, 8),
        (250, 3),
        (300, 100),
    ];
    for sample in [
        sample::ready(),
        sample::degraded(),
        sample::booting(),
        sample::idle(),
    ] {
        for (page, size) in Page::ALL
            .into_iter()
            .flat_map(|page| sizes.map(|size| (page, size)))
        {
            for dialog in &dialogs {
                let mut node = app(sample.clone(), page, size);
                node.dialog = dialog.clone();
                node.scroll = last_scroll(&node);
                rendered(&node, &Theme::PLAIN);
                rendered(&node, &theme(COLOURED, "C.UTF-8", false));
            }
        }
    }
}

#[test]
fn durations_are_said_as_people_do() {
    let words: Vec<String> = [0, 59, 192, 1439, 1440, 100_000].map(duration_words).to_vec();
    assert_eq!(
        words,
        [
            "0 min",
            "59 min",
            "3 h 12 min",
            "23 h 59 min",
            "1 d 0 h",
            "69 d 10 h"
        ]
    );
}

#[test]
fn words_are_kept_together_where_they_fit() {
    assert_eq!(wrap::words("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap::words("a longword b", 5), ["a", "longw", "ord b"]);
    assert_eq!(wrap::words("", 5), [""]);
    assert_eq!(wrap::words("abc", 0), ["a", "b", "c"]);
}

#[test]
fn the_token_is_whole_on_a_narrow_screen() {
    let node = app(sample::ready(), Page::Summary, (30, 12));
    let screen: String = text(&rendered(&node, &Theme::PLAIN)).replace(['|', '\n'], "");
    assert!(screen.contains(&sample::ready().first_token.unwrap()), "{screen}");
}

#[test]
fn a_node_whose_state_is_locked() {
    let mut locked = app(sample::locked(), Page::Summary, (80, 24));
    assert_screen("locked-80x24", &locked, &Theme::PLAIN);
    locked.dialog = Some(Dialog::Unlock {
        typed: "correct horse".to_owned().into(),
        first: None,
        lock: crate::node::Lock::State { is_new: false },
    });
    assert_screen("unlock-80x24", &locked, &Theme::PLAIN);
    let mut made = app(sample::idle(), Page::Summary, (80, 24));
    made.snapshot.recovery = Some("0123-4567-89ab-cdef-ghjk-mnpq-rstv-wxyz".to_owned().into());
    assert_screen("recovery-80x24", &made, &Theme::PLAIN);
}

#[test]
fn datasets_that_are_locked() {
    let mut node = app(sample::locked(), Page::Storage, (80, 24));
    node.snapshot.pools = Some(Vec::new());
    node.snapshot.locked = vec!["tank/projects".to_owned(), "tank/secret".to_owned()];
    assert_screen("locked-datasets-80x24", &node, &Theme::PLAIN);
    node.dialog = Some(Dialog::Locks { chosen: 1 });
    assert_screen("locks-80x24", &node, &Theme::PLAIN);
    node.dialog = Some(Dialog::Unlock {
        lock: crate::node::Lock::Dataset("tank/projects".to_owned()),
        typed: "correct horse".to_owned().into(),
        first: None,
    });
    assert_screen("unlock-dataset-80x24", &node, &Theme::PLAIN);
}

/// A node that can be installed, on a page of the installer.
fn installing(step: crate::app::install::Step) -> App {
    use axion_api::install::{Offer, OfferedDisk, OfferedInterface, Summary};
    use axion_core::config::{Field, NodeAnswers, PoolChoice, Unanswered};

    let disk = OfferedDisk {
        id: "serial:S6ABCD0R123456".to_owned(),
        size: "931.5 GiB".to_owned(),
        model: "Samsung SSD 980 PRO 1TB".to_owned(),
        contents: "Axion 0.1.0, pool tank on nvme0n1p3, partition table (GPT) on nvme0n1".to_owned(),
        keeps_pool: true,
        has_pool: true,
        unfit: None,
    };
    let small = OfferedDisk {
        id: "serial:4C530001230512105022".to_owned(),
        size: "1.0 GiB".to_owned(),
        model: "DataTraveler".to_owned(),
        unfit: Some("it has 1.0 GiB, and 2.1 GiB are needed".to_owned()),
        ..OfferedDisk::default()
    };
    let mac = "52:54:00:12:34:56".to_owned();
    let interface = OfferedInterface {
        name: "eth0".to_owned(),
        mac: mac.clone(),
        link: true,
    };
    let offer = Offer {
        disks: vec![disk, small],
        interfaces: vec![interface],
        node: NodeAnswers::default(),
        config_has_interfaces: false,
        config_has_pools: false,
    };
    let mut wizard = crate::app::install::Wizard {
        offer: Some(offer),
        step,
        ..Default::default()
    };
    wizard.answers.pool = PoolChoice::Keep;
    let node = &mut wizard.answers.node;
    if step == crate::app::install::Step::Network {
        node.network.addressing = axion_core::config::Addressing::Static;
        node.network.interface = mac;
        node.network.address = "10.0.0.5".to_owned();
        wizard.cursor = 2;
        wizard.refused = vec![Unanswered::new(
            Field::Address,
            "`10.0.0.5` is not an address with a prefix length, as in `10.0.0.2/24` or `2001:db8::2/64`",
        )];
    }
    wizard.summary = Some(Summary {
        text: "Axion 0.1.0 is installed on\n  nvme0n1 931.5 GiB, model \"Samsung SSD 980 PRO 1TB\", serial \"S6ABCD0R123456\", wwid \
               \"eui.0025385a11b2c3d4\"\nwhich now holds Axion 0.1.0. The pool partition stays as it is; everything else on the disk \
               is replaced.\n\n  1 AXION-CFG      35.0 MiB  machine config\n  2 AXION-EFI       1.0 GiB  loader, slots a and b\n  \
               3 AXION-POOL    930.4 GiB  ZFS, kept\n  host name   node-1\n  addresses   DHCP on every interface with a link\n  \
               profile     balanced\n"
            .to_owned(),
        token: "kzvf".to_owned(),
    });
    let mut app = app(sample::idle(), Page::Summary, (80, 24));
    app.snapshot.install.offered = true;
    app.dialog = Some(Dialog::Install(Box::new(wizard)));
    app
}

#[test]
fn a_second_disk_is_offered_where_there_is_one_and_shown_once_it_is_chosen() {
    use crate::app::install::Step;
    let mut node = installing(Step::Disk);
    let screen = text(&rendered(&node, &Theme::PLAIN));
    assert!(!screen.contains("second disk"), "{screen}");
    if let Some(Dialog::Install(wizard)) = &mut node.dialog {
        if let Some(offer) = &mut wizard.offer {
            offer.disks[1].unfit = None;
        }
        wizard.answers.mirror = "serial:4C530001230512105022".to_owned();
    }
    let screen = text(&rendered(&node, &Theme::PLAIN));
    for part in ["m second disk of a mirror", "it holds the same"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn a_mirror_that_does_not_follow_is_on_the_summary() {
    let mut sample = sample::ready();
    sample.node.mirror_degraded = "serial:S2: it is not there".to_owned();
    let screen = text(&rendered(&app(sample, Page::Summary, (132, 43)), &Theme::PLAIN));
    assert!(
        screen.contains("mirror degraded: serial:S2: it is not there"),
        "{screen}"
    );
}

#[test]
fn the_installer_asks() {
    use crate::app::install::Step;
    let names = ["disk", "network", "node", "confirm"];
    for (step, name) in Step::ALL.into_iter().zip(names) {
        assert_screen(&format!("install-{name}-80x24"), &installing(step), &Theme::PLAIN);
    }
}

#[test]
fn the_installer_tells_how_far_it_is() {
    use axion_api::install::Progress;
    let mut node = app(sample::idle(), Page::Summary, (80, 24));
    node.dialog = Some(Dialog::Installing);
    node.snapshot.install.progress = Some(Progress::Running {
        step: "writing the image".to_owned(),
        percent: 42,
    });
    assert_screen("installing-80x24", &node, &Theme::PLAIN);
    let disk = "nvme0n1 931.5 GiB, model \"Samsung SSD 980 PRO 1TB\", serial \"S6ABCD0R123456\"";
    node.snapshot.install.progress = Some(Progress::Done(disk.to_owned()));
    assert_screen("installed-80x24", &node, &Theme::PLAIN);
}

#[test]
fn the_installer_fits_any_screen() {
    use crate::app::install::Step;
    for step in Step::ALL {
        for size in [(1, 1), (2, 3), (20, 5), (40, 12), (250, 3), (300, 100)] {
            let mut node = installing(step);
            node.size = size;
            let screen = text(&rendered(&node, &Theme::PLAIN));
            if step == Step::Confirm && size == (40, 12) {
                assert!(screen.contains("> _"), "{screen}");
            }
        }
    }
}

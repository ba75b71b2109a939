use axion_core::cmdline::CommandLine;
use axion_core::config::Console;

use super::{Terminals, log_line, parse_uarts};

const SERIAL: &str = "serinfo:1.0 driver revision:\n\
    0: uart:16550A port:000003F8 irq:4 tx:12 rx:0 RTS|DTR\n\
    1: uart:16550A port:000002F8 irq:3 tx:0 rx:0\n\
    2: uart:unknown port:000003E8 irq:4\n\
    3: uart:unknown port:000002E8 irq:3\n";

fn machine() -> Terminals {
    Terminals {
        screen: Some("tty1".into()),
        serial: parse_uarts(SERIAL),
        kernel: vec!["ttyS1".into()],
    }
}

#[test]
fn a_port_without_a_uart_is_no_console() {
    assert_eq!(parse_uarts(SERIAL), ["ttyS0", "ttyS1"]);
    assert!(parse_uarts("").is_empty());
    assert!(parse_uarts("x: uart:16550A\n: :\n").is_empty());
}

#[test]
fn the_log_line_shows_no_tui() {
    let lines = machine().for_tui(&Console::default(), Some("ttyS1"));
    assert_eq!(lines, ["tty1", "ttyS0"]);
    assert!(!machine().tear(&lines));
    assert!(machine().tear(&["ttyS1".to_owned()]));
}

#[test]
fn configured_lines_replace_the_search() {
    let config = Console {
        lines: vec!["ttyS3".into()],
        ..Console::default()
    };
    assert_eq!(machine().for_tui(&config, None), ["ttyS3"]);
}

#[test]
fn a_kernel_console_on_tty0_tears_the_screen() {
    let terminals = Terminals {
        kernel: vec!["tty0".into()],
        ..machine()
    };
    assert!(terminals.tear(&["tty1".to_owned()]));
    assert_eq!(terminals.all(), ["tty1", "ttyS0", "ttyS1"]);
}

#[test]
fn the_command_line_names_the_log_line_before_the_config() {
    let config = Console {
        log: Some("ttyS0".into()),
        ..Console::default()
    };
    assert_eq!(
        log_line(&CommandLine::parse("axion.log=ttyS1"), &config),
        Some("ttyS1")
    );
    assert_eq!(log_line(&CommandLine::parse("quiet"), &config), Some("ttyS0"));
}

#[test]
fn a_machine_with_the_dummy_console_alone_has_no_screen() {
    let root = tempfile::tempdir().unwrap();
    let driver = |name: &str, text: &str, bind: &str| {
        let directory = root.path().join("sys/class/vtconsole").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("name"), text).unwrap();
        std::fs::write(directory.join("bind"), bind).unwrap();
    };
    assert_eq!(Terminals::read(root.path()).screen, None);
    driver("vtcon0", "(S) dummy device\n", "1\n");
    driver("vtcon1", "(M) frame buffer device\n", "0\n");
    assert_eq!(Terminals::read(root.path()).screen, None);
    driver("vtcon1", "(M) frame buffer device\n", "1\n");
    assert_eq!(Terminals::read(root.path()).screen.as_deref(), Some("tty1"));
}

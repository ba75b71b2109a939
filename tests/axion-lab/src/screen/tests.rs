use super::*;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn shows_what_a_person_would_see_and_types() {
    let dir = tempfile::tempdir().unwrap();
    let (mut machine, port) = UnixStream::pair().unwrap();
    let screen = Screen::attach(port, &dir.path().join("console")).unwrap();
    machine
        .write_all(b"kernel line\r\n\x1b[2J\x1b[3;5H\x1b[1;31mAxion\x1b[0m ready")
        .unwrap();
    let contents = screen.wait_for("Axion ready", SOON).unwrap();
    assert!(!contents.contains("kernel line"), "{contents}");
    screen.press(key::ENTER).unwrap();
    let mut typed = [0; 1];
    machine.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"\r");
}

#[test]
fn a_missing_text_is_reported_with_the_screen() {
    let dir = tempfile::tempdir().unwrap();
    let (mut machine, port) = UnixStream::pair().unwrap();
    let screen = Screen::attach(port, &dir.path().join("console")).unwrap();
    machine.write_all(b"something else").unwrap();
    drop(machine);
    let message = screen
        .wait_for("Axion", Duration::from_secs(60))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("before the machine ended") && message.contains("something else"),
        "{message}"
    );
}

use super::is_ready;

#[test]
fn ready_is_a_line_of_its_own() {
    assert!(is_ready(b"READY=1"));
    assert!(is_ready(b"STATUS=listening\nREADY=1\n"));
    assert!(!is_ready(b"STATUS=READY=1"));
    assert!(!is_ready(b"READY=0"));
    assert!(!is_ready(b""));
}

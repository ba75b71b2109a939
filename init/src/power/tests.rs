use super::{has_bit, is_power_key, power_buttons};

#[test]
fn an_acpi_button_has_the_power_key_and_a_mouse_has_not() {
    assert!(has_bit("10000000000000 0\n", 116));
    assert!(!has_bit("70000 0 0 0 0\n", 116));
    assert!(!has_bit("", 116));
    assert!(!has_bit("x y", 116));
}

#[test]
fn buttons_are_found_by_their_keys() {
    let root = tempfile::tempdir().unwrap();
    for (name, keys) in [
        ("event0", "10000000000000 0"),
        ("event1", "0"),
        ("input0", "10000000000000 0"),
    ] {
        let directory = root
            .path()
            .join("sys/class/input")
            .join(name)
            .join("device/capabilities");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("key"), keys).unwrap();
    }
    assert_eq!(power_buttons(root.path()), ["event0"]);
}

#[test]
fn only_the_press_counts() {
    let event = |kind: u16, code: u16, value: i32| {
        let mut bytes = [0; 24];
        bytes[16..18].copy_from_slice(&kind.to_ne_bytes());
        bytes[18..20].copy_from_slice(&code.to_ne_bytes());
        bytes[20..24].copy_from_slice(&value.to_ne_bytes());
        bytes
    };
    assert!(is_power_key(&event(1, 116, 1)));
    assert!(!is_power_key(&event(1, 116, 0)));
    assert!(!is_power_key(&event(1, 30, 1)));
    assert!(!is_power_key(&event(0, 0, 0)));
}

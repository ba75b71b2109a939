use super::*;

fn variable(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    [7, 0, 0, 0].into_iter().chain(units).collect()
}

#[test]
fn the_loaders_entry_names_the_slot() {
    let slot = |text: &str| slot_of(&text_of(&variable(text)).unwrap());
    assert_eq!(slot("axion-a.conf"), Some(Slot::A));
    assert_eq!(slot("axion-b+2-1.conf"), Some(Slot::B));
    // A medium, another system, an empty variable.
    for other in ["axion.efi", "debian.conf", ""] {
        assert_eq!(slot(other), None, "{other}");
    }
}

#[test]
fn a_variable_is_text_behind_its_attributes() {
    let guid = "8c3ab0f2-5ba1-4f5e-9f5e-0123456789ab";
    assert_eq!(text_of(&variable(guid)).as_deref(), Some(guid));
    assert_eq!(text_of(&[7, 0]), None);
    assert_eq!(text_of(&[7, 0, 0, 0, 0x41]).as_deref(), Some(""));
}

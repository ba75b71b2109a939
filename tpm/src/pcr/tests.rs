use super::*;

#[test]
fn a_selection_is_a_bitmap_of_the_sha256_bank() {
    let pcrs: Pcrs = [7, 11].into_iter().collect();
    assert_eq!(hex::encode(pcrs.selection()), "00000001000b03800800");
    assert_eq!(hex::encode(Pcrs::ALL.selection()), "00000001000b03ffffff");
}

#[test]
fn a_policy_is_what_the_tpm_would_make_of_it() {
    let pcrs: Pcrs = [7, 11].into_iter().collect();
    assert_eq!(
        hex::encode(pcrs.policy(&[[0x11; 32], [0x22; 32]])),
        "8f811cfa40cbc2cae93bb41d35a0bdca4b2a3c00efd726215c1c992d74696cfe"
    );
}

#[test]
fn an_extended_register_holds_the_hash_of_both() {
    assert_eq!(
        hex::encode(extended(&[0; 32], b"axion-profile:00")),
        "b96fad7fe35fb779d13d7d7218e3c1a6b05dff2b218e7b1fb0474ab58712f8b2"
    );
}

#[test]
fn a_set_is_a_list_of_numbers() {
    let pcrs: Pcrs = serde_json::from_str("[11, 7]").unwrap();
    assert_eq!(serde_json::to_string(&pcrs).unwrap(), "[7,11]");
    assert_eq!(pcrs.to_string(), "7, 11");
    let error = serde_json::from_str::<Pcrs>("[24]").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("PCR 24 does not exist; allowed are 0 to 23")
    );
    assert!(Pcrs::default().is_empty());
}

use super::*;

const LEGACY: Quirk = Quirk {
    vendor: "Maker",
    product: Some("Box 9"),
    board: None,
    why: "its network card stays silent",
};

#[test]
fn a_platform_that_does_not_come_up_is_restarted_by_its_firmware() {
    let platform = |product: &str| Platform {
        vendor: "Maker".to_owned(),
        product: product.to_owned(),
        board: "X1".to_owned(),
    };
    let (restart, why) = with(&[LEGACY], RestartChoice::Auto, &platform("Box 9"));
    assert_eq!(restart, Restart::Reboot);
    assert!(why.unwrap().contains("its network card stays silent"));
    let by_kexec = (Restart::Kexec, None);
    assert_eq!(
        with(&[LEGACY], RestartChoice::Kexec, &platform("Box 9")),
        by_kexec
    );
    assert_eq!(
        with(&[LEGACY], RestartChoice::Auto, &platform("Box 10")),
        by_kexec
    );
    assert_eq!(with(QUIRKS, RestartChoice::Auto, &platform("Box 9")), by_kexec);
}

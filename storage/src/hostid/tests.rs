use super::*;

#[test]
fn an_id_is_never_zero_and_always_the_same() {
    let id = of("4c4c4544003957108052b4c04f384833");
    assert_eq!(of("4c4c4544003957108052b4c04f384833\n"), id);
    for machine_id in ["00000000003957108052b4c04f384833", &"0".repeat(32), ""] {
        assert_ne!(of(machine_id), 0);
    }
    assert_eq!(file(0x0102_0304), 0x0102_0304u32.to_ne_bytes());
}

#[test]
fn machines_whose_ids_are_alike_have_ids_of_their_own() {
    let dell = [
        "4c4c4544003957108052b4c04f384833",
        "4c4c4544003957108052b4c04f384834",
    ];
    let by_mac = [
        "000000000000000000003cecef123456",
        "000000000000000000003cecef123457",
    ];
    for [one, other] in [dell, by_mac] {
        assert_ne!(of(one), of(other));
    }
}

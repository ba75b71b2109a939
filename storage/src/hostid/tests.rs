use super::*;

#[test]
fn an_id_is_never_zero_and_always_the_same() {
    assert_eq!(of("4c4c4544003957108052b4c04f384833\n"), 0x4c4c_4544);
    assert_eq!(of("00000000003957108052b4c04f384833"), 0x0039_5710);
    assert_eq!(of(&"0".repeat(32)), 1);
    assert_eq!(of(""), 1);
    assert_eq!(file(0x0102_0304), 0x0102_0304u32.to_ne_bytes());
}

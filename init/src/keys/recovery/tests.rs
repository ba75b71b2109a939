use super::*;

fn meant(typed: &str) -> String {
    match normalized(&Key::Passphrase(typed.to_owned())) {
        Key::Passphrase(meant) => meant,
        Key::Hex(_) => panic!("a passphrase became hex digits"),
    }
}

#[test]
fn each_is_another_one_of_eight_groups() {
    let one = generate().unwrap();
    assert_eq!(one.len(), 39);
    assert_eq!(one.split('-').count(), 8);
    assert!(one.split('-').all(|group| group.len() == 4));
    assert_ne!(one, generate().unwrap());
    assert_eq!(meant(&one), *one);
}

#[test]
fn it_is_understood_as_people_type_it() {
    let written = "0123-4567-89ab-cdef-ghjk-mnpq-rstv-wxyz";
    assert_eq!(meant("0123456789ABCDEFGHJKMNPQRSTVWXYZ"), written);
    assert_eq!(meant(" O123-4567-89ab-cdef ghjk-mnpq-rstv-wxyz "), written);
    assert_eq!(meant("ol23 4567 89ab cdef ghjk mnpq rstv wxyz"), written);
}

#[test]
fn anything_else_is_taken_as_it_is() {
    for typed in [
        "correct horse battery",
        "With-Dashes-And Capitals",
        " blanks around it ",
    ] {
        assert_eq!(meant(typed), typed);
    }
    let hex = Key::Hex("AB".repeat(32));
    assert_eq!(normalized(&hex), hex);
}

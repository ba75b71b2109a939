use super::*;

// Worked out by another implementation of HMAC and SHA-256.

#[test]
fn kdfa_is_the_tcgs() {
    let key: Vec<u8> = (0..32).collect();
    let derived = kdfa(&key, "ATH", &[1; 32], &[2; 32], 48);
    assert_eq!(
        hex::encode(&derived),
        "2e491218ffae23425e923bc5637a64e14d5b214e4241f94b93abd519dd8f3216063cc7166833d4c4483ec287229a6f64"
    );
}

#[test]
fn kdfe_is_the_tcgs() {
    let derived = kdfe(&[3; 32], "SECRET", &[4; 32], &[5; 32]);
    assert_eq!(
        hex::encode(&derived[..]),
        "d4f962b1effb043a5d1789fa55fd5301b31f0645202c5c1b1a2104eebdebe23a"
    );
}

#[test]
fn a_mask_undoes_itself() {
    let mut data = *b"a secret longer than one digest, so that the key goes on";
    let clear = data;
    mask(&[1; 32], &[2; 32], &[3; 32], &mut data);
    assert_ne!(data, clear);
    mask(&[1; 32], &[2; 32], &[3; 32], &mut data);
    assert_eq!(data, clear);
}

#[test]
fn coordinates_have_their_leading_zeros() {
    let point = Point::new(&[1], &[2; 32]).unwrap();
    assert_eq!(point.x[31], 1);
    assert_eq!(point.x[..31], [0; 31]);
    assert!(Point::new(&[0; 33], &[0; 32]).is_none());
}

#[test]
fn a_point_off_the_curve_makes_no_salt() {
    let off = Point {
        x: [1; 32],
        y: [1; 32],
    };
    assert!(salt(&off).is_err());
}

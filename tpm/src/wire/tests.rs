use super::*;

#[test]
fn numbers_are_big_endian_and_buffers_have_their_length() {
    let bytes = Writer::new()
        .u8(1)
        .u16(0x0203)
        .u32(0x0405_0607)
        .sized(b"ab")
        .done();
    assert_eq!(bytes.as_slice(), [1, 2, 3, 4, 5, 6, 7, 0, 2, b'a', b'b']);
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.u8(), Some(1));
    assert_eq!(reader.u16(), Some(0x0203));
    assert_eq!(reader.u32(), Some(0x0405_0607));
    assert_eq!(reader.sized(), Some(&b"ab"[..]));
    assert!(reader.rest().is_empty());
}

#[test]
fn what_ends_too_early_is_nothing() {
    assert_eq!(Reader::new(&[0]).u16(), None);
    assert_eq!(Reader::new(&[0, 3, 1, 2]).sized(), None);
    let mut reader = Reader::new(&[0, 0, 0]);
    assert_eq!(reader.u32(), None);
    assert_eq!(reader.rest().len(), 3);
}

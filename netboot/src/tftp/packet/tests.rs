use super::*;

fn request(words: &[&str]) -> Vec<u8> {
    let words: String = words.iter().map(|word| format!("{word}\0")).collect();
    [&[0, 1], words.as_bytes()].concat()
}

fn parsed(words: &[&str]) -> Read {
    match parse(&request(words)) {
        Ok(Some(Request::Read(read))) => read,
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_are_taken_within_bounds_and_confirmed() {
    let read = parsed(&["undionly.kpxe", "octet"]);
    assert_eq!(
        (read.name.as_str(), read.block, read.window),
        ("undionly.kpxe", 512, 1)
    );
    assert_eq!(read.confirmation(7), None);
    let read = parsed(&[
        "/x",
        "OCTET",
        "BlkSize",
        "65464",
        "tsize",
        "0",
        "windowsize",
        "64",
        "multicast",
        "",
    ]);
    assert_eq!((read.name.as_str(), read.block, read.window), ("x", 1468, 16));
    assert_eq!(
        read.confirmation(108_847).unwrap(),
        b"\0\x06blksize\x001468\0tsize\x00108847\0windowsize\x0016\0"
    );
    // What cannot be is not confirmed.
    let read = parsed(&["x", "octet", "blksize", "4", "windowsize", "none"]);
    assert_eq!((read.block, read.window, read.confirmation(1)), (512, 1, None));
}

#[test]
fn only_reading_bytes_is_served() {
    assert_eq!(parse(&request(&["x", "netascii"])), Err(Refusal::Illegal));
    assert_eq!(parse(&request(&["", "octet"])), Err(Refusal::Illegal));
    assert_eq!(parse(b"\0\x01\xff\xfe"), Err(Refusal::Illegal));
    assert_eq!(parse(b"\0\x02x\0octet\0"), Err(Refusal::Illegal));
    assert_eq!(parse(b"\0\x03\0\x01hello"), Ok(None));
    assert_eq!(parse(b""), Ok(None));
    assert_eq!(parse(b"\0\x04\x01\x02"), Ok(Some(Request::Ack(0x0102))));
    assert_eq!(parse(b"\0\x05\0\x08enough\0"), Ok(Some(Request::Error)));
    assert_eq!(error(Refusal::NotFound), b"\0\x05\0\x01no such file\0");
}

#[test]
fn the_last_block_is_the_short_one() {
    let read = parsed(&["x", "octet"]);
    let blocks = [0, 511, 512, 1024].map(|size| read.blocks(size));
    assert_eq!(blocks, [1, 1, 2, 3]);
    assert_eq!(data(0x1_0002, b"ab"), b"\0\x03\0\x02ab");
}

#[test]
fn numbers_wrap_around() {
    assert_eq!(confirmed(0, 1, 1), 1);
    assert_eq!(confirmed(0, 0, 1), 0);
    assert_eq!(confirmed(0xffff, 0, 1), 1);
    assert_eq!(confirmed(0x1_fffe, 3, 16), 5);
    assert_eq!(confirmed(5, 4, 16), 0);
    assert_eq!(confirmed(5, 22, 16), 0);
}

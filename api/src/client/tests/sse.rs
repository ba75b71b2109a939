use proptest::prelude::*;

use crate::client::sse::Parser;

fn parse(text: &[u8]) -> Vec<Vec<u8>> {
    Parser::default().push(text).unwrap()
}

#[test]
fn the_specification_s_examples() {
    assert_eq!(parse(b"data: YHOO\ndata: +2\ndata: 10\n\n"), [b"YHOO\n+2\n10"]);
    assert_eq!(
        parse(b": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n"),
        [&b"first"[..], b"second", b" third"]
    );
    assert_eq!(parse(b"data\n\ndata\ndata\n\ndata:"), [&b""[..], b"\n"]);
    assert_eq!(parse(b"database: no\n\n"), Vec::<Vec<u8>>::new());
}

#[test]
fn an_endless_event_is_refused() {
    let mut parser = Parser::default();
    let line = [b'x'; 1 << 16];
    assert!((0..100).any(|_| parser.push(&line).is_err()));
}

proptest! {
    /// What a server writes comes out, whatever the line ends and however the network cuts it.
    #[test]
    fn cuts_and_line_ends_do_not_matter(
        events in prop::collection::vec("[^\r\n]{0,20}", 0..8),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let text: String = events
            .iter()
            .enumerate()
            .map(|(n, data)| format!(": alive{end}{end}id: {n}{end}event: x{end}data: {data}{end}{end}"))
            .collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for pair in places.windows(2) {
            found.extend(parser.push(&text.as_bytes()[pair[0]..pair[1]]).unwrap());
        }
        let expected: Vec<Vec<u8>> = events.iter().map(|data| data.as_bytes().to_vec()).collect();
        prop_assert_eq!(found, expected);
    }

    /// Hostile bytes make no event larger than what came in, and never a panic.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let events = parse(&bytes);
        prop_assert!(events.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    }
}

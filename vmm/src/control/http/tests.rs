use proptest::prelude::*;

use super::*;

fn request(text: &str) -> (Request, usize) {
    match parse(text.as_bytes()) {
        Parsed::Request(request, used) => (request, used),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_taken_apart() {
    let text = "PUT /v1/vm/pause?x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}GET";
    let (request, used) = request(text);
    assert_eq!(
        request,
        Request {
            method: "PUT".into(),
            path: "/v1/vm/pause".into(),
            body: b"{}".to_vec(),
            close: false
        }
    );
    assert_eq!(&text[used..], "GET");
    for end in 0..used {
        assert_eq!(parse(&text.as_bytes()[..end]), Parsed::Partial, "{end}");
    }
}

#[test]
fn connections_close_when_asked() {
    assert!(request("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").0.close);
    assert!(request("GET / HTTP/1.0\r\n\r\n").0.close);
    assert!(
        !request("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            .0
            .close
    );
}

#[test]
fn nonsense_and_excess_are_refused() {
    let status = |text: &str| match parse(text.as_bytes()) {
        Parsed::Malformed(problem) => problem.status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status("\x16\x03\x01 TLS"), 400);
    assert_eq!(
        status("PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"),
        400
    );
    assert_eq!(status("PUT / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"), 400);
    assert_eq!(status("PUT / HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n"), 413);
    assert_eq!(
        status(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD))),
        413
    );
}

#[test]
fn answers_are_complete() {
    let text = |answer: Answer, close| String::from_utf8(answer.bytes(close)).unwrap();
    assert_eq!(text(Answer::done(), false), "HTTP/1.1 204 No Content\r\n\r\n");
    let json = text(Answer::json(&7), true);
    assert_eq!(
        json,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\nconnection: close\r\n\r\n7"
    );
    assert!(text(Answer::not_allowed("/v1/vm", "GET"), false).contains("allow: GET\r\n"));
}

proptest! {
    #[test]
    fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }
}

use std::sync::Arc;

use tokio::io::AsyncReadExt;

use super::{Target, Transport, start};
use crate::log::{INFO, Log};
use crate::names::Names;

#[test]
fn targets() {
    let target = Target::parse("tcp://[2001:db8::1]:601").unwrap();
    assert_eq!(
        target,
        Target {
            transport: Transport::Tcp,
            host: "2001:db8::1".into(),
            port: 601
        }
    );
    assert_eq!(
        Target::parse("udp://log.example:514").unwrap().host,
        "log.example"
    );
    for bad in [
        "",
        "10.0.0.1:514",
        "http://a:1",
        "udp://:514",
        "udp://a",
        "tcp://a:99999",
    ] {
        assert!(Target::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_tcp_receiver_gets_earlier_and_later_lines_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = Log::open();
    log.record(0, INFO, "init", "before".into());
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    start(&log, &[target], "node", &Arc::new(Names::default()));
    let (mut stream, _) = listener.accept().await.unwrap();
    log.record(0, INFO, "init", "after".into());
    let expected = "56 <30>1 1970-01-01T00:00:00.000000Z node init - - - before\
                    55 <30>1 1970-01-01T00:00:00.000000Z node init - - - after";
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(String::from_utf8(received).unwrap(), expected);
}

use axion_core::cmdline::CommandLine;
use axion_core::config::Source;

use super::{Location, SourceError, gather, into_text};
use crate::handover::Handover;
use crate::log::Log;

fn gathered(cmdline: &str) -> Handover {
    let mut handover = Handover::default();
    gather(&CommandLine::parse(cmdline), &mut handover, &Log::open());
    handover
        .documents
        .retain(|(source, _)| matches!(source, Source::CommandLine(_)));
    handover
}

#[test]
fn inline_documents_and_files_keep_their_order() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "version = 1\n").unwrap();
    let path = file.path().to_str().unwrap();
    let got = gathered(&format!(
        "axion.config=inline:aG9zdG5hbWUgPSAiYSIK quiet axion.config=file:{path}"
    ));
    assert!(got.rejected.is_empty(), "{:?}", got.rejected);
    assert_eq!(
        got.documents,
        [
            (Source::CommandLine("inline".into()), "hostname = \"a\"\n".into()),
            (Source::CommandLine(path.into()), "version = 1\n".into()),
        ]
    );
}

#[test]
fn what_cannot_be_read_is_rejected_and_named() {
    let got = gathered("axion.config=inline:%% axion.config=file:/nonexistent axion.config=ftp://x");
    assert!(got.documents.is_empty());
    let messages: Vec<&str> = got.rejected.iter().map(|r| r.message.as_str()).collect();
    assert!(messages[0].contains("base64"), "{messages:?}");
    assert!(messages[1].contains("/nonexistent"), "{messages:?}");
    assert!(messages[2].contains("`ftp://x` is not `inline:"), "{messages:?}");
}

#[test]
fn secrets_of_a_url_are_not_its_name() {
    let url = Location::parse("https://user:pw@config.example/n?token=x#sha256=00").unwrap();
    assert_eq!(url.name(), "https://config.example/n");
    assert_eq!(
        Location::parse("file:///a/b").unwrap(),
        Location::File("/a/b".into())
    );
    assert!(Location::parse("file:a").is_err());
}

#[test]
fn documents_are_text_of_a_bounded_size() {
    assert!(matches!(into_text(vec![0xff]), Err(SourceError::NotText)));
    assert!(matches!(
        into_text(vec![b'a'; (1 << 20) + 1]),
        Err(SourceError::TooLong)
    ));
}

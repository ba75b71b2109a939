use super::*;

fn call(target: &str) -> Call<'_> {
    Call {
        who: None,
        peer: "192.0.2.1:5".to_owned(),
        method: "PUT",
        target,
        status: 401,
    }
}

#[test]
fn calls_are_lines_of_json_and_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    Audit::open(&path).unwrap().record(&call("/v1/vms/a"));
    Audit::open(&path).unwrap().record(&call("/v1/vms/b\n\"x"));
    let text = std::fs::read_to_string(&path).unwrap();
    let targets: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["target"].clone())
        .collect();
    assert_eq!(targets, ["/v1/vms/a", "/v1/vms/b\n\"x"]);
}

#[test]
fn the_file_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    std::fs::write(&path, vec![b'x'; usize::try_from(LARGEST).unwrap()]).unwrap();
    Audit::open(&path).unwrap().record(&call("/v1/vms/a"));
    assert!(std::fs::metadata(&path).unwrap().len() < 1000);
    assert_eq!(
        std::fs::metadata(directory.path().join("audit.log.1"))
            .unwrap()
            .len(),
        LARGEST
    );
}

#[test]
fn the_tail_is_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let audit = Audit::open(&directory.path().join("audit.log")).unwrap();
    assert_eq!(audit.tail(100).unwrap(), "");
    for _ in 0..3 {
        audit.record(&call("/v1/vms/a"));
    }
    let all = audit.tail(10_000).unwrap();
    assert_eq!(all.lines().count(), 3);
    let line = all.len() as u64 / 3;
    assert_eq!(audit.tail(line * 2 + 1).unwrap().lines().count(), 2);
}

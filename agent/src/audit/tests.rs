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

/// Records a call as an agent does that lives for no longer.
async fn record(path: &Path, target: &str) {
    let audit = Audit::open(path).unwrap();
    audit.record(&call(target));
    audit.written().await;
}

#[tokio::test]
async fn calls_are_lines_of_json_and_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    record(&path, "/v1/vms/a").await;
    record(&path, "/v1/vms/b\n\"x").await;
    let text = std::fs::read_to_string(&path).unwrap();
    let targets: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["target"].clone())
        .collect();
    assert_eq!(targets, ["/v1/vms/a", "/v1/vms/b\n\"x"]);
}

#[tokio::test]
async fn the_file_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    std::fs::write(&path, vec![b'x'; usize::try_from(LARGEST).unwrap()]).unwrap();
    record(&path, "/v1/vms/a").await;
    assert!(std::fs::metadata(&path).unwrap().len() < 1000);
    assert_eq!(
        std::fs::metadata(directory.path().join("audit.log.1"))
            .unwrap()
            .len(),
        LARGEST
    );
}

#[tokio::test]
async fn the_tail_is_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let audit = Audit::open(&directory.path().join("audit.log")).unwrap();
    assert_eq!(audit.tail(100).await.unwrap(), "");
    for _ in 0..3 {
        audit.record(&call("/v1/vms/a"));
    }
    let all = audit.tail(10_000).await.unwrap();
    assert_eq!(all.lines().count(), 3);
    let line = all.len() as u64 / 3;
    assert_eq!(audit.tail(line * 2 + 1).await.unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_file_that_takes_nothing_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // It takes what a pipe holds, and no more.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    let reader = options.open(&path).unwrap();
    let audit = Arc::new(Audit::open(&path).unwrap());
    let recorder = audit.clone();
    let recording = tokio::task::spawn_blocking(move || {
        for _ in 0..4 * QUEUE {
            recorder.record(&call("/v1/vms/a"));
        }
    });
    let recorded = tokio::time::timeout(std::time::Duration::from_secs(20), recording).await;
    assert!(audit.missed.load(Ordering::Relaxed) > 0);
    drop(reader);
    recorded.expect("all were recorded").unwrap();
}

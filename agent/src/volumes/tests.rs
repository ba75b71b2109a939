use super::*;
use crate::store::RedbStore;

fn open(directory: &std::path::Path) -> Volumes {
    let store = Arc::new(RedbStore::open(&directory.join("store.redb")).unwrap());
    let images = Arc::new(Images::open(directory.join("images")).unwrap());
    let events = Arc::new(crate::events::Events::new());
    let init = Arc::new(Init::new(directory.join("no.sock"), events));
    Volumes::open(store, images, init, directory.join("volumes")).unwrap()
}

fn path(volumes: &Volumes, name: &str) -> PathBuf {
    volumes.files.path(name)
}

fn spec(size: u64, from: Option<&str>) -> VolumeSpec {
    VolumeSpec {
        from: from.map(str::to_owned),
        kind: Some(VolumeKind::File),
        ..VolumeSpec::of(ByteSize(size))
    }
}

fn nobody(_: &str) -> Option<String> {
    None
}

async fn upload(volumes: &Volumes, body: &[u8]) -> Digest {
    use sha2::Digest as _;
    let digest: Digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest(body)))
        .parse()
        .unwrap();
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(body.to_vec())]);
    volumes.images.put(digest, None, body).await.unwrap();
    digest
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_volume_is_made_once_sparse_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let volumes = open(directory.path());
    let put = async |spec| volumes.put("data", spec, &Precondition::None, nobody).await;
    let (made, new) = put(spec(64 * MIB, None)).await.unwrap();
    assert!(new && made.allocated.unwrap() < MIB, "{made:?}");
    let path = path(&volumes, "data");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 64 * MIB);
    std::fs::write(&path, "written").unwrap();
    let (same, new) = put(spec(64 * MIB, None)).await.unwrap();
    assert_eq!((same.revision, new), (made.revision, false));
    assert_eq!(std::fs::read(&path).unwrap(), b"written", "what is on it stays");
    let smaller = put(spec(63 * MIB, None)).await.unwrap_err();
    assert_eq!(smaller.status, 409);
    let (grown, new) = put(VolumeSpec::of(ByteSize(65 * MIB))).await.unwrap();
    assert_eq!((grown.spec.size.0, new), (65 * MIB, false));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 65 * MIB);
    assert!(std::fs::read(&path).unwrap().starts_with(b"written"));
    assert_eq!(
        volumes.list(nobody).await.unwrap(),
        [volumes.get("data", nobody).await.unwrap()]
    );
    let stale = volumes
        .delete("data", false, &Precondition::Revision(99))
        .await
        .unwrap_err();
    assert_eq!(stale.status, 412);
    volumes.delete("data", false, &Precondition::None).await.unwrap();
    assert!(!path.exists());
    assert_eq!(volumes.get("data", nobody).await.unwrap_err().status, 404);
}

#[tokio::test]
async fn an_image_is_copied_without_its_zeros() {
    let directory = tempfile::tempdir().unwrap();
    let volumes = open(directory.path());
    let mut body = vec![0; 3 << 20];
    body[..5].copy_from_slice(b"begin");
    body.extend(b"end");
    let digest = upload(&volumes, &body).await.to_string();
    let put = async |name, size| {
        let wanted = spec(size, Some(&digest));
        volumes.put(name, wanted, &Precondition::None, nobody).await
    };
    let small = put("small", 2 * MIB).await.unwrap_err();
    assert_eq!((small.status, small.pointer.as_deref()), (422, Some("/size")));
    let (made, _) = put("root", 8 * MIB).await.unwrap();
    assert!(made.allocated.unwrap() <= MIB, "{made:?}");
    let copied = std::fs::read(path(&volumes, "root")).unwrap();
    assert_eq!(copied.len(), 8 << 20);
    assert_eq!(copied[..body.len()], body);
    assert!(copied[body.len()..].iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let volumes = open(directory.path());
    let missing = format!("sha256:{}", "0".repeat(64));
    for (name, spec, status, pointer) in [
        ("A", spec(MIB, None), 422, None),
        ("../x", spec(MIB, None), 422, None),
        ("a", spec(MIB - 4096, None), 422, Some("/size")),
        ("a", spec(MIB + 512, None), 422, Some("/size")),
        ("a", spec(MIB, Some("sha256:0")), 422, Some("/from")),
        ("a", spec(MIB, Some(&missing)), 422, Some("/from")),
        ("a", spec(1 << 60, None), 507, None),
    ] {
        let problem = volumes
            .put(name, spec.clone(), &Precondition::None, nobody)
            .await
            .unwrap_err();
        assert_eq!(
            (problem.status, problem.pointer.as_deref()),
            (status, pointer),
            "{spec:?}"
        );
    }
    assert!(volumes.list(nobody).await.unwrap().is_empty());
    assert_eq!(
        std::fs::read_dir(directory.path().join("volumes"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn what_a_power_cut_left_is_made_anew_and_a_strangers_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let volumes = open(directory.path());
    let record = Record {
        spec: spec(MIB, None),
        pool: None,
        ready: false,
        created_unix_us: 1,
    };
    volumes.write("cut", &record, Expect::Absent).await.unwrap();
    std::fs::write(path(&volumes, "cut"), "half").unwrap();
    assert!(!volumes.contains("cut").await.unwrap());
    assert!(volumes.list(nobody).await.unwrap().is_empty());
    let put = async |name| {
        volumes
            .put(name, spec(2 * MIB, None), &Precondition::Absent, nobody)
            .await
    };
    assert!(put("cut").await.unwrap().1);
    assert_eq!(std::fs::metadata(path(&volumes, "cut")).unwrap().len(), 2 * MIB);
    volumes.write("given-up", &record, Expect::Absent).await.unwrap();
    std::fs::write(path(&volumes, "given-up"), "half").unwrap();
    let condition = Precondition::None;
    volumes.delete("given-up", false, &condition).await.unwrap();
    assert!(!path(&volumes, "given-up").exists());
    let none = volumes.delete("given-up", false, &condition).await.unwrap_err();
    assert_eq!(none.status, 404);

    std::fs::write(path(&volumes, "lost"), "someone's").unwrap();
    assert_eq!(put("lost").await.unwrap_err().status, 409);
    assert_eq!(std::fs::read(path(&volumes, "lost")).unwrap(), b"someone's");
    std::fs::write(directory.path().join("volumes/.new-x"), "half").unwrap();
    Files::open(directory.path().join("volumes")).unwrap();
    assert!(!directory.path().join("volumes/.new-x").exists());
}

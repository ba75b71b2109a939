//! The contract of [`Store`]: whatever engine is put behind it must pass.

use super::*;

async fn contract(store: &dyn Store) {
    assert_eq!(store.get("a/1").await.unwrap(), None);
    let mut watch = store.watch();
    let before = *watch.borrow_and_update();

    let first = store.put("a/1", b"one".to_vec(), Expect::Absent).await.unwrap();
    assert!(first > before, "revisions grow");
    assert_eq!(*watch.borrow_and_update(), first, "a write wakes the watchers");
    let entry = Entry {
        key: "a/1".to_owned(),
        revision: first,
        value: b"one".to_vec(),
    };
    assert_eq!(store.get("a/1").await.unwrap(), Some(entry.clone()));

    let exists = store.put("a/1", b"other".to_vec(), Expect::Absent).await;
    assert!(matches!(exists, Err(StoreError::Conflict { found: Some(found), .. }) if found == first));
    let absent = store.put("a/9", b"other".to_vec(), Expect::Revision(first)).await;
    assert!(matches!(absent, Err(StoreError::Conflict { found: None, .. })));
    let stale = store.delete("a/1", first + 1).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    assert!(!watch.has_changed().unwrap(), "a refused write changes nothing");

    let second = store
        .put("a/1", b"two".to_vec(), Expect::Revision(first))
        .await
        .unwrap();
    let other = store.put("a/2", b"x".to_vec(), Expect::Absent).await.unwrap();
    store.put("b/1", b"y".to_vec(), Expect::Absent).await.unwrap();
    assert!(
        second > first && other > second,
        "one counter for the whole store"
    );
    let keys = |entries: Vec<Entry>| entries.into_iter().map(|e| e.key).collect::<Vec<_>>();
    assert_eq!(keys(store.list("a/").await.unwrap()), ["a/1", "a/2"]);
    assert_eq!(keys(store.list("").await.unwrap()), ["a/1", "a/2", "b/1"]);

    watch.borrow_and_update();
    store.delete("a/1", second).await.unwrap();
    assert!(watch.has_changed().unwrap(), "a removal wakes the watchers");
    assert_eq!(store.get("a/1").await.unwrap(), None);
    let again = store.put("a/1", b"new".to_vec(), Expect::Absent).await.unwrap();
    assert!(again > second + 1, "a revision is never given twice");
}

#[tokio::test]
async fn redb_keeps_the_contract_and_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    contract(&store).await;
    let (entries, newest) = (store.list("").await.unwrap(), *store.watch().borrow());
    drop(store);
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.list("").await.unwrap(), entries);
    assert_eq!(*store.watch().borrow(), newest);
}

#[tokio::test]
async fn of_two_writers_with_the_same_expectation_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&directory.path().join("store.redb")).unwrap();
    let (a, b) = tokio::join!(
        store.put("k", b"a".to_vec(), Expect::Absent),
        store.put("k", b"b".to_vec(), Expect::Absent),
    );
    assert!(a.is_ok() != b.is_ok());
}

#[tokio::test]
async fn watchers_hear_of_a_write_whose_writer_went_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&directory.path().join("store.redb")).unwrap();
    let mut watch = store.watch();
    drop(store.put("k", b"a".to_vec(), Expect::Absent));
    let heard = tokio::time::timeout(std::time::Duration::from_secs(20), watch.changed()).await;
    heard.expect("it is heard of").unwrap();
    assert_eq!(
        store.get("k").await.unwrap().unwrap().revision,
        *watch.borrow_and_update()
    );
}

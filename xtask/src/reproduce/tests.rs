use super::*;

#[test]
fn the_first_file_that_differs_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for (dir, text) in [(&a, "0123456789"), (&b, "0123x56789")] {
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("same"), "same").unwrap();
        fs::write(dir.join("sub/one"), text).unwrap();
        fs::write(dir.join("two"), text).unwrap();
    }
    assert_eq!(compare(&a, &b, &["same"]).unwrap(), 1);
    let error = compare(&a, &b, &["same", "sub/one", "two"])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("sub/one differs between two builds from byte 4 on"),
        "{error}"
    );
    assert!(compare(&a, &b, &["none"]).is_err());
    assert!(compare::<&str>(&a, &b, &[]).is_err());
}

#[test]
fn every_product_of_the_media_is_compared_once() {
    let mut names = media_products();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count), (count, media::PRODUCTS.len() + 1));
}

use super::*;

#[tokio::test]
async fn a_config_is_checked_before_it_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let configs = Configs::new(directory.path().to_owned());
    let put = |name: &str, text: &str| configs.put(name.to_owned(), text.to_owned());
    let (kept, new) = put("default", "hostname = \"node-${mac}\"\n").await.unwrap();
    assert_eq!((kept.name.as_str(), kept.size, new), ("default", 25, true));
    let (_, new) = put("default", "hostname = \"a\"\n").await.unwrap();
    assert!(!new);
    assert_eq!(
        configs.get("default".to_owned()).await.unwrap(),
        "hostname = \"a\"\n"
    );

    let refused = put("AX-17", "hostnam = \"a\"\n").await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("AX-17.toml line 1: unknown field `hostnam`"),
        "{refused}"
    );
    for name in ["", ".", "../default", "a/b", "52-54-00-12-34-5A", "a b"] {
        let refused = put(name, "").await.unwrap_err();
        assert!(matches!(refused, ConfigError::Name(_)), "{name}: {refused}");
    }
    put("AX-17", "").await.unwrap();
    assert_eq!(configs.names().await.unwrap(), ["AX-17", "default"]);
    assert_eq!(configs.list().await.unwrap().len(), 2);
    configs.delete("default".to_owned()).await.unwrap();
    let gone = configs.delete("default".to_owned()).await.unwrap_err();
    assert!(matches!(gone, ConfigError::None(name) if name == "default"));
}

#[tokio::test]
async fn a_node_without_the_directory_has_none() {
    let configs = Configs::new("/nonexistent/netboot".into());
    assert!(configs.list().await.unwrap().is_empty());
    assert!(matches!(
        configs.get("default".to_owned()).await.unwrap_err(),
        ConfigError::None(_)
    ));
}

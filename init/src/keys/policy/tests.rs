use super::*;
use crate::node::for_tests;

#[tokio::test]
async fn an_image_that_brings_none_or_a_damaged_one_has_none() {
    let (node, _wishes, _guard) = for_tests().await;
    let root = tempfile::tempdir().unwrap();
    assert!(kept(root.path(), &node.log).is_none());
    for path in KEPT {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "neither a key nor a signature").unwrap();
    }
    assert!(kept(root.path(), &node.log).is_none());
}

#[test]
fn a_seal_of_another_version_does_not_hide_the_others() {
    let dataset = axion_storage::keys::Locked {
        name: "tank/axion".to_owned(),
        sealed: Some(
            r#"[{"pcrs":[7],"values":["AQ=="],"public":"AQ==","private":"AQ==","later":1},
                {"pcrs":[11],"values":["AQ=="],"public":"AQ==","private":"AQ=="}]"#
                .to_owned(),
        ),
        is_hex: false,
        unnoted: false,
        state: axion_api::storage::KeyState::Unavailable,
    };
    let understood = super::super::seals(&dataset);
    let registers: Vec<Vec<u8>> = understood.iter().map(|seal| seal.pcrs.into()).collect();
    assert_eq!(registers, [[11]]);
}

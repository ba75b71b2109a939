use super::*;

#[test]
fn the_signature_is_beside_the_image() {
    let signature = |url: &str| Url::parse(url).unwrap().signature().path;
    assert_eq!(signature("http://host/a/axion.efi"), "/a/axion.efi.minisig");
    assert_eq!(
        signature("https://host/axion.efi?token=1"),
        "/axion.efi.minisig?token=1"
    );
}

#[test]
fn a_url_is_shown_without_its_query() {
    let shown = |url: &str| Url::parse(url).unwrap().to_string();
    assert_eq!(shown("http://host/axion.efi?token=1"), "http://host/axion.efi");
    assert_eq!(shown("https://[fd00::1]:8443/x"), "https://[fd00::1]:8443/x");
    assert_eq!(shown("http://10.0.0.1"), "http://10.0.0.1/");
}

#[test]
fn a_server_may_send_elsewhere() {
    let url = Url::parse("https://host:444/a").unwrap();
    let to = |location: &str| url.elsewhere(location).map(|url| url.to_string()).ok();
    assert_eq!(to("/b").as_deref(), Some("https://host:444/b"));
    assert_eq!(to("http://other/b").as_deref(), Some("http://other/b"));
    assert_eq!(to("//other/b"), None);
    assert_eq!(to(""), None);
}

use super::*;

#[test]
fn a_neighbour_is_found_in_the_kernels_table() {
    let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                 10.0.0.10        0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                 10.0.0.1         0x1         0x2         52:54:00:12:34:56     *        eth0\n";
    let find = |last| in_table(table, Ipv4Addr::new(10, 0, 0, last));
    assert_eq!(find(1), Some(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
    assert_eq!(find(10), None);
    assert_eq!(find(2), None);
}

fn options(media: &std::path::Path) -> Options {
    Options {
        place: Place {
            interface: "none0".to_owned(),
            address: crate::fixture::SERVER,
            mask: [255, 255, 255, 0].into(),
        },
        content: Content::Media(crate::fixture::sources(media)),
        configs: None,
        uefi: UefiLoader::Best,
        range: None,
        router: None,
        dns: Vec::new(),
        http_port: 8069,
        tls: None,
        kernel_arguments: String::new(),
    }
}

async fn refused(options: Options) -> Error {
    let (events, _happened) = tokio::sync::mpsc::unbounded_channel();
    Server::open(options, events).await.unwrap_err()
}

#[tokio::test]
async fn a_uki_that_names_no_config_is_not_served_with_configs() {
    let dir = crate::fixture::media();
    let wish = || Options {
        uefi: UefiLoader::Uki,
        configs: Some(dir.path().to_owned()),
        ..options(dir.path())
    };
    let error = refused(wish()).await;
    assert!(error.is_usage() && error.to_string().contains("no machine gets its config"));
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("--arguments 'axion.config=http://10.0.0.1:8069/config.toml?mac=${mac}'"),
        "{hint}"
    );
    // One that does is: what is missing then is the interface alone.
    crate::fixture::tell(
        dir.path(),
        "axion.config=http://10.0.0.1:8069/config.toml?mac=${netX/mac:hexhyp}",
    );
    let error = refused(wish()).await;
    assert!(!matches!(error, Error::Untold(_)), "{error}");
}

#[tokio::test]
async fn a_router_that_machines_could_not_reach_is_refused() {
    let dir = crate::fixture::media();
    let error = refused(Options {
        range: "10.0.0.2-10.0.0.9".parse().ok(),
        router: Some(Ipv4Addr::new(10, 0, 1, 254)),
        ..options(dir.path())
    });
    let error = error.await.to_string();
    assert!(
        error.contains("the router 10.0.1.254 is not in the network of 10.0.0.1"),
        "{error}"
    );
}

#[tokio::test]
async fn what_machines_cannot_be_told_is_refused_before_anything_is_opened() {
    let dir = crate::fixture::media();
    let error = refused(Options {
        kernel_arguments: "axion.config=http://c/${hostname}.toml".to_owned(),
        ..options(dir.path())
    });
    let error = error.await;
    assert!(error.is_usage());
    assert!(
        error
            .to_string()
            .contains("kernel arguments: `${hostname}` is not filled in"),
        "{error}"
    );
}

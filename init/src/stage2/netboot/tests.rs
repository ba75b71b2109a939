use super::*;

#[test]
fn the_boot_server_belongs_to_nothing_else_of_the_node() {
    let server = server();
    assert_eq!(
        (server.uid, server.gid),
        (paths::UID_NETBOOT, paths::GROUP_NETBOOT)
    );
    assert!(server.groups.is_empty() && server.gid != paths::GROUP_AXION);
    assert!(server.own_pids && server.low_ports && !server.transient);
    assert_eq!(server.argv, [paths::AGENT, "--netboot"]);
    let socket = Path::new(paths::NETBOOT_SOCKET);
    assert_eq!(server.run_directory.as_deref(), socket.parent());
}

#[test]
fn what_is_no_uki_is_not_served() {
    for image in [vec![0; 100], vec![0; 10_000]] {
        let refused = facts(&image, "this start".to_owned());
        assert!(matches!(refused, Err(NetbootError::Uki(UkiError::NoUki))));
    }
}

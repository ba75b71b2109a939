use super::{kind_at, to_unmount};

#[test]
fn only_file_systems_with_data_are_unmounted_and_the_last_one_first() {
    let mounts = "none / rootfs rw 0 0\n/axion/root.erofs / erofs ro 0 0\nproc /proc proc rw 0 0\n\
                  tank/axion /var/lib/axion zfs rw 0 0\n/dev/sda1 /var/lib/axion/esp vfat rw 0 0\n\
                  tmpfs /tmp tmpfs rw 0 0\n";
    assert_eq!(to_unmount(mounts), ["/var/lib/axion/esp", "/var/lib/axion"]);
}

#[test]
fn what_is_mounted_on_top_counts() {
    let mounts = "tmpfs /var tmpfs rw 0 0\ntmpfs /var/lib/axion/volumes tmpfs rw 0 0\n\
                  tank/axion/state /var/lib/axion zfs rw 0 0\ntank/axion/volumes /var/lib/axion/volumes zfs rw 0 0\n";
    assert_eq!(kind_at(mounts, "/var/lib/axion/volumes"), Some("zfs"));
    assert_eq!(kind_at(mounts, "/var/lib/axion"), Some("zfs"));
    assert_eq!(kind_at(mounts, "/var"), Some("tmpfs"));
    assert_eq!(kind_at(mounts, "/var/lib"), None);
}

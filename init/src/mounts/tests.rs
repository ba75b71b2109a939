use super::to_unmount;

#[test]
fn only_file_systems_with_data_are_unmounted_and_the_last_one_first() {
    let mounts = "none / rootfs rw 0 0\n/axion/root.erofs / erofs ro 0 0\nproc /proc proc rw 0 0\n\
                  tank/axion /var/lib/axion zfs rw 0 0\n/dev/sda1 /var/lib/axion/esp vfat rw 0 0\n\
                  tmpfs /tmp tmpfs rw 0 0\n";
    assert_eq!(to_unmount(mounts), ["/var/lib/axion/esp", "/var/lib/axion"]);
}

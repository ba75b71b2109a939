use std::path::Path;

use super::sysctl_path;

#[test]
fn settings_stay_below_proc_sys() {
    assert_eq!(
        sysctl_path("vm.max_map_count").unwrap(),
        Path::new("/proc/sys/vm/max_map_count")
    );
    assert_eq!(
        sysctl_path("net.ipv4.conf.eth0/1.rp_filter").unwrap(),
        Path::new("/proc/sys/net/ipv4/conf/eth0.1/rp_filter")
    );
    for bad in ["", "a..b", ".a", "a.", "//.//.x", "a.//.b"] {
        assert_eq!(sysctl_path(bad), None, "{bad}");
    }
}

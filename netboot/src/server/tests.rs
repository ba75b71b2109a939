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

use super::*;

#[test]
fn one_interfaces_address() {
    let mac: Mac = "02:00:5E:00:00:fF".parse().unwrap();
    assert_eq!(mac.to_string(), "02:00:5e:00:00:ff");
    for bad in [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:01:02",
        "2:0:0:0:0:1",
        "+2:00:00:00:00:01",
        "02-00-00-00-00-01",
        "01:00:5e:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "0g:00:00:00:00:00",
    ] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
}

#[test]
fn a_made_one_is_local_stable_and_its_purposes_own() {
    let made = Mac::made("m", "vm a 0");
    assert_eq!(made, Mac::made("m", "vm a 0"));
    assert_eq!(made.to_string().parse::<Mac>().unwrap(), made);
    for (machine, purpose) in [("m", "vm a 1"), ("m", "vm b 0"), ("n", "vm a 0")] {
        let other = Mac::made(machine, purpose);
        assert_ne!(other, made);
        assert_eq!(other.0[0] & 3, 2, "{other}");
    }
}

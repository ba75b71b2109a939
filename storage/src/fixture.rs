//! Labels, disks and programs for tests.

use axion_core::topology::{Disk, DiskKind};

use crate::label::LABEL;

/// A pair of a label's list.
fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut body = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    body.extend(name.as_bytes());
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(kind.to_be_bytes());
    body.extend(1u32.to_be_bytes());
    body.extend(value);
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &size.to_be_bytes(), &body].concat()
}

pub(crate) fn number(name: &str, value: u64) -> Vec<u8> {
    pair(name, 8, &value.to_be_bytes())
}

pub(crate) fn string(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(value.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    pair(name, 9, &bytes)
}

/// A label with these pairs.
pub(crate) fn label(pairs: &[Vec<u8>]) -> Vec<u8> {
    let mut label = vec![0; 16 << 10];
    label.extend([1, 1, 0, 0]);
    label.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    label.extend(pairs.concat());
    label.resize(usize::try_from(LABEL).unwrap(), 0);
    label
}

/// The label of a device of a pool.
pub(crate) fn pool_label(pool: &str, guid: u64, state: u64, hostid: u64) -> Vec<u8> {
    label(&[
        number("version", 5000),
        string("name", pool),
        number("state", state),
        number("txg", 42),
        number("pool_guid", guid),
        number("errata", 0),
        number("hostid", hostid),
        string("hostname", "other"),
        number("top_guid", 7),
        number("guid", 8),
    ])
}

/// An NVMe disk of 10 GiB.
pub(crate) fn nvme(name: &str, serial: &str) -> Disk {
    Disk {
        name: name.to_owned(),
        kind: DiskKind::Nvme,
        wwid: Some(format!("nvme.{serial}")),
        serial: Some(serial.to_owned()),
        size: 10 << 30,
        logical_sector: 512,
        physical_sector: 512,
        ..Disk::default()
    }
}

//! Disks of this computer.

use super::table::{Table, left, right, shrinking};
use super::{Style, bytes, or_dash};
use crate::media::disks::Disk;

/// Disks, one a line; `all`: the built-in ones among them.
pub fn disks(disks: &[Disk], all: bool, style: &Style) -> String {
    if disks.is_empty() {
        return if all {
            "No disks.\n".to_owned()
        } else {
            "No removable disks; --all shows the built-in ones.\n".to_owned()
        };
    }
    let mut table = Table::new([
        left("ID"),
        left("NAME"),
        right("SIZE"),
        shrinking("MODEL"),
        left("BY"),
        shrinking("HOLDS"),
        shrinking("IN USE"),
    ]);
    for disk in disks {
        table.row([
            (&disk.id).into(),
            (&disk.name).into(),
            bytes(disk.size).into(),
            or_dash(disk.model.as_ref()).into(),
            disk.attached_by().into(),
            disk.contents().into(),
            disk.users().unwrap_or_else(|| "no".to_owned()).into(),
        ]);
    }
    table.render(style)
}

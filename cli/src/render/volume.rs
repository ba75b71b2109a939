//! Volumes.

use axion_api::volume::Volume;

use super::table::{Table, left, right, shrinking};
use super::{Style, bytes, fields, moment, or_dash};

/// All volumes, one a line.
pub fn list(volumes: &[Volume], style: &Style) -> String {
    if volumes.is_empty() {
        return "No volumes. `axctl volume create NAME --size SIZE` makes one.\n".to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("KIND"),
        right("SIZE"),
        right("TAKEN"),
        shrinking("DISK OF"),
    ]);
    for volume in volumes {
        table.row([
            (&volume.name).into(),
            volume.kind.to_string().into(),
            volume.spec.size.to_string().into(),
            or_dash(volume.allocated.map(bytes)).into(),
            or_dash(volume.used_by.as_ref()).into(),
        ]);
    }
    table.render(style)
}

/// One volume, a field a line.
pub fn show(volume: &Volume, style: &Style) -> String {
    fields(
        &[
            ("Name", volume.name.clone()),
            ("Size", volume.spec.size.to_string()),
            ("Kind", volume.kind.to_string()),
            ("Zvol", or_dash(volume.dataset.as_ref())),
            ("Taken", or_dash(volume.allocated.map(bytes))),
            ("Disk of", or_dash(volume.used_by.as_ref())),
            ("From", or_dash(volume.spec.from.as_ref())),
            ("Made", moment(volume.created_unix_us)),
            ("Revision", volume.revision.to_string()),
        ],
        style,
    )
}

//! Uploaded images.

use axion_api::vm::Image;

use super::table::{Table, left, right};
use super::{Style, bytes};

/// The images; a digest is never cut, since it is their name.
pub fn list(images: &[Image], style: &Style) -> String {
    let mut table = Table::new([right("SIZE"), left("DIGEST")]);
    for image in images {
        table.row([bytes(image.size).into(), (&image.digest).into()]);
    }
    table.render(style)
}

//! Uploaded images.

use axion_api::vm::Image;

use super::table::{Table, left, right};
use super::{Style, bytes};

/// The images; a digest is never cut, since it is their name.
pub fn list(images: &[Image], style: &Style) -> String {
    if images.is_empty() {
        return "No images. `axctl image upload FILE` sends one.\n".to_owned();
    }
    let mut table = Table::new([right("SIZE"), left("DIGEST")]);
    for image in images {
        table.row([bytes(image.size).into(), (&image.digest).into()]);
    }
    table.render(style)
}

//! Support bundles.

use axion_api::recovery::{Manifest, PartState};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, fields, moment};

/// What a bundle is of, and what is in it.
pub fn manifest(manifest: &Manifest, style: &Style) -> String {
    let hidden: u64 = manifest.parts.iter().map(|part| part.hidden).sum();
    let mut text = fields(
        &[
            ("Node", manifest.hostname.clone()),
            ("Version", manifest.version.clone()),
            ("Made", moment(manifest.created_unix_s.saturating_mul(1_000_000))),
            ("Hidden", format!("{hidden} values that may be secret")),
        ],
        style,
    );
    let mut table = Table::new([left("PART"), left("STATE"), right("BYTES"), shrinking("WHAT")]);
    for part in &manifest.parts {
        let (state, tone) = match part.state {
            PartState::Whole => ("whole", Tone::Good),
            PartState::Cut => ("cut", Tone::Warning),
            PartState::Missing => ("missing", Tone::Faint),
        };
        let what = part.why.as_ref().unwrap_or(&part.what);
        table.row([
            part.file.as_str().into(),
            Cell::new(state, tone),
            part.bytes.to_string().into(),
            what.into(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(style));
    text
}

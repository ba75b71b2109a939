//! Saved nodes.

use super::Style;
use super::table::{Table, left, shrinking};
use crate::context::Listed;

/// The saved nodes; `*` marks the current one.
pub fn list(contexts: &[Listed], style: &Style) -> String {
    if contexts.is_empty() {
        return "No saved nodes. `axctl login URL` saves one.\n".to_owned();
    }
    let mut table = Table::new([left(""), left("NAME"), left("SERVER"), shrinking("TRUST")]);
    for context in contexts {
        let mark = if context.current { "*" } else { " " };
        table.row([
            mark.into(),
            (&context.name).into(),
            (&context.server).into(),
            (&context.trust).into(),
        ]);
    }
    table.render(style)
}

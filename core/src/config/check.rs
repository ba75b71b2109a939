//! One document by itself.

use super::{ConfigError, MachineConfig};

/// Reads and validates one document; `name` is what an operator would call it.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn check(text: &str, name: &str) -> Result<MachineConfig, ConfigError> {
    toml::from_str(text).map_err(|e| ConfigError {
        source_name: name.to_owned(),
        line: None,
        message: e.message().to_owned(),
    })
}

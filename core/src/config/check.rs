//! One document by itself: syntax, then shape (keys and types), then meaning; the first thing wrong is reported.

use toml::de::{DeTable, DeValue};

use super::{ConfigError, MachineConfig, place, validate};

/// Reads and validates one document; `name` is what an operator would call it.
///
/// # Errors
/// The first thing that is wrong, with its line and what is allowed.
pub fn check(text: &str, name: &str) -> Result<MachineConfig, ConfigError> {
    let refuse = |offset: Option<usize>, message: String| ConfigError {
        source_name: name.to_owned(),
        line: offset.map(|offset| place::line(text, offset)),
        message,
    };
    let document = DeTable::parse(text)
        .map_err(|e| refuse(e.span().map(|s| s.start), format!("not TOML: {}", e.message())))?
        .into_inner();
    let config: MachineConfig = toml::from_str(text).map_err(|e| {
        let offset = e.span().map(|span| span.start);
        let found = offset.and_then(|offset| place::at(&document, offset));
        refuse(offset, explain(e.message(), found))
    })?;
    let first = validate::violations(&config)
        .into_iter()
        .map(|violation| {
            (
                place::span(&document, &violation.place).map(|span| span.start),
                violation,
            )
        })
        .min_by_key(|(offset, _)| *offset);
    match first {
        None => Ok(config),
        Some((offset, violation)) => Err(refuse(
            offset,
            format!("`{}`: {}", violation.place, violation.message),
        )),
    }
}

/// Says in an operator's words what serde says in a programmer's.
fn explain(message: &str, found: Option<(place::Place, &DeValue<'_>)>) -> String {
    let Some((place, value)) = found else {
        return message.to_owned();
    };
    if let Some((_, allowed)) = message
        .strip_prefix("unknown field `")
        .and_then(|m| m.split_once("`, "))
    {
        return format!("unknown field `{place}`, {allowed}");
    }
    let mismatch = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = mismatch.and_then(|m| m.rsplit_once(", expected ")) {
        return format!("`{place}`: expected {}, found {found}", plain(expected));
    }
    let text = value.as_str().unwrap_or_default();
    match message {
        "invalid IP address syntax" => {
            format!("`{place}`: `{text}` is not an IP address, as in `10.0.0.1` or `2001:db8::1`")
        }
        "invalid socket address syntax" => {
            format!("`{place}`: `{text}` is not an address and a port, as in `0.0.0.0:8443` or `[::]:8443`")
        }
        _ => format!("`{place}`: {message}"),
    }
}

fn plain(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "a sequence" => "an array",
        "a map" => "a table",
        "IP address" => "an IP address in quotes, as in `\"10.0.0.1\"`",
        "socket address" => "an address and a port in quotes, as in `\"0.0.0.0:8443\"`",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

//! Values in the JSON of `zpool` and `zfs`: numbers that are text here and numbers there, `-` for none.

use serde_json::Value;

/// The member of that name; `null` where there is none.
pub(crate) fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// A whole number, written either way.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim_end_matches(['%', 'x']).parse().ok(),
        _ => None,
    }
}

/// Text that says something.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() && text != "-" => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The value of a property.
pub(crate) fn property<'v>(thing: &'v Value, name: &str) -> &'v Value {
    member(member(member(thing, "properties"), name), "value")
}

/// Members of an object, in their order.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

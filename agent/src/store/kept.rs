//! Records that another version of the agent may have written.
//!
//! After an update has been given up, the version before finds what the newer one has stored. What it does not know of a record
//! it leaves out, and says so; what it does know must be as it knows it. Requests are read strictly, and by other means.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Deserializer, Path, Segment, Track};

/// Fields that are left out of a record at most.
const MOST: usize = 64;
/// How serde begins to say that it does not know a field.
const UNKNOWN: &str = "unknown field `";

/// Reads the record that is kept under `key`.
pub fn read<T: DeserializeOwned>(key: &str, record: &[u8]) -> serde_json::Result<T> {
    let first = match serde_json::from_slice(record) {
        Err(error) if error.is_data() => error,
        read => return read,
    };
    let mut value: Value = serde_json::from_slice(record)?;
    let mut left_out = Vec::new();
    while left_out.len() < MOST {
        let mut track = Track::new();
        match T::deserialize(Deserializer::new(&value, &mut track)) {
            Ok(read) => {
                tracing::warn!(
                    "the record `{key}` has what this version does not know, and goes on without it: {}",
                    left_out.join(", ")
                );
                return Ok(read);
            }
            Err(error) => {
                let path = track.path();
                if !error.to_string().starts_with(UNKNOWN) || !remove(&mut value, &path) {
                    return Err(error);
                }
                left_out.push(path.to_string());
            }
        }
    }
    Err(first)
}

/// Removes the field at a path; whether there was one.
fn remove(value: &mut Value, path: &Path) -> bool {
    let mut segments: Vec<&Segment> = path.iter().collect();
    let Some(Segment::Map { key: last }) = segments.pop() else {
        return false;
    };
    let mut place = value;
    for segment in segments {
        let below = match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => place.get_mut(key),
            Segment::Seq { index } => place.get_mut(index),
            Segment::Unknown => None,
        };
        match below {
            Some(below) => place = below,
            None => return false,
        }
    }
    place
        .as_object_mut()
        .is_some_and(|fields| fields.remove(last).is_some())
}

#[cfg(test)]
mod tests;

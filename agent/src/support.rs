//! Support bundles: all that helps somebody else to understand a node, in one file.
//!
//! ```text
//! sources, all at once ── each on a task of its own, with a deadline ─> redact ─> bound ─> manifest, parts: a tar archive
//! ```
//! A source that fails, hangs or has too much to say is a line in the manifest and nothing else. Nothing gets into the archive
//! but through [`redact`]. The archive is put together in memory, which is why it is bounded, and why there is one at a time.

mod redact;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::recovery::{MANIFEST, Manifest, Part, PartState, archive};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Semaphore;

use self::sources::{Content, Source};
use crate::app::App;
use crate::events::unix_us;

/// How long a source may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Most bytes of a part.
const LARGEST: usize = 4 << 20;
/// Most bytes of all parts.
const ALL: usize = 24 << 20;
/// Bundles that are made at the same time.
static ONE: Semaphore = Semaphore::const_new(1);

/// A support bundle.
pub struct Bundle {
    /// What its file should be called.
    pub name: String,
    /// The archive, in pieces.
    pub pieces: Vec<Bytes>,
}

/// Makes a bundle.
pub async fn bundle(app: &Arc<App>) -> Result<Bundle, Problem> {
    let busy = "a support bundle is being made; ask again in some seconds";
    let _turn = ONE
        .try_acquire()
        .map_err(|_| Problem::new(Kind::Unavailable, busy))?;
    let (status, found) = tokio::join!(sources::identity(app), read(sources::all(app)));
    let mut manifest = Manifest {
        format: 1,
        created_unix_s: unix_us() / 1_000_000,
        parts: Vec::new(),
        ..status
    };
    let files = bounded(found, &mut manifest.parts);
    let name = file_name(&manifest);
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    let entry = |file: &str, content: &[u8]| {
        Bytes::from(archive::entry(&name, file, content, manifest.created_unix_s))
    };
    let mut pieces = vec![entry(MANIFEST, &text)];
    pieces.extend(files.iter().map(|(file, content)| entry(file, content)));
    pieces.push(archive::end().into());
    Ok(Bundle { name, pieces })
}

/// `axion-support-rack7-1790000000`; also the directory in the archive.
fn file_name(manifest: &Manifest) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let host: String = manifest.hostname.chars().filter(allowed).take(63).collect();
    let host = if host.is_empty() { "node" } else { &host };
    format!("axion-support-{host}-{}", manifest.created_unix_s)
}

/// A source that was read: its file, what it is, and what it has or why it has nothing.
type Read = (String, &'static str, Result<Content, String>);

/// Reads all at once.
async fn read(sources: Vec<Source>) -> Vec<Read> {
    let tasks = sources.into_iter().map(async |Source { file, what, reading }| {
        // One that hangs or panics takes nothing with it.
        let task = tokio::spawn(reading);
        let stop = task.abort_handle();
        let content = match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => Err(format!("internal error: {error}")),
            Err(_) => {
                stop.abort();
                Err(format!("it did not answer within {} s", PATIENCE.as_secs()))
            }
        };
        (file, what, content)
    });
    join_all(tasks).await
}

/// Hides secrets and keeps to the bounds: the files, and a line for each part.
fn bounded(found: Vec<Read>, parts: &mut Vec<Part>) -> Vec<(String, Vec<u8>)> {
    let mut room = ALL;
    let mut files = Vec::new();
    for (file, what, content) in found {
        let mut part = Part {
            file: file.clone(),
            what: what.to_owned(),
            state: PartState::Missing,
            bytes: 0,
            hidden: 0,
            why: None,
        };
        match content.map(shown) {
            Err(why) => part.why = Some(redact::text(&why).0),
            Ok((content, is_text, hidden)) => {
                let most = room.min(LARGEST);
                let (kept, lost) = if is_text {
                    tail(&content, most)
                } else {
                    (&*content, 0)
                };
                if kept.len() > most || (kept.is_empty() && lost > 0) {
                    let bytes = content.len();
                    part.why = Some(format!("its {bytes} bytes are more than the bundle has room for"));
                } else {
                    part.state = if lost > 0 {
                        PartState::Cut
                    } else {
                        PartState::Whole
                    };
                    part.why = (lost > 0).then(|| format!("the first {lost} bytes are left out"));
                    part.bytes = kept.len() as u64;
                    part.hidden = hidden;
                    room -= kept.len();
                    files.push((file, kept.as_bytes().to_vec()));
                }
            }
        }
        parts.push(part);
    }
    files
}

/// What a part looks like without secrets, whether its beginning may be left out, and how many values were hidden.
fn shown(content: Content) -> (String, bool, u64) {
    match content {
        Content::Text(text) => {
            let (text, hidden) = redact::text(&text);
            (text, true, hidden)
        }
        Content::Json(mut value) => {
            let hidden = redact::json(&mut value);
            (pretty(&value), false, hidden)
        }
    }
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The last lines of `text`, at most `most` bytes, and how many bytes come before them.
fn tail(text: &str, most: usize) -> (&str, usize) {
    let Some(over) = text.len().checked_sub(most).filter(|over| *over > 0) else {
        return (text, 0);
    };
    let from = text.ceil_char_boundary(over);
    let rest = text.get(from..).unwrap_or_default();
    let line = rest.find('\n').map_or(rest.len(), |end| end + 1);
    (rest.get(line..).unwrap_or_default(), from + line)
}

#[cfg(test)]
mod tests;

//! Contents that are like no others: a volume is made with them, and they are looked for in what ZFS sends of it. Names and checksums
//! alone would not tell a volume that came back empty.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_lab::Node;

/// Bytes of a block of a zvol.
const BLOCK: usize = 16 << 10;
/// Bytes of contents: enough for some blocks and indirect ones.
const LENGTH: usize = 2 << 20;
/// So much of a block tells it apart.
const MARK: usize = 32;

/// Contents that compression does not make smaller, and that are others for each `seed`.
pub fn made_of(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(LENGTH);
    while bytes.len() < LENGTH {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// Makes a volume with them; once this comes back, the node has said that they are kept.
///
/// # Errors
/// The node refuses.
pub fn put_volume(node: &Node, name: &str, contents: &[u8], dir: &Path) -> Result<()> {
    let image = dir.join(format!("{name}.raw"));
    fs::write(&image, contents)?;
    node.axctl(&["volume", "create", name, "--from", &image.to_string_lossy()])?;
    Ok(())
}

/// Snapshots a volume as `NAME@snapshot`; gives the snapshot's whole name.
///
/// # Errors
/// It is no zvol, or the node refuses.
pub fn snapshot(node: &Node, volume: &str, snapshot: &str) -> Result<String> {
    node.axctl(&["volume", "snapshot", &format!("{volume}@{snapshot}")])?;
    let dataset = node.call(node.client().volume(volume))?.dataset;
    Ok(format!(
        "{}@{snapshot}",
        dataset.context("a volume that is no zvol")?
    ))
}

/// Whether every block of the contents is in a snapshot, by what ZFS sends of it.
///
/// # Errors
/// One is missing, or the snapshot cannot be sent.
pub fn are_in(node: &Node, snapshot: &str, contents: &[u8], dir: &Path) -> Result<()> {
    let file = dir.join("contents.zfs");
    // An earlier one is in the way.
    let _ = fs::remove_file(&file);
    node.axctl(&["dataset", "send", snapshot, &file.to_string_lossy()])?;
    let stream = fs::read(&file)?;
    let mut at = 0;
    for (index, block) in contents.chunks(BLOCK).enumerate() {
        let mark = block.get(..MARK).unwrap_or(block);
        // Blocks are sent in the order of their offsets.
        let rest = stream.get(at..).unwrap_or_default();
        let found = rest.windows(mark.len()).position(|window| window == mark);
        let found = found.with_context(|| format!("block {index} is not in {snapshot}"))?;
        ensure!(
            rest.get(found..found + block.len()) == Some(block),
            "block {index} of {snapshot} is another"
        );
        at += found + block.len();
    }
    Ok(())
}

//! Where a volume is to be: what its spec says, and what the node has. Pure.

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Health, Pool};
use axion_api::volume::{VolumeKind, VolumeSpec};
use axion_core::quantity::ByteSize;

use crate::images::Digest;

/// Sizes are multiples of this, bytes: the largest block that a guest's file system writes at once.
const STEP: u64 = 4096;
/// Least size, bytes.
const LEAST: u64 = 1 << 20;

/// What a volume begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Zeros.
    Zeros,
    /// An uploaded image, which is copied.
    Image(Digest),
    /// A snapshot of a volume of the node.
    Volume {
        /// The volume.
        volume: String,
        /// The part behind `@`.
        snapshot: String,
    },
    /// A snapshot of any zvol, by its whole name.
    Snapshot(String),
}

fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Invalid, detail).at(pointer)
}

/// Checks what does not depend on the node. Answers what the volume begins with.
pub fn check(spec: &VolumeSpec) -> Result<Origin, Problem> {
    let size = spec.size.0;
    if size < LEAST || !size.is_multiple_of(STEP) {
        let detail = format!(
            "{}; allowed are multiples of {}, {} at least",
            spec.size,
            ByteSize(STEP),
            ByteSize(LEAST)
        );
        return Err(invalid("/size", detail));
    }
    let origin = origin(spec.from.as_deref())?;
    if spec.kind == Some(VolumeKind::File) {
        let of_zvols = [
            ("/pool", spec.pool.is_some()),
            ("/block_size", spec.block_size.is_some()),
            ("/reserved", spec.reserved),
        ];
        if let Some((pointer, _)) = of_zvols.iter().find(|(_, given)| *given) {
            return Err(invalid(pointer, "this is for zvols; a file has none"));
        }
        if !matches!(origin, Origin::Zeros | Origin::Image(_)) {
            let detail = "a snapshot is what a zvol begins with; a file begins with an image";
            return Err(invalid("/from", detail));
        }
    }
    Ok(origin)
}

fn origin(from: Option<&str>) -> Result<Origin, Problem> {
    let Some(from) = from else {
        return Ok(Origin::Zeros);
    };
    if let Some((of, snapshot)) = from.split_once('@') {
        if of.is_empty() || snapshot.is_empty() || snapshot.contains(['@', '/']) {
            let detail = "a snapshot is `VOLUME@SNAPSHOT`, or a whole name as in `tank/base@1`";
            return Err(invalid("/from", detail));
        }
        return Ok(if of.contains('/') {
            Origin::Snapshot(from.to_owned())
        } else {
            Origin::Volume {
                volume: of.to_owned(),
                snapshot: snapshot.to_owned(),
            }
        });
    }
    let digest = from
        .parse::<Digest>()
        .map_err(|error| Problem::from(error).at("/from"))?;
    Ok(Origin::Image(digest))
}

/// Whether a spec can only be that of a zvol.
pub fn wants_zvol(spec: &VolumeSpec, origin: &Origin) -> bool {
    spec.kind == Some(VolumeKind::Zvol)
        || spec.pool.is_some()
        || spec.block_size.is_some()
        || spec.reserved
        || !matches!(origin, Origin::Zeros | Origin::Image(_))
}

/// The pool for a volume that does not name one: the one that keeps the node's state, else the one with the most room.
pub fn choose(pools: &[Pool]) -> Option<&Pool> {
    let works = |pool: &&Pool| !pool.read_only && matches!(pool.state, Health::Online | Health::Degraded);
    let working = pools.iter().filter(works);
    working.max_by_key(|pool| (pool.holds_state, pool.free))
}

/// A spec that leaves to the node what another has settled.
pub fn settled(spec: VolumeSpec, there: &VolumeSpec) -> VolumeSpec {
    VolumeSpec {
        kind: spec.kind.or(there.kind),
        pool: spec.pool.or_else(|| there.pool.clone()),
        block_size: spec.block_size.or(there.block_size),
        ..spec
    }
}

#[cfg(test)]
mod tests;

//! Products named by a hash of all their inputs.
//!
//! A product is a directory `CACHE/KIND/HASH`. It is built in a temporary directory beside it and renamed when it is
//! whole, so an interrupted build leaves nothing that looks finished. The three newest of a kind are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::layout;

const KEPT: usize = 3;

/// A hash over named inputs.
pub struct Key(Sha256);

impl Key {
    /// Starts the hash of a product of `kind`; `recipe` changes when the way it is built does.
    pub fn new(kind: &str, recipe: u32) -> Self {
        Self(Sha256::new())
            .text("kind", kind)
            .text("recipe", &recipe.to_string())
    }

    /// Adds a text.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        for part in [name, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a file's content, or a directory's files with their names and modes.
    pub fn path(mut self, path: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            let name = entry
                .path()
                .strip_prefix(path)
                .unwrap_or(entry.path())
                .display()
                .to_string();
            if entry.file_type().is_file() {
                let mode = entry.metadata()?.permissions().mode() & 0o7777;
                let content =
                    fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
                self = self.text(&name, &format!("{mode:o}"));
                self.0.update((content.len() as u64).to_le_bytes());
                self.0.update(&content);
            } else if entry.file_type().is_symlink() {
                self = self.text(&name, &fs::read_link(entry.path())?.display().to_string());
            }
        }
        Ok(self)
    }

    /// The hash: 16 hex digits.
    pub fn finish(self) -> String {
        hex::encode(&self.0.finalize()[..8])
    }
}

/// The product of `kind` with `hash`: from the cache, or built by `build` into the directory it is given.
pub fn product(kind: &str, hash: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let kinds = layout::cache().join(kind);
    fs::create_dir_all(&kinds).with_context(|| format!("creating {}", kinds.display()))?;
    // Two checkouts share the cache, and build trees below it: the second waits, and finds the product.
    let lock = fs::File::create(kinds.join(".lock"))?;
    lock.lock()
        .with_context(|| format!("locking {}", kinds.display()))?;
    let done = kinds.join(hash);
    if done.is_dir() {
        // Used now: not the next to be removed.
        drop(fs::File::open(&done).and_then(|f| f.set_modified(SystemTime::now())));
        return Ok(done);
    }
    let building = kinds.join(format!(".{hash}"));
    if building.exists() {
        fs::remove_dir_all(&building)
            .with_context(|| format!("removing what a build left in {}", building.display()))?;
    }
    fs::create_dir_all(&building).with_context(|| format!("creating {}", building.display()))?;
    match build(&building) {
        Ok(()) => fs::rename(&building, &done).with_context(|| format!("renaming to {}", done.display()))?,
        Err(e) => {
            drop(fs::remove_dir_all(&building));
            return Err(e);
        }
    }
    remove_old(&kinds)?;
    Ok(done)
}

fn remove_old(kinds: &Path) -> Result<()> {
    let mut products: Vec<_> = fs::read_dir(kinds)?
        .filter_map(|e| {
            e.ok()
                .filter(|e| !e.file_name().to_string_lossy().starts_with('.'))
        })
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    products.sort();
    for (_, path) in products.iter().rev().skip(KEPT) {
        fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

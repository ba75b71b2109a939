//! Removes build products.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use clap::Args;

use crate::layout;

/// Options of `clean`.
#[derive(Args)]
pub struct Options {
    /// Also the cache of kernels, sources and packages (the next build takes half an hour more)
    #[arg(long)]
    cache: bool,
}

/// Removes `target/axion` and, when asked to, the cache.
pub fn clean(options: &Options) -> Result<()> {
    let mut paths = vec![layout::products()];
    if options.cache {
        paths.push(layout::cache());
    }
    for path in paths {
        match fs::remove_dir_all(&path) {
            Ok(()) => println!("removed {}", path.display()),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("removing {}", path.display())),
        }
    }
    Ok(())
}

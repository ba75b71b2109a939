//! `axctl media`: boot media on sticks and disks.
//!
//! ```text
//! disks   what disks there are, what is on them, who uses them      pure over a root with /sys, /proc, /run
//!   │     which one is meant, and why it must not be written, if so
//! volume  the image's AXION-CFG with another axion.toml in it
//!   │
//! write   direct I/O, flush, read back and compare
//! ```
//! Everything that can be refused is refused before the first byte is written, and the kernel has the last word: the disk is
//! opened for exclusive use, which fails when anything on it is mounted or otherwise held.

pub mod disks;
mod volume;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::error::Error;
use crate::output::Output;
use crate::{config, render, terminal};
use disks::{Disk, Wish};
use write::Source;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the disks of this computer that a medium can be written to
    Disks {
        /// Built-in disks as well
        #[arg(long)]
        all: bool,
    },
    /// Write a medium to a disk; everything on the disk is lost
    #[command(after_help = "\
Examples:
  axctl media disks
  axctl media write axion.img --disk 4C530001230512105022
  axctl media write axion.img --disk 4C530001230512105022 --config axion.toml --yes")]
    Write(Write),
}

#[derive(Debug, Args)]
pub struct Write {
    /// axion.img or axion.iso; checked against the SHA256SUMS beside it
    image: PathBuf,
    /// Disk, as `axctl media disks` shows it
    #[arg(long, value_name = "ID")]
    disk: Option<String>,
    /// Machine config to put on the medium's volume AXION-CFG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Public key (minisign) that has to have signed SHA256SUMS
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Write to a built-in disk
    #[arg(long)]
    allow_fixed: bool,
    /// Do not ask; --disk has to be the disk's ID then
    #[arg(long)]
    yes: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Written<'a> {
    image: &'a Path,
    disk: &'a Disk,
    bytes: u64,
    sha256: String,
    config: Option<&'a Path>,
}

pub fn run(command: Command, output: &Output) -> Result<(), Error> {
    let root = Path::new("/");
    match command {
        Command::Disks { all } => {
            let mut found = disks::list(root);
            found.retain(|disk| all || disk.removable);
            output.show(&found, |style| render::media::disks(&found, all, style))
        }
        Command::Write(write) => perform(&write, root, output),
    }
}

fn perform(wish: &Write, root: &Path, output: &Output) -> Result<(), Error> {
    let mut source = Source::open(&wish.image)?;
    let found = disks::list(root);
    let Some(name) = &wish.disk else {
        let removable: Vec<_> = found.into_iter().filter(|disk| disk.removable).collect();
        let plain = render::Style {
            width: None,
            colour: false,
        };
        output.note(render::media::disks(&removable, false, &plain).trim_end());
        return Err(Error::Usage("to which disk? Say --disk ID".to_owned()));
    };
    let disk = disks::choose(&found, name)?;
    disks::check(
        disk,
        &Wish {
            bytes: source.size(),
            allow_fixed: wish.allow_fixed,
        },
    )?;
    let device = root.join("dev").join(&disk.name);
    write::is_allowed(&device)?;
    if wish.yes && *name != disk.id {
        return Err(Error::Usage(format!(
            "with --yes the disk is named by its ID: --disk {}",
            disk.id
        )));
    }
    if let Some(file) = &wish.config {
        let (name, text) = config::read(file)?;
        axion_core::config::check(&text, &name)?;
        source.replace(volume::with_config(&wish.image, &text)?);
    }
    let listed = axion_netboot::check_medium(&wish.image, wish.key.as_deref())?;
    output.note(plan(wish, disk, source.size(), listed));
    if !wish.yes {
        terminal::confirm_by(
            &format!("Type {} to write it:", disk.id),
            &disk.id,
            "--yes with the disk's ID",
        )?;
    }
    let bar = output.transfer("writing", source.size());
    let result = write::write(&source, &device, disk.size, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let sum = result?;
    let bar = output.transfer("reading back", source.size());
    let result = write::compare(&source, &device, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    result?;
    let written = Written {
        image: &wish.image,
        disk,
        bytes: source.size(),
        sha256: hex::encode(sum),
        config: wish.config.as_deref(),
    };
    output.show(&written, |_| {
        format!(
            "{} holds {}; every byte was read back.\n",
            disk.name,
            wish.image.display()
        )
    })
}

/// What is about to be done.
fn plan(wish: &Write, disk: &Disk, bytes: u64, listed: bool) -> String {
    let config = match &wish.config {
        Some(file) => format!("\n  with the config {}", file.display()),
        None => String::new(),
    };
    let checked = match (listed, &wish.key) {
        (false, _) => "no SHA256SUMS beside it, not checked",
        (true, None) => "as SHA256SUMS says, signature not checked without --key",
        (true, Some(_)) => "as SHA256SUMS says, and signed",
    };
    format!(
        "Writes {} ({}; {checked}){config}\n  to /dev/{} ({})\n  which holds {}: all of it is lost.",
        wish.image.display(),
        render::bytes(bytes),
        disk.name,
        render::plain(&disk.describe()),
        render::plain(&disk.contents()),
    )
}

/// Opens a file, with an error that names it.
fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::io(format!("cannot open {}", path.display()), source))
}

#[cfg(test)]
mod tests;
